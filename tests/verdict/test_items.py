"""A task as the metric of a study: the word from seeds, items beside it, and arms that were asked the same alone."""

import numpy as np
import pytest

from ablate.run.settings import UserError
from ablate.scores import answers
from ablate.scores.metrics import METRICS
from ablate.verdict import book, registry
from ablate.verdict.book import Book
from ablate.verdict.compare import verdicts
from ablate.verdict.evidence import read
from ablate.verdict.items import item_noise
from ablate.verdict.validity import trust
from tests.verdict.answered import SETTINGS, Asked, answer
from tests.verdict.worlds import World, write

BETTER = {"qa_20": -0.3}  # nats an item


def study_of(folder, metric="task:sums:bpb", how=None, **world):
    study = write(folder, World(effects={"qa_20": 0.0, "qa_40": 0.0}, null_arm=None, **world))
    answer(study, how or Asked(effects=BETTER))
    study.write(study.read() | {"metric": metric, "margin": 0.001})
    return study


def test_bits_per_byte_of_the_answers_decide_lower_and_accuracy_higher(tmp_path):
    bpb = {v.arm: v for v in verdicts(read(study_of(tmp_path / "bpb")), ())}
    assert (bpb["qa_20"].word, bpb["qa_20"].metric.better) == ("better", "lower")
    assert bpb["qa_20"].effect.mean == pytest.approx(-0.3 / 6 / np.log(2), rel=0.15)
    acc = {v.arm: v for v in verdicts(read(study_of(tmp_path / "acc", "task:sums:acc")), ())}
    assert acc["qa_20"].effect.mean > 0
    assert acc["qa_20"].word in ("better", "inconclusive")
    assert {v.metric.unit for v in acc.values()} == {"share of items"}


def test_noise_of_items_is_of_their_paired_differences_by_source(tmp_path):
    evidence = read(study_of(tmp_path))
    found = item_noise(evidence, "qa_20", evidence.metric)
    assert found is not None
    assert (found.items, found.sources, found.df) == (60, 30, 29)
    assert found.mean == pytest.approx(np.mean(list(evidence.differences("qa_20", "task:sums:bpb").values())))
    by_hand = 0.3 * np.sqrt(2 / 4) / np.sqrt(60) / 6 / np.log(2)  # item noise of two arms over four seeds
    assert found.error == pytest.approx(by_hand, rel=0.35)
    low, high = found.interval(0.95)
    assert low < found.mean < high < 0
    assert item_noise(evidence, "qa_20", METRICS["macro"]) is None


def test_runs_that_nobody_asked_are_named_with_what_asks_them(tmp_path):
    study = study_of(tmp_path, how=Asked(left_out=(("qa_20", 1),)))
    run = study.read()["runs"]["qa_20"]["1"]
    with pytest.raises(UserError, match=f"{run} have no answers to sums; ablate evaluate mix_sweep --tasks sums"):
        trust.conclude(read(study))


def test_arms_that_were_asked_other_items_are_refused_by_name(tmp_path):
    with pytest.raises(UserError, match="not asked the same items, or by other versions: base, qa_40 against qa_20"):
        verdicts(read(study_of(tmp_path, how=Asked(other_items=("qa_20",)))), ())


def test_what_one_arm_has_read_is_left_out_for_all(tmp_path):
    evidence = read(study_of(tmp_path, how=Asked(contaminated={"qa_20": (0, 1, 2), "base": (2, 3)})))
    found = item_noise(evidence, "qa_40", evidence.metric)
    assert found is not None
    assert found.items == 56
    assert found.left_out == 4
    assert evidence.metric.asked is not None
    rows = evidence.metric.asked.rows(evidence.by_arm["base"][0].result, evidence.scope)
    assert [row["item"] for row in rows or []] == [str(number) for number in range(4, 60)]


def test_what_another_task_of_that_name_found_leaves_nothing_out(tmp_path):
    study = study_of(tmp_path)
    declared = study.read()
    answer(study, Asked(contaminated={"base": (0, 1, 2)}, settings=SETTINGS | {"seed": 1}))
    study.write(declared)
    assert read(study).scope.left_out("sums") == frozenset()


def test_edited_answers_and_those_of_other_weights_are_refused_by_name(tmp_path):
    study = study_of(tmp_path)
    (_, _, record), *_ = study.records()
    (path,) = record.scores.glob("*.jsonl")
    path.write_text(path.read_text().replace('"gold": 0', '"gold": 1', 1))
    with pytest.raises(UserError, match=f"{path.name}: damaged or edited"):
        verdicts(read(study), ())
    other = next(one for _, _, one in study.records() if one.id != record.id)
    result = other.result() or {}
    other.finish(result | {"weights_sha256": "0" * 64})
    path.unlink()
    with pytest.raises(UserError, match="other weights than those of the run"):
        read(study).final(read(study).by_arm["base"][1], "task:sums:bpb")


def test_a_study_without_such_a_metric_opens_no_answers(tmp_path, monkeypatch):
    study = study_of(tmp_path, metric="macro")
    monkeypatch.setattr(answers, "_read", lambda *_: pytest.fail("a file of answers was opened"))
    trust.conclude(read(study))


def test_arms_lend_noise_to_one_another_and_to_studies_of_the_same_items(tmp_path):
    ours, theirs = (registry.arms_of(read(study_of(tmp_path / name))) for name in "ab")
    assert ours[0].items == theirs[0].items != ""
    assert len(ours[0].differences("task:sums:bpb")) == 4
    others = [registry.replace(one, study="another", ids=frozenset([one.arm])) for one in theirs]
    assert registry.before(ours[0], others, "task:sums:bpb").arms > 0
    others = [registry.replace(one, items="other") for one in others]
    assert registry.before(ours[0], others, "task:sums:bpb").arms == 0


def test_a_kept_study_has_its_answers(tmp_path):
    study = study_of(tmp_path)
    before = verdicts(read(study), ())
    book.keep(read(study), tmp_path / "book")
    again = verdicts(read(Book(tmp_path / "book")), ())
    assert [v.differences for v in again] == [v.differences for v in before]
    assert str(tmp_path) not in (tmp_path / "book" / "runs.csv").read_text()


def test_the_settings_that_a_study_declares_find_the_answers(tmp_path):
    study = study_of(tmp_path)
    study.write(study.read() | {"tasks": {"sums": SETTINGS | {"items": 61}}})
    with pytest.raises(UserError, match="have no answers to sums"):
        verdicts(read(study), ())


def test_the_same_words_of_other_items_are_another_look(tmp_path):
    """Who asks one set of items after the other until an arm is better finds that each costs more."""
    study = study_of(tmp_path, how=Asked())
    shares = []
    for number, seed in enumerate((0, 1, 2, 1, 0)):
        declaration = study.read() | {"tasks": {"sums": SETTINGS | {"seed": seed}}, "base_digest": "b"}
        study.write(declaration)
        study.ledger.add("declared", base_digest="b", runs=9, looks=number, declaration=declaration)
        answer(study, Asked(settings=SETTINGS | {"seed": seed}))
        study.write(declaration)
        seen = read(study)
        conclusion = trust.conclude(seen, ())
        trust.look(seen, conclusion)
        shares.append(conclusion.verdicts[0].share)
    assert shares == pytest.approx([1.0, 0.15, 0.05, 0.15, 1.0])
