"""The engines of datatrove make of parts what processes of this machine make of them, to the byte."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from corpus.steps import TEXTS, Short, Silent, Twins, Upper, contents, written
from slurm import cluster

from ablate.corpus import engines, flow
from ablate.corpus.flow import How
from ablate.run.corpus import Prepare
from ablate.run.settings import SettingsError, UserError

pytest.importorskip("datatrove")

STEPS = [Upper(), Twins(), Short()]


def made(folder: Path, inputs: list[Path], **prepare: Any) -> dict[str, bytes]:
    return contents(flow.run(inputs, folder / "web", STEPS, How("web", 2, Prepare(**prepare), most=1.0)))


@pytest.fixture
def on_slurm(monkeypatch):
    if why := cluster.missing():
        pytest.skip(f"no Slurm here: {why}")
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    try:
        monkeypatch.setenv("SLURM_CONF", str(cluster.start(folder)))
        here = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]  # the steps of these tests, and ablate
        monkeypatch.setenv("PYTHONPATH", ":".join(here))
        yield
    finally:
        cluster.stop(folder)
        shutil.rmtree(folder)


@pytest.mark.slow
def test_datatrove_on_this_machine(tmp_path):
    inputs = written(tmp_path / "in", TEXTS)
    found = made(tmp_path / "datatrove", inputs, engine="datatrove", workers=2)
    assert found == made(tmp_path / "local", inputs)


@pytest.mark.slow
def test_datatrove_on_slurm(tmp_path, on_slurm):
    inputs = written(tmp_path / "in", TEXTS)
    options = {"executor": "slurm", "time": "00:05:00", "partition": "low", "mem_per_cpu_gb": 1, "qos": ""}
    found = made(tmp_path / "datatrove", inputs, engine="datatrove", options=options)
    assert found == made(tmp_path / "local", inputs)


@pytest.mark.slow
def test_what_fails_on_slurm_is_said(tmp_path, on_slurm, monkeypatch):
    monkeypatch.setattr(engines, "LATE_SECONDS", 1.0)
    options = {"executor": "slurm", "time": "00:05:00", "partition": "low", "mem_per_cpu_gb": 1, "qos": ""}
    prepare = Prepare(engine="datatrove", options=options)
    with pytest.raises(UserError, match=r"2 of 2 parts were not made: .*AssertionError: each: .* is gone, and no rule"):
        flow.run(written(tmp_path / "in", TEXTS[:20]), tmp_path / "web", [Silent()], How("web", 2, prepare))


def test_an_executor_that_there_is_not_and_an_option_that_it_does_not_take_are_one_line(tmp_path):
    inputs = written(tmp_path / "in", TEXTS)
    with pytest.raises(SettingsError, match=r"prepare\.options\.executor=dask: must be one of local, slurm, ray"):
        made(tmp_path, inputs, engine="datatrove", options={"executor": "dask"})
    with pytest.raises(SettingsError, match=r"prepare\.options: .*LocalPipelineExecutor.*nodes"):
        made(tmp_path, inputs, engine="datatrove", options={"nodes": 3})
    with pytest.raises(UserError, match=r"needs `pip install ray`"):
        made(tmp_path, inputs, engine="datatrove", options={"executor": "ray"})
