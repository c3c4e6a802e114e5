"""What earlier studies tell of a study's noise is frozen with its first look: no later study changes its words."""

import json
import shutil

import pytest

from ablate.run.study_record import StudyRecord, study_record
from ablate.verdict import book, compare, registry
from ablate.verdict.evidence import read
from ablate.verdict.validity import trust
from tests.verdict.worlds import World, write

QUIET = {f"qa_{share}": 0.0 for share in (12, 15, 25, 30, 35, 45)}
NOW = World(evaluations=3, effects={"qa_20": -0.004, "qa_40": 0.002}, own_noise=0.003, null_arm=None)


def look(study: StudyRecord) -> str:
    """What somebody is shown who looks now."""
    evidence = read(study)
    conclusion = trust.conclude(evidence)
    trust.look(evidence, conclusion)
    return repr([(v.word, v.effect, v.known) for v in conclusion.verdicts])


@pytest.fixture
def looked_at(tmp_path):
    """(a study after its first look, what was shown)"""
    write(tmp_path / "outputs", World(evaluations=3, seeds=(10, 11, 12), effects=QUIET, own_noise=0.001), "before")
    study = write(tmp_path / "outputs", NOW, "now")
    return study, look(study)


def test_later_studies_change_nothing(tmp_path, looked_at):
    study, shown = looked_at
    assert "before" in shown
    for number in range(10):
        effects = {f"qa_{share}": 0.0 for share in range(50 + number, 60 + number)}
        world = World(
            evaluations=3, seeds=tuple(range(20 + 3 * number, 23 + 3 * number)), effects=effects, own_noise=0.02
        )
        write(tmp_path / "outputs", world, f"later{number}")
    assert look(study) == shown
    (study.folder / "prior.json").unlink()
    alone = look(study)
    assert "before" not in alone  # nor what came later
    assert study.prior() is None
    assert "is gone" in " ".join(finding.text for finding in trust.conclude(read(study)).findings)


def test_a_copy_on_another_machine_says_the_same(tmp_path, looked_at):
    study, shown = looked_at
    shutil.copytree(study.folder, tmp_path / "other" / "studies" / "now")
    for _, _, record in study.records():
        shutil.copytree(record.folder, tmp_path / "other" / "runs" / record.id)
    assert look(study_record(tmp_path / "other", "now")) == shown


def test_a_folder_of_the_lab_book_says_the_same_alone(tmp_path, looked_at):
    study, shown = looked_at
    book.keep(read(study), tmp_path / "far" / "now")
    kept = book.Book(tmp_path / "far" / "now")
    assert look(kept) == shown
    assert kept.ledger.rows() == study.ledger.rows()


def test_sources_are_named_with_their_digests(looked_at):
    kept = json.loads((looked_at[0].folder / "prior.json").read_text())
    assert kept["studies"] == {"before": "5f0c1d2e"}
    assert {one["arm"] for one in kept["arms"]} == set(QUIET)
    assert all(one["ids"] for one in kept["arms"])


def test_nothing_is_frozen_before_there_are_two_pairs(tmp_path):
    outcomes = {(arm, seed): "not started" for arm in ("qa_20", "qa_40") for seed in (1, 2, 3)}
    study = write(tmp_path, World(evaluations=3, effects=NOW.effects, outcomes=outcomes, null_arm=None))
    look(study)
    assert study.prior() is None
    assert len(study.ledger.rows()) == 1


def test_another_focus_takes_nothing_from_what_was_frozen(looked_at):
    evidence = read(looked_at[0])
    assert registry.earlier(evidence)
    assert registry.earlier(evidence.with_focus("code")) == ()
    assert {v.known.arms for v in compare.verdicts(evidence.with_focus("code"))} == {0}
