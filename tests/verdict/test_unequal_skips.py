"""A verdict says what an arm did not learn, and offers the same skips for all arms; it voids nothing."""

import io
import json

import pytest
from rich.console import Console

from ablate.page import page, spreadsheet, terminal
from ablate.page.facts import facts
from ablate.verdict import card, skips
from ablate.verdict.book import Book, keep
from ablate.verdict.compare import verdicts
from ablate.verdict.evidence import Evidence, Run, read
from ablate.verdict.validity import trust
from tests.verdict.worlds import STEP_TOKENS, World, write

QUICK = World(evaluations=12, tokens=600_000, seeds=(0, 1, 2))  # 60 steps
SAID = "learnt 2.2 % fewer tokens (seed 1: steps 18-22)"
OFFER = "study.name=mix_sweep_told '+study.skips={1:[18-22]}'"


def leave_out(run: Run, *windows: tuple[int, int]) -> None:
    path = run.record.folder / "result.json"
    out = sum(end - first for first, end in windows)
    skipped = {"steps": out, "tokens": out * STEP_TOKENS, "domains": {"qa": out}, "windows": windows}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"skipped": skipped, "spikes": 1}))


@pytest.fixture
def world(tmp_path) -> Evidence:
    return read(write(tmp_path / "outputs", QUICK))


def notes(evidence: Evidence) -> dict[str, str]:
    return {v.arm: "; ".join(v.notes) for v in verdicts(evidence)}


def test_the_arm_is_told_what_it_did_not_learn_and_its_word_stays(world):
    before = trust.conclude(world)
    leave_out(world.by_arm["qa_20"][1], (18, 22))
    after = trust.conclude(read(world.study))
    assert after.words == before.words
    assert not after.void
    assert [v.notes for v in before.verdicts] == [
        v.notes[: len(w.notes)] for v, w in zip(after.verdicts, before.verdicts, strict=True)
    ]
    said = notes(read(world.study))
    assert said["qa_20"].endswith(SAID)
    assert "learnt" not in said["qa_40"]
    [finding] = [one for one in after.findings if one.check == skips.CHECK]
    assert finding.held
    assert "with seed 1;" in finding.text
    assert OFFER in finding.text


def test_it_stands_wherever_a_verdict_is_shown(world, tmp_path):
    leave_out(world.by_arm["qa_20"][1], (18, 22))
    evidence = read(world.study)
    conclusion = trust.conclude(evidence)
    text = io.StringIO()
    terminal.show(evidence, conclusion, Console(file=text, width=400))
    for said in (SAID, OFFER):
        assert said in text.getvalue()
    html = page.of(evidence, conclusion).read_text()
    assert SAID in html
    assert "+study.skips={1:[18-22]}" in html
    assert "Shaded in the colour of an arm" in html
    assert SAID in spreadsheet.tables(evidence, conclusion.verdicts)["verdicts"]
    [ours] = [one for one in card.cards(evidence, conclusion) if one.verdict.arm == "qa_20"]
    assert ("note", SAID) in facts(ours)
    keep(evidence, tmp_path / "book")
    book = read(Book(tmp_path / "book"))
    assert notes(book) == notes(evidence)
    assert skips.unequal(book) == {1: ["18-22"]}


def test_what_the_base_left_out_is_said_beside_it_and_equal_steps_are_not(world):
    for arm in ("base", "qa_20"):
        leave_out(world.by_arm[arm][0], (7, 8), (30, 32))
    assert not any("learnt" in note for note in notes(read(world.study)).values() if "qa_20" in note)
    said = notes(read(world.study))
    assert "learnt" not in said["qa_20"]
    assert said["qa_40"].endswith("learnt all tokens; base 1.7 % fewer tokens (seed 0: steps 7-8, 30-32)")


def test_all_arms_of_a_seed_are_offered_the_union(world):
    leave_out(world.by_arm["base"][0], (7, 8))
    leave_out(world.by_arm["qa_20"][0], (8, 10), (20, 24))
    leave_out(world.by_arm["qa_40"][2], (50, 55))
    evidence = read(world.study)
    assert skips.unequal(evidence) == {0: ["7-10", "20-24"], 2: ["50-55"]}
    [finding] = skips.findings(evidence)
    assert "'+study.skips={0:[7-10,20-24],2:[50-55]}'" in finding.text


def test_a_study_that_told_its_arms_and_found_more_spikes_goes_on_under_its_name(world):
    world.study.write(world.declaration | {"skips": {"0": ["7-8"], "1": ["3-4"]}})
    for runs in world.by_arm.values():
        leave_out(runs[0], (7, 8))
        leave_out(runs[1], (3, 4))
    leave_out(world.by_arm["qa_40"][1], (3, 4), (9, 11))
    [finding] = skips.findings(read(world.study))
    assert "study.name=mix_sweep '+study.skips={0:[7-8],1:[3-4,9-11]}'" in finding.text


def test_arms_that_left_out_the_same_are_offered_nothing(world):
    assert skips.findings(world) == []
    for runs in world.by_arm.values():
        leave_out(runs[1], (3, 4))
    assert skips.findings(read(world.study)) == []
