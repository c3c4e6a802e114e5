"""What a lab book says of a claim: the words of its arms, against the words that the claim expects."""

from pathlib import Path
from typing import Any

import pytest

from ablate.run.settings import UserError
from ablate.verdict import claims, registry
from ablate.verdict.book import keep
from ablate.verdict.claims import Claim, Studied
from ablate.verdict.evidence import read
from ablate.verdict.selftest import self_test
from tests.verdict.worlds import World, write

ROOT = Path(__file__).parents[2]
# planted: qa_20 is better, qa_40 is worse, qa_12 is like the base
QUICK = World(evaluations=8, tokens=400_000, seeds=(0, 1, 2, 3), null_seeds=(0,), positive_seeds=(0, 1, 2, 3))
WORDS = {"qa_20": "better", "qa_40": "worse"}


@pytest.fixture(scope="module")
def book(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("book")
    keep(read(write(folder / "outputs", QUICK)), folder / "mix_sweep")
    unfinished = World(effects={"qa_20": -0.02}, evaluations=4, tokens=200_000, outcomes={("qa_20", 1): "not started"})
    keep(read(write(folder / "others", unfinished, "unfinished")), folder / "unfinished")
    return folder


@pytest.fixture(scope="module")
def studies(book) -> list[Studied]:
    return [claims.studied(record) for record in registry.recorded(book)]


def claim(study: str = "mix_sweep", cannot: str = "", **expects: Any) -> Claim:
    return Claim(id="1", system="s", claim="c", figure="f", source="o", study=study, expects=expects, cannot=cannot)


def answer(studies: list[Studied], one: Claim) -> str:
    return claims.rows([one], studies)[0].answer


@pytest.mark.parametrize(
    ("expects", "expected"),
    [
        (WORDS, "agrees"),
        ({"qa_20": "worse"}, "contradicts"),
        ({"qa_20": "equivalent"}, "contradicts"),
        ({"qa_20": "better", "qa_40": "better"}, "contradicts"),
    ],
)
def test_a_claim_agrees_when_every_arm_has_the_word_that_it_expects(studies, expects, expected):
    assert answer(studies, claim(**expects)) == expected


def test_an_inconclusive_arm_neither_confirms_nor_contradicts(tmp_path, studies):
    noisy = World(evaluations=4, tokens=200_000, own_noise=0.1, seeds=(0, 1))
    keep(read(write(tmp_path / "outputs", noisy, "noisy")), tmp_path / "noisy")
    found = [*studies, *map(claims.studied, registry.recorded(tmp_path))]
    assert answer(found, claim("noisy", qa_12="better")) == "too small to tell"


def test_what_is_not_trained_or_cannot_be_asked_is_said(studies):
    assert answer(studies, claim("unfinished", qa_20="better")) == "not trained yet"
    assert answer(studies, claim("nowhere", qa_20="better")) == "not trained yet"
    assert answer(studies, claim("", "no text")) == "not asked"


def test_whether_a_study_repeats_is_read(studies):
    assert [one.repeated for one in studies] == [True, None]


def test_the_rates_of_a_lab_are_read_from_its_book(book):
    assert self_test(book).pairs == self_test(book / "outputs").pairs > 0


FILE = "- {id: 1a, system: s, claim: c, figure: f, source: o, study: x, expects: {a: better}}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (FILE * 2, "two claims have the id 1a"),
        (FILE.replace("better", "good"), "claims.yaml: cannot be read: 0.expects.a=good"),
        (FILE.replace("study: x, ", ""), "must have either a study with what it expects, or cannot"),
        (FILE.replace("study: x", "study: x, cannot: why"), "must have either a study with what it expects, or cannot"),
        ("- [", "claims.yaml: cannot be read"),
        (None, "there is no such file; it lists the claims that the book answers"),
    ],
)
def test_claims_that_cannot_be_read_are_one_line(tmp_path, text, said):
    if text is not None:
        (tmp_path / "claims.yaml").write_text(text)
    with pytest.raises(UserError, match=r"claims\.yaml") as error:
        claims.claims(tmp_path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_without_a_study_or_with_half_of_one_is_one_line(tmp_path):
    with pytest.raises(UserError, match=f"^{tmp_path}: no study in it; ablate report STUDY --keep {tmp_path}/STUDY"):
        claims.records(tmp_path)
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "study.json").write_text("{}")
    with pytest.raises(UserError, match=f"^{tmp_path}/half: lacks study.json or runs.csv$"):
        claims.records(tmp_path)


def test_every_claim_of_this_lab_is_about_a_study_that_there_is():
    asked = {one.study for one in claims.claims(ROOT / "experiments") if one.study}
    there = {path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml")}
    there |= {path.parent.name for path in (ROOT / "experiments").glob("*/study.json")}
    assert asked - there == set()


def test_an_arm_that_the_study_does_not_have_is_refused(studies):
    with pytest.raises(UserError, match="1 expects something of qa_99, no arm of mix_sweep"):
        claims.rows([claim(qa_99="better")], studies)
