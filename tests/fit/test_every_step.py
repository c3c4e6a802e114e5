"""What is noted of every single step."""

import numpy as np
import pytest
from runs import elsewhere, interrupt, record_of, train_run

from ablate.run.trunks import Growth, trunk_record

NAMES = ("nats", "counted", "grad_norm")


def steps_of(settings) -> dict[str, list[float | None]]:
    """By name a value of each step, from the first on."""
    rows = record_of(settings).rows("steps")
    firsts = [row["first"] for row in rows]
    assert firsts == [0, *(row["step"] for row in rows[:-1])]  # none twice, and none is missing
    return {name: [value for row in rows for value in row[name]] for name in NAMES}


def test_steps_add_up_to_what_is_logged(tiny, monkeypatch):
    monkeypatch.setattr("ablate.fit.watch.LOG_ROWS", 5)
    settings = tiny(monitor={"skip": ["5-7"]})
    train_run(settings)
    found, rows = steps_of(settings), record_of(settings).rows("train")
    assert [row["step"] for row in rows if row["step"] % 4 == 0] == [4, 8, 12, 16, 20]
    assert [step for step, value in enumerate(found["nats"]) if value is None] == [5, 6]
    ends = [0, *(row["step"] for row in rows)]
    for row, first in zip(rows, ends, strict=False):
        here = slice(first, row["step"])
        nats, counted = (np.array([one or 0 for one in found[name][here]]) for name in ("nats", "counted"))
        assert row["nats"] == pytest.approx(nats.sum() / counted.sum(), rel=1e-6)
        norm = found["grad_norm"][row["step"] - 1]
        assert norm == (pytest.approx(row["grad_norm"], rel=1e-6) if "grad_norm" in row else None)


def test_a_run_with_a_monitor_notes_the_same_steps(tiny):
    plain, watched = tiny(), tiny(monitor={"act": "skip", "least": 8})
    results = [train_run(settings) for settings in (plain, watched)]
    assert steps_of(plain) == steps_of(watched)
    assert results[0]["spike_score"] == results[1]["spike_score"]
    assert (results[0].get("spikes"), results[1]["spikes"]) == (None, 0)


@pytest.mark.slow
def test_none_is_lost_by_a_kill_or_a_trunk_between_two_rows(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("ablate.fit.watch.LOG_ROWS", 5)  # rows after every fourth step
    settings, trunk = tiny(), trunk_record(tmp_path, "trunk")
    result = train_run(settings, Growth(leave={6: trunk}))
    killed, grown = (elsewhere(settings, tmp_path / name) for name in ("killed", "grown"))
    interrupt(killed, 10)
    results = [train_run(killed), train_run(grown, Growth(start=trunk))]
    assert [steps_of(one) for one in (killed, grown)] == [steps_of(settings)] * 2
    assert [one["spike_score"] for one in results] == [result["spike_score"]] * 2


@pytest.mark.slow
def test_sums_are_those_of_all_processes(tiny):
    alone, several = tiny(), tiny(where={"strategy": "ddp", "devices": 2})
    for settings in (alone, several):
        train_run(settings)
    for name in NAMES:
        assert steps_of(several)[name] == pytest.approx(steps_of(alone)[name], rel=1e-4)
