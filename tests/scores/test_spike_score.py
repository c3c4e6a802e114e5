"""How often training jumped, read from the steps that a record holds."""

import numpy as np
import pytest

from ablate.run.parse import from_plain
from ablate.run.record import Record
from ablate.run.settings import SettingsError, UserError
from ablate.scores.metrics import METRICS, Scope, check_judged, readings
from ablate.scores.spikes import LEAST, WINDOW, above, told

SCOPE = Scope(["qa"], "qa")


def waves(steps: int) -> np.ndarray:
    """3 and 5 by turns: of an even number the mean is 4 and the standard deviation 1, exactly."""
    return np.where(np.arange(steps) % 2, 5.0, 3.0)


@pytest.mark.parametrize(("value", "expected"), [(10.99, 0), (11.0, 1), (1e9, 1), (-1e9, 0)])
def test_seven_standard_deviations_above_the_mean_of_those_before(value, expected):
    assert above(np.append(waves(LEAST), value)) == (expected, 1)


def test_the_first_are_not_judged_and_what_does_not_move_is_no_spike():
    assert above(np.append(waves(LEAST - 1), 99.0)) == (0, 0)
    assert above(np.full(LEAST + 5, 2.0)) == (0, 5)


def test_what_lies_more_than_a_thousand_steps_back_is_forgotten():
    """Ten values of 1e6 make every later one look low, until the last of them has gone."""
    values = np.concatenate([waves(90), np.full(10, 1e6), waves(WINDOW), [11.0]])
    assert above(values)[0] == 2 + 1  # of the ten only the first two lie far above those before
    assert above(np.delete(values, 200))[0] == 2


def rows_of(record: Record, nats: list[float | None]) -> Record:
    there = [None if one is None else 100 for one in nats]
    norms = [None if one is None else 0.5 for one in nats]
    record.folder.mkdir()
    record.append("steps", step=40, first=0, nats=nats[:40], counted=there[:40], grad_norm=norms[:40])
    record.append("steps", step=len(nats), first=40, nats=nats[40:], counted=there[40:], grad_norm=norms[40:])
    return record


def test_of_a_record_steps_that_were_left_out_have_no_part(tmp_path):
    plain = [float(value) for value in 100 * waves(LEAST)]
    record = rows_of(Record(tmp_path / "run"), [None, *plain[:30], None, *plain[30:], 1200.0, None, 400.0])
    record.append("spike", step=7, at=6, action="none", window=[6, 7])
    found = told(record, monitored=True)
    assert found["spike_score"] == {
        "loss": {"above": 1, "judged": 2},
        "grad_norm": {"above": 0, "judged": 2},
    }
    assert [METRICS[name].value(found, SCOPE) for name in ("spike_score", "spike_score_norm", "spikes")] == [0.5, 0, 1]
    assert readings(found, SCOPE) == {}  # of weights it says nothing
    assert "spikes" not in told(record, monitored=False)


def test_a_spike_that_lasts_is_one(tmp_path):
    """Weights that a bad rate has spoilt are above all others for many steps, and each has a row."""
    record = rows_of(Record(tmp_path / "run"), [100.0] * 80)
    for at in (*range(40, 60), 70):
        record.append("spike", step=at + 1, at=at, action="none", window=[at, at + 1])
    assert told(record, monitored=True)["spikes"] == 2


def test_a_record_without_says_what_is_needed(tmp_path):
    with pytest.raises(UserError, match=r"the metric spikes no finite value; it needs a monitor .* monitor.act=skip"):
        METRICS["spikes"].final("run", {}, SCOPE)
    short = told(rows_of(Record(tmp_path / "run"), [300.0] * LEAST), monitored=False)
    with pytest.raises(UserError, match="no finite value; it needs more than 64 steps"):
        METRICS["spike_score"].final("run", short, SCOPE)


def test_a_study_of_spikes_needs_a_monitor_before_its_first_run():
    study = {"study": {"metric": "spikes"}}
    with pytest.raises(SettingsError, match=r"study.metric=spikes: must be another with monitor.act=none"):
        check_judged(from_plain(study))
    check_judged(from_plain(study | {"monitor": {"act": "skip", "margin": 4}}))
    check_judged(from_plain({"study": {"metric": "spike_score"}}))
