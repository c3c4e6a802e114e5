"""Looks are counted and share a level; what was declared anew is shown with what had been seen."""

import numpy as np
import pytest
from scipy.special import stdtr

from ablate import report
from ablate.run.record import StudyRecord
from ablate.verdict.compare import verdicts
from ablate.verdict.evidence import read
from ablate.verdict.history import LATER, History, of
from ablate.verdict.validity import trust
from tests.verdict.worlds import World, write

SERIES = [LATER / 2, LATER / 6, LATER / 12, LATER / 20]


def seen(seeds: int, declared: tuple[int, ...] = (0, 1, 2), arms: tuple[str, ...] = ("a",), whole: bool = True) -> dict:
    """A look at so many seeds of each arm."""
    pairs = {arm: {str(seed): [f"base{seed}", f"{arm}{seed}"] for seed in range(seeds)} for arm in arms}
    of_arms = {arm: {"pairs": pairs[arm], "whole": whole, "word": "inconclusive"} for arm in arms}
    return {"kind": "look", "base_digest": "b", "seeds": list(declared), "declared": ["base", "a"], "arms": of_arms}


def shares(looks: list[dict]) -> list[float]:
    """Of the arm a, at each look in turn."""
    return [of(looks[:i], "b").shares(looks[i])["a"] for i in range(len(looks))]


def longer(*seeds: int) -> list[dict]:
    return [seen(n, tuple(range(n))) for n in seeds]


def test_the_planned_look_has_the_whole_level_and_later_ones_a_series():
    assert shares(longer(3, 5, 8, 12, 20)) == [1.0, *SERIES]
    assert sum(LATER / (k * (k + 1)) for k in range(1, 10_000)) < LATER


def test_the_same_runs_are_the_same_look():
    three, five = longer(3, 5)
    assert shares([three, five, three, five, five]) == [1.0, SERIES[0], 1.0, SERIES[0], SERIES[0]]
    assert len(of([three, five, three], "b").looks) == 2


def test_a_glance_takes_nothing_from_the_planned_look():
    glances = [seen(2, whole=False), seen(3), seen(5, tuple(range(5)))]
    assert shares(glances) == [SERIES[0], 1.0, SERIES[1]]
    one_pair = [seen(1, whole=False), seen(3), seen(5, tuple(range(5)))]
    assert shares(one_pair)[1:] == [1.0, SERIES[0]]


def test_declaring_fewer_seeds_after_a_look_does_not_make_a_planned_one():
    assert shares([seen(2, whole=False), seen(2, (0, 1))]) == [SERIES[0], SERIES[0]]


def test_an_arm_that_was_added_and_one_that_was_changed_are_not_as_planned():
    first, added = seen(3), seen(3, arms=("a", "new"))
    assert of([first], "b").shares(added) == {"a": 1.0, "new": SERIES[0]}
    changed = seen(3)
    changed["arms"]["a"]["pairs"] = {str(seed): [f"base{seed}", f"other{seed}"] for seed in range(3)}
    assert shares([first, changed]) == [1.0, SERIES[0]]


def test_runs_of_another_base_are_another_experiment():
    trial = [row | {"base_digest": "small"} for row in longer(3, 5)]
    assert of(trial, "b").shares(seen(3)) == {"a": 1.0}


def test_what_more_seeds_would_be_judged_at():
    assert of([], "b").next_share("a", seen(2, whole=False)) == 1.0
    assert of([], "b").next_share("a", seen(3)) == SERIES[0]
    assert of(longer(3), "b").next_share("a", seen(5, tuple(range(5)))) == SERIES[1]


@pytest.mark.parametrize("arms", [1, 3])
@pytest.mark.parametrize("seeds", [(3,), (3, 5, 8, 12, 20), tuple(range(3, 21))])
def test_a_study_that_is_looked_at_again_and_again_makes_few_false_claims(seeds, arms):
    rng, studies = np.random.default_rng(0), 10_000
    d = rng.standard_normal((studies, arms, 20)) - rng.standard_normal((studies, 1, 20))
    claimed, without = np.zeros(studies, bool), np.zeros(studies, bool)
    for n, share in zip(seeds, shares(longer(*seeds)), strict=True):
        t = d[..., :n].mean(2) / (d[..., :n].std(2, ddof=1) / np.sqrt(n))
        p = 2 * stdtr(n - 1, -np.abs(t)).min(1) * arms  # Holm's first step
        claimed |= p / share <= 0.05
        without |= p <= 0.05
    assert claimed.mean() <= 0.06
    assert without.mean() > 0.15 or len(seeds) == 1


