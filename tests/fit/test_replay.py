"""A step is looked at with the very weights that the run had, and nothing of the run is touched."""

from pathlib import Path

import numpy as np
import pytest
from runs import elsewhere, interrupt, record_of, train_run

from ablate.data.tokens import prepared
from ablate.fit import replay
from ablate.fit.suspects import Seen, compared
from ablate.run import checkpoints, whole
from ablate.run.parse import from_plain
from ablate.run.record import Record
from ablate.run.replay import ENOUGH, MOST_OF_BATCH, MOST_OF_STATE, Replay
from ablate.run.settings import Settings
from ablate.run.trunks import Growth, Trunk

PLAIN = from_plain({"data": {"domains": ["a", "b"]}})
LONG = {"length": {"lengths": [64], "starts": [0]}, "tokens": 512 * 60, "where": {"saves": 6}}
MONITOR = {"act": "rollback", "least": 8, "window": 16, "limit": 0.5, "sigma": 9.0}
AT = 45


def batches(seed: int, number: int, loss: float = 5.0, norm: float = 1.0) -> list[Seen]:
    """With losses that scatter by a hundredth, and norms by a tenth; of the second domain there is nothing."""
    rng = np.random.default_rng(seed)
    found = zip(rng.normal(loss, 0.05, number), norm * np.exp(rng.normal(0, 0.1, number)), strict=True)
    return [Seen(np.array([[512 * nats, 512], [0, 0]]), size, np.zeros((8, 3))) for nats, size in found]


def test_a_batch_like_the_others_does_not_stand_out():
    strengths = [
        compared(PLAIN, batches(seed, 1), batches(seed + 1000, 32), MOST_OF_BATCH).strength for seed in range(50)
    ]
    assert max(strengths) < ENOUGH


@pytest.mark.parametrize(("loss", "norm"), [(6.0, 1.0), (5.4, 1.8)])
def test_a_loss_or_a_loss_and_its_gradient_stand_out(loss, norm):
    found = compared(PLAIN, batches(0, 1, loss, norm), batches(1, 32), MOST_OF_BATCH)
    assert found.strength > ENOUGH
    assert [one.name for one in found.measures] == ["loss", "gradient norm", "a"]
    assert found.measures[0].one == pytest.approx(loss, abs=0.2)
    assert found.measures[0].other == pytest.approx(5.0, abs=0.05)


def test_a_gradient_stands_out_of_a_batch_and_not_of_a_state():
    strong = batches(0, 1, 5.0, 5.0)
    assert compared(PLAIN, strong, batches(1, 32), MOST_OF_BATCH).strength > ENOUGH
    assert compared(PLAIN, batches(2, 9, 4.8, 5.0), batches(1, 32), MOST_OF_STATE).strength < ENOUGH


def test_the_monitor_of_the_run_changes_nothing():
    other = from_plain({"data": {"domains": ["a", "b"]}, "monitor": {"act": "skip", "sigma": 1.0, "window": 512}})
    ours, theirs = batches(0, 1, 6.0), batches(1, 32)
    assert compared(other, ours, theirs, MOST_OF_BATCH) == compared(PLAIN, ours, theirs, MOST_OF_BATCH)


def test_easier_batches_do_not_stand_out():
    assert compared(PLAIN, batches(0, 1, 3.0, 0.5), batches(1, 32), MOST_OF_BATCH).strength == 0


def test_of_several_the_median_counts_and_what_is_no_number_stands_out():
    others = batches(1, 32)
    wild = [*batches(2, 9), *batches(3, 8, 9.0)]
    assert compared(PLAIN, wild, others, MOST_OF_BATCH).strength < ENOUGH
    broken = [one._replace(norm=np.nan) for one in batches(2, 9)]
    assert compared(PLAIN, broken, others, MOST_OF_BATCH).strength == np.inf
    assert compared(PLAIN, [*broken[:4], *batches(3, 9)], others, MOST_OF_BATCH).strength < ENOUGH


def looked_at(settings: Settings, step: int, scratch: Path, *trunks: Trunk) -> tuple[replay.Question, Replay]:
    record = record_of(settings)
    corpus = prepared(record.folder.parents[1], record.fingerprint)
    question = replay.question(record, corpus, step, trunks, scratch, shown=False)
    return question, replay.replayed(question, scratch, shown=False)


def files(record: Record) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in record.folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_the_weights_before_a_spike_are_those_of_the_run_whatever_is_left_to_start_from(tiny, tmp_path, monkeypatch):
    """Of a run that has taken the steps before the spike back: they count again."""
    monkeypatch.setattr(replay, "REACH", 5)
    settings, trunk = tiny(**LONG, monitor=MONITOR, trouble={"kind": "noise", "start": AT}), Trunk(tmp_path / "trunk")
    interrupted = elsewhere(settings, tmp_path / "interrupted")
    interrupt(interrupted, 53)
    assert 40 in map(checkpoints.step_of, checkpoints.saved(record_of(interrupted).checkpoints))
    train_run(settings, Growth(leave={30: trunk}))
    [spike] = record_of(settings).spikes()
    assert spike["window"] == [AT - 4, AT + 1]
    untouched = [files(record_of(one)) for one in (settings, interrupted)]
    looks = [
        looked_at(settings, AT, tmp_path / "first"),
        looked_at(settings, AT, tmp_path / "second", trunk),
        looked_at(interrupted, AT, tmp_path / "third", trunk),
    ]
    assert [question.to_train for question, _ in looks] == [AT, AT - 30, AT - 40]
    assert {found.word for _, found in looks} == {"batch"}
    assert {found.grad_norm for _, found in looks} == {spike["grad_norm"]}
    assert {found.batch.strength for _, found in looks} == {looks[0][1].batch.strength}
    assert [files(record_of(one)) for one in (settings, interrupted)] == untouched


@pytest.mark.slow
def test_a_rate_is_found_in_the_weights_and_a_clean_step_is_neither(tiny, tmp_path):
    rate = tiny(**LONG, trouble={"kind": "rate", "start": AT, "factor": 100.0})
    interrupt(rate, 50)
    _, found = looked_at(rate, AT + 2, tmp_path / "rate")
    assert found.word == "state"
    assert found.state.strength > ENOUGH > found.batch.strength
    assert found.rate == (AT, pytest.approx(100, rel=0.1))
    _, found = looked_at(rate, AT - 2, tmp_path / "clean")
    assert found.word == "neither"


def test_a_checkpoint_of_other_steps_is_not_trained_on_from(tmp_path):
    """After step 45 of a run that leaves out steps 41 to 45, and of one that was told of steps 8 and 90, too."""
    for name, windows in {"back": [[41, 46]], "told": [[8, 9], [90, 91]]}.items():
        (tmp_path / name).mkdir()
        whole.write(tmp_path / name / "trainer.json", {"callbacks": {"Watch": {"left_out": windows}}})
    fits = checkpoints.leaves_out_just
    assert fits(tmp_path / "back", 41, [])
    assert not fits(tmp_path / "back", 45, [])
    assert fits(tmp_path / "back", 45, [(41, 46)])
    assert fits(tmp_path / "told", 45, [(8, 9)])
    assert not fits(tmp_path / "told", 45, [(8, 9), (20, 21)])
    assert not fits(tmp_path / "gone", 45, [])
