"""A grid answers each factor at each level of the others, and what two changes do together, in one family."""

import pytest

from ablate.page import page
from ablate.page.terminal import contrasts as table
from ablate.run.study_record import StudyRecord
from ablate.verdict.compare import step
from ablate.verdict.contrasts import contrasts
from ablate.verdict.evidence import Evidence, read
from ablate.verdict.statistics.looks import Noise
from ablate.verdict.statistics.paired import judge
from ablate.verdict.validity import trust
from ablate.verdict.validity.finding import Finding
from tests.verdict.worlds import World, write

GRID = {"rate": {"low": [], "high": ["optimizer.lr=1"]}, "decay": {"none": [], "some": ["optimizer.weight_decay=1"]}}
EFFECTS = {"low some": 0.0, "high none": 0.02, "high some": 0.06}


def study(tmp_path, grid=None, effects=EFFECTS, **changes) -> StudyRecord:
    world = World(effects=effects, evaluations=3, null_arm=None, evaluation_noise=0.0, **changes)
    record = write(tmp_path, world)
    record.write(record.read() | {"grid": grid or GRID})
    return record


def by_name(evidence: Evidence) -> dict:
    return {one.name: one for one in contrasts(evidence)}


def test_each_factor_at_each_level_of_the_other_and_their_interaction(tmp_path):
    evidence = read(study(tmp_path))
    found = by_name(evidence)
    planted = {
        "rate: high against low, at none": 0.02,
        "rate: high against low, at some": 0.06,
        "decay: some against none, at low": 0.0,
        "decay: some against none, at high": 0.04,
        "rate: high x decay: some": 0.04,
    }
    assert {name: one.effect.mean for name, one in found.items()} == pytest.approx(planted, abs=0.004)
    words = {name: one.effect.word for name, one in found.items()}
    assert words["rate: high against low, at some"] == words["rate: high x decay: some"] == "worse"
    assert words["decay: some against none, at low"] != "worse"


def test_all_are_one_family_from_their_own_seeds(tmp_path):
    evidence = read(study(tmp_path))
    found = by_name(evidence)
    finals = {arm: evidence.finals(arm, "macro") for arm in evidence.by_arm}
    terms = {"high some": 1, "high none": -1, "low some": -1, "base": 1}
    sums = {seed: sum(sign * finals[arm][seed] for arm, sign in terms.items()) for seed in range(4)}
    assert found["rate: high x decay: some"].differences == pytest.approx(sums)
    least = dict.fromkeys(found, Noise(least=step(evidence, "macro") ** 2))
    alone = judge({name: list(one.differences.values()) for name, one in found.items()}, 0.01, 0.95, least)
    assert {name: one.effect for name, one in found.items()} == alone


def test_contrasts_of_a_level_that_is_dropped_after_a_look_stay_in_the_family(tmp_path):
    effects = EFFECTS | {"top none": 0.0, "top some": 0.0}
    wide = GRID | {"rate": GRID["rate"] | {"top": ["optimizer.lr=2"]}}
    record = study(tmp_path, wide, effects)
    whole = record.read()
    arms = {arm: runs for arm, runs in whole["runs"].items() if "top" not in arm}
    narrow = whole | {"grid": GRID, "runs": arms}

    def levels() -> dict[str, float]:
        return {name: one.effect.level for name, one in by_name(read(record)).items()}

    record.write(narrow)
    alone = levels()
    for looks, declaration in ((0, whole), (1, narrow)):
        record.write(declaration)
        record.ledger.add("declared", base_digest=None, runs=20, looks=looks, declaration=declaration)
        before = levels()
        trust.look(read(record), trust.conclude(read(record)))
    assert len(alone) == len(levels()) == 5
    assert levels() == before
    assert max(levels().values()) < max(alone.values())


def test_three_factors_and_levels_that_are_none_of_the_base(tmp_path):
    grid = {"a": {"0": ["x"], "1": ["y"]}, "b": {"0": [], "1": ["x"], "2": ["x"]}, "c": {"0": [], "1": ["z"]}}
    effects = {f"{a} {b} {c}": 0.0 for a in "01" for b in "012" for c in "01"}
    names = list(by_name(read(study(tmp_path, grid, effects))))
    assert len(names) == 1 * 6 + 2 * 4 + 1 * 6 + (2 * 2 + 1 * 3 + 2 * 2)
    assert "b: 2 against 0, at 1 0" in names
    assert "a: 1 x b: 2, at 1" in names


def test_equal_differences_are_no_certainty(tmp_path):
    evidence = read(study(tmp_path, own_noise=0.0, seeds=(0, 1)))
    assert all(one.effect.error >= step(evidence, "macro") / 2 for one in contrasts(evidence))


def test_no_contrast_without_two_factors_nor_of_a_diverged_arm(tmp_path):
    assert contrasts(read(study(tmp_path / "one", {"rate": GRID["rate"]}))) == []
    found = by_name(read(study(tmp_path / "two", outcomes={("high some", 0): "diverged"})))
    assert found["rate: high x decay: some"].effect.word == "inconclusive"
    assert found["rate: high against low, at none"].effect.word == "worse"


def test_what_voids_an_arm_withholds_its_contrasts(tmp_path, monkeypatch):
    broken = Finding("drift", "high some", False, "two processors")
    monkeypatch.setattr(trust, "CHECKS", (lambda _: [broken],))
    names = [one.name for one in trust.conclude(read(study(tmp_path))).contrasts]
    assert names == ["rate: high against low, at none", "decay: some against none, at low"]


@pytest.mark.slow
def test_terminal_page_and_csv_have_them(tmp_path):
    record = study(tmp_path)
    conclusion = trust.conclude(read(record))
    assert table(conclusion.contrasts).row_count == 5
    text = page.write(record).read_text()
    assert "Factor by factor" in text
    assert "decay: some against none, at high" in text
    assert (record.folder / "report" / "contrasts.csv").read_text().count("\n") == 6


def test_a_level_that_changes_nothing_is_compared_with_nothing(tmp_path):
    record = study(tmp_path)
    for arm, seed, run in record.records():
        if arm in ("base", "low some"):
            run.finish((run.result() or {}) | {"weights_sha256": f"same{seed}"})
    found = by_name(read(record))
    assert found["decay: some against none, at low"].differences == {}
    assert found["decay: some against none, at low"].effect.word == "inconclusive"
    assert len(found["decay: some against none, at high"].differences) == 4
