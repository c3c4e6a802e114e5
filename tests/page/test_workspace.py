"""The workspace names nothing that a run does not log, and is what the library takes for one.

How wandb.ai draws it cannot be tested without an account there.
"""

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typed import typed

from ablate.page import workspace
from ablate.run.record import run_record
from ablate.run.settings import UserError
from ablate.verdict.evidence import Evidence, read
from tests.verdict.worlds import DOMAINS, World, write

pytest.importorskip("wandb_workspaces")
from wandb.proto import wandb_internal_pb2

ROOT = Path(__file__).parents[2]
NAMES = ("general", "code", "qa")
TINY = (
    *("size=tiny", "size.width=32", "size.hidden=64", f"data.domains=[{','.join(NAMES)}]", "data.domain_bytes=150000"),
    *("data.span=64", "data.vocabulary=512", "tokens=5120", "step_tokens=512", "evaluation.times=2"),
    *("evaluation.spans=4", "where.peak_tflops=0.1", "where.wandb=offline", "+experiment=told", "study.name=mix_sweep"),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The outputs of a real run, mirrored to W&B's own files."""
    outputs = tmp_path_factory.mktemp("trained")
    told = tmp_path_factory.mktemp("conf") / "experiment" / "told.yaml"  # what a study says of the run
    told.parent.mkdir()
    told.write_text("# @package _global_\nwhere:\n  arm: base\n")
    words = ["--config-dir", str(told.parents[1]), *TINY, f"where.outputs={outputs}"]
    assert typed("train", *words).returncode == 0
    return outputs


@pytest.fixture(scope="module")
def evidence(trained, tmp_path_factory) -> Evidence:
    """A study of the same domains whose runs have the settings of the real one."""
    outputs = tmp_path_factory.mktemp("outputs")
    domains = {name: DOMAINS[name] for name in NAMES}
    study = write(outputs, World(evaluations=3, tokens=200_000, domains=domains))
    (config,) = (trained / "runs").glob("*/config.yaml")
    for runs in study.read()["runs"].values():
        for run in runs.values():
            shutil.copy(config, run_record(outputs, run).folder)
    changes = {"optimizer.lr": [0.003, 0.006], "mixture.weights@0.qa": [0.1, 0.2]}
    study.write(study.read() | {"arms": {"qa_20": changes, "qa_40": {"size.width": [32, 64]}}})
    return read(study)


def records(path: Path) -> Iterator[Any]:
    """What W&B wrote: a header of 7 bytes, then blocks of 32 KiB of (checksum, length, kind, bytes)."""
    data, at, part = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        if left < 7 or kind == 0:
            at += left
            continue
        part, at = part + data[at + 7 : at + 7 + length], at + 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()  # pyrefly: ignore
            record.ParseFromString(part)
            part = b""
            yield record


@pytest.fixture(scope="module")
def mirrored(trained) -> dict:
    """What the real run told W&B: its metrics, its configuration, its group and job type."""
    (path,) = (trained / "wandb").glob("offline-run-*/*.wandb")
    found = list(records(path))
    rows = [record.history for record in found if record.WhichOneof("record_type") == "history"]
    run = next(record.run for record in found if record.WhichOneof("record_type") == "run")
    return {
        "metrics": {item.key or "/".join(item.nested_key) for row in rows for item in row.item},
        "config": {item.key: json.loads(item.value_json) for item in run.config.update if item.key},
        "run": run,
    }


def spec_of(evidence: Evidence, folder: Path) -> dict:
    workspace.write(evidence, folder / "w.json")
    return json.loads((folder / "w.json").read_text())


def panels(held: dict) -> list[dict]:
    sections = held["spec"]["section"]["panelBankConfig"]["sections"]
    return [panel for section in sections for panel in section["panels"]]


@pytest.mark.slow
def test_every_metric_of_a_panel_is_logged_by_a_real_run(evidence, mirrored, tmp_path):
    held = spec_of(evidence, tmp_path)
    drawn = {metric for panel in panels(held) for metric in panel["config"].get("metrics", [])}
    drawn |= {panel["config"]["xAxis"] for panel in panels(held) if "xAxis" in panel["config"]}
    assert drawn <= mirrored["metrics"]
    logged = {f"evaluation/metric/{name}" for name in ("macro", "qa")}
    assert drawn >= {"tokens", "train/lr", "train/domain_tokens/code", *logged}
    assert held["spec"]["section"]["settings"]["xAxis"] == "tokens"


@pytest.mark.slow
def test_every_column_of_the_parallel_coordinates_is_there(evidence, mirrored, tmp_path):
    (plot,) = [p for p in panels(spec_of(evidence, tmp_path)) if p["viewType"] == "Parallel Coordinates Plot"]
    columns = [column["accessor"] for column in plot["config"]["columns"]]
    assert "config:optimizer.value.lr" in columns
    assert "config:size.value.width" in columns
    assert columns[-1] == "summary:evaluation/metric/macro"
    for column in columns:
        kind, name = column.split(":")
        if kind == "summary":
            assert name in mirrored["metrics"]
        else:
            key, _, *rest = name.split(".")
            value = mirrored["config"][key]
            for part in rest:
                value = value[part]
            assert isinstance(value, int | float)
    assert not [column for column in columns if "@" in column]  # no setting that W&B has under another name


def test_runs_are_those_of_the_study_by_arm(evidence, mirrored, tmp_path):
    (runs,) = spec_of(evidence, tmp_path)["spec"]["section"]["runSets"]
    assert '"group"' in json.dumps(runs["filters"])
    assert f'"{mirrored["run"].run_group}"' in json.dumps(runs["filters"])
    assert [key["name"] for key in runs["grouping"]] == ["jobType"]
    assert mirrored["run"].job_type == "base"


def test_the_library_reads_back_what_was_written(evidence, tmp_path):
    from wandb_workspaces.workspaces import Workspace

    held = spec_of(evidence, tmp_path)
    view = workspace.read(tmp_path / "w.json", "some-team")
    again = Workspace._from_model(view)._to_model()
    assert (again.entity, again.project, again.display_name) == ("some-team", "ablate", "study mix_sweep")
    assert again.spec.model_dump(mode="json", by_alias=True, exclude_none=True) == held["spec"]


@pytest.mark.parametrize("text", ["", "{}", '{"spec": {}, "project": "a", "name": "b"}', "[1]"])
def test_a_file_that_is_no_workspace_is_one_line(tmp_path, text):
    (tmp_path / "w.json").write_text(text)
    with pytest.raises(UserError, match="not a workspace written by --workspace") as raised:
        workspace.read(tmp_path / "w.json", "me")
    assert "\n" not in str(raised.value)


def test_the_command_writes_the_file_and_says_how_to_apply_it(evidence, tmp_path):
    outputs = str(evidence.study.folder.parents[1])
    done = typed("report", "mix_sweep", "--outputs", outputs, "--workspace", str(tmp_path / "w.json"))
    assert done.returncode == 0, done.stderr
    assert f"--apply {tmp_path / 'w.json'}" in done.stdout
    assert panels(json.loads((tmp_path / "w.json").read_text()))


def test_without_an_account_nothing_is_saved(evidence, tmp_path):
    workspace.write(evidence, tmp_path / "w.json")
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "NETRC": str(tmp_path / "none"),
        "WANDB_SILENT": "true",
    }
    command = [sys.executable, "-m", "ablate.report", "--apply", str(tmp_path / "w.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "error: --apply needs an account: log in with `wandb login`" in done.stderr


@pytest.mark.slow
def test_a_workspace_of_all_studies_names_what_a_real_run_logs(evidence, mirrored, tmp_path):
    workspace.write_book([evidence, evidence], tmp_path / "w.json")
    held = json.loads((tmp_path / "w.json").read_text())
    (runs,) = held["spec"]["section"]["runSets"]
    assert [key["name"] for key in runs["grouping"]] == ["group", "jobType"]
    assert evidence.study.name in json.dumps(runs["filters"])
    drawn = {metric for panel in panels(held) for metric in panel["config"].get("metrics", [])}
    assert drawn <= mirrored["metrics"]
    (plot,) = [panel for panel in panels(held) if panel["viewType"] == "Parallel Coordinates Plot"]
    for kind, name in (column["accessor"].split(":") for column in plot["config"]["columns"]):
        key, *rest = (part for part in name.split(".") if part != "value")
        assert name in mirrored["metrics"] if kind == "summary" else key in mirrored["config"], rest
    view = workspace.read(tmp_path / "w.json", "some-team")
    assert view.display_name == "the lab book"