def ledgered(tmp_path, world: World | None = None) -> StudyRecord:
    """A study that was declared before its first run."""
    study = write(tmp_path, world)
    study.ledger.add("declared", base_digest=None, runs=0, looks=0, declaration=study.read())
    return study


def amend(study: StudyRecord, **changes) -> None:
    declaration = study.read() | changes
    looks = len(of(study.ledger.rows(), None).looks)
    study.write(declaration)
    study.ledger.add("declared", base_digest=None, runs=16, looks=looks, declaration=declaration)


def show(study: StudyRecord, capsys) -> str:
    report.main([study.name, "--outputs", str(study.folder.parent.parent)])
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_an_edit_after_a_look_is_shown_on_terminal_page_card_and_csv(tmp_path, capsys):
    study = ledgered(tmp_path, World(evaluations=12, tokens=600_000))
    page = study.folder / "report" / "index.html"
    first = show(study, capsys)
    assert "amended" not in first
    assert "written before the first run" in page.read_text()
    amend(study, margin=0.03, hypothesis="None differs (written after reading the results).")
    amended = "amended after 1 look at 16 finished runs: margin 0.01 -&gt; 0.03"
    shown = show(study, capsys)
    for text in (amended.replace("&gt;", ">"), "better under the first declaration"):
        assert text in shown
    text = page.read_text()
    assert amended in text
    assert "written after 1 look at 16 finished runs" in text
    assert "written before the first run" not in text
    assert "better under the first declaration" in text
    assert amended.replace("&gt;", ">") in (study.folder / "report" / "verdicts.csv").read_text()
    report.main([study.name, "--outputs", str(tmp_path), "--card", "qa_20"])
    assert "margin 0.01 -> 0.03" in " ".join(capsys.readouterr().out.split())
    rows = study.ledger.rows()
    assert [row["kind"] for row in rows] == ["declared", "look", "declared"]
    assert rows[1]["arms"]["qa_20"]["word"] == "better"


def test_the_word_under_the_first_declaration_stands_beside_the_word_under_the_last(tmp_path):
    study = write(tmp_path)
    declared = study.read()
    study.ledger.add("declared", base_digest=None, runs=0, looks=0, declaration=declared)
    words = {v.arm: v.word for v in verdicts(read(study))}
    amend(study, margin=0.03, digest="other")
    after = trust.conclude(read(study)).verdicts
    assert {v.arm: v.word for v in after} != words
    assert {v.arm: v.notes[-1] for v in after} == {
        arm: f"{word} under the first declaration" for arm, word in words.items()
    }


def test_what_is_edited_before_the_first_run_is_no_amendment(tmp_path):
    study = write(tmp_path)
    for margin in (0.01, 0.02):
        declaration = study.read() | {"margin": margin}
        study.ledger.add("declared", base_digest=None, runs=0, looks=0, declaration=declaration)
    history = read(study).history
    assert history.amendments == []
    assert history.first is None
    assert history.written("margin") == "written before the first run"
    assert History().written("margin") == ""


def test_seeds_that_are_added_are_another_look_and_say_so(tmp_path):
    world = World(own_noise=0.004)
    study = write(tmp_path, world)
    whole = study.read()
    few = whole | {"seeds": [0, 1, 2]}
    few["runs"] = {arm: {s: run for s, run in runs.items() if s != "3"} for arm, runs in whole["runs"].items()}
    study.write(few)
    planned = read(study)
    trust.look(planned, trust.conclude(planned))
    study.write(whole)
    found = trust.conclude(read(study))
    assert all("not the planned look: judged at level 0.0075" in v.notes for v in found.verdicts)
    assert all(v.effect.level < 0.0075 + 1e-9 for v in found.verdicts)
    [looks] = [finding.text for finding in found.findings if finding.check == "looks"]
    assert looks == "2, at 3, 4 seeds; a false claim at any of them has a probability of at most 0.065"
    trust.look(read(study), found)
    assert [v.effect for v in trust.conclude(read(study)).verdicts] == [v.effect for v in found.verdicts]
    study.write(few)
    assert repr(verdicts(read(study))) != repr(verdicts(planned))  # it says what the other look said
    assert [v.effect for v in verdicts(read(study))] == [v.effect for v in verdicts(planned)]
