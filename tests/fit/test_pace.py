"""How long a run will take, before it is begun: a large model is not built to find out."""

import pytest

from ablate.fit import pace
from ablate.plan.timeline import timeline
from ablate.run.parse import from_config

LARGE = {"size": {"width": 512, "depth": 8, "heads": 8}}


def test_a_large_model_is_not_built(monkeypatch):
    monkeypatch.setattr(pace, "build", None)  # would raise
    speed, source = pace.predicted(timeline(from_config(LARGE | {"where": {"peak_tflops": 0.3, "devices": 1}})))
    assert speed == pytest.approx(1e11)
    assert source == "each at a third of where.peak_tflops=0.3"


def test_processes_add_up():
    where = {"peak_tflops": 0.3, "strategy": "ddp", "devices": 4, "nodes": 2}
    assert pace.predicted(timeline(from_config(LARGE | {"where": where})))[0] == pytest.approx(8e11)


def test_the_peak_is_measured_where_none_is_given():
    speed, source = pace.predicted(timeline(from_config(LARGE | {"where": {"device": "cpu"}})))
    assert 1e8 < speed < 1e13
    assert source.startswith("each at a third of the peak measured here, ")


def test_a_small_model_takes_a_few_steps(tiny):
    speed, source = pace.predicted(timeline(tiny()))
    assert speed > 0
    assert source == "measured on a few steps"
