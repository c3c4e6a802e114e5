"""Runs as jobs of a real Slurm (tests/slurm/cluster.py): whatever becomes of a job, the run ends with the same bits."""

import dataclasses
import functools
import json
import os
import shutil
import signal
import subprocess
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from slurm import cluster

from ablate.run.record import run_record
from ablate.run.settings import Study, UserError, Where
from ablate.run.where import Slurm as Asked
from ablate.sweep import trunk
from ablate.sweep.conduct import submit
from ablate.sweep.executors import queue, slurm
from ablate.sweep.executors.local import Local
from ablate.sweep.executors.slurm import Slurm, parameters
from ablate.sweep.launcher import prepared
from ablate.sweep.study import Plan, plan
from ablate.sweep.worker import alone

pytestmark = pytest.mark.slow

TAIL = 2000  # characters of each log that a failure shows
LONG = {"tokens": 163_840}  # 320 steps: some seconds


@pytest.fixture(scope="module")
def conf():
    """A cluster for the tests of this file."""
    if why := cluster.missing():
        pytest.skip(f"no Slurm here: {why}")
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    try:
        yield cluster.start(folder)
    finally:
        cluster.stop(folder)
        shutil.rmtree(folder)


@pytest.fixture
def on_slurm(conf, monkeypatch):
    """Both nodes idle, no jobs, and a launcher that asks often."""
    monkeypatch.setenv("SLURM_CONF", str(conf))
    monkeypatch.setattr(slurm, "ASK_SECONDS", 1.0)
    monkeypatch.setattr(slurm, "POLL_SECONDS", 0.1)
    yield
    command("scancel", "--me")
    for node in cluster.NODES:
        command("scontrol", "update", f"NodeName={node}", "State=RESUME", check=False)


@pytest.fixture
def study(tiny):
    """study(tokens=...): two arms that differ in the rate from the first step on, one seed."""
    return functools.partial(study_in, tiny)


def study_in(tiny, **changes) -> Plan:
    where = {"executor": "slurm", "saves": 1} | changes.pop("where", {})
    base = tiny(**changes, where=where)
    other = dataclasses.replace(base, optimizer=dataclasses.replace(base.optimizer, lr=1e-3))
    return prepared(plan(Study(name="s", factor=["optimizer"], seeds=[0]), base, {"slow": other}))


@pytest.fixture(scope="module")
def long_weights(shared_tiny) -> list[str]:
    """The hashes of the weights of the study's long runs, trained on this machine."""
    return locally(study_in(shared_tiny, **LONG))


def command(*words: str, check: bool = True) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=check, timeout=100).stdout


def train(executor, states: list[str], during=lambda: None) -> None:
    """Train all, which must end so; where it does not, the jobs' own words say why."""
    executor.train(during)
    assert [outcome.state for outcome in executor.outcomes] == states, said(executor)


def said(executor) -> str:
    """What became of each run, and the ends of all logs, the controller's too."""
    parts = [f"{o.run.arm}: {o.state}, {o.tries} tries, {o.failures or o.waits_for}" for o in executor.outcomes]
    outputs = Path(executor.where.outputs)
    logs = sorted((*outputs.glob("runs/*/log.txt"), *outputs.glob("slurm/*_log.*")))
    logs += sorted(Path(os.environ.get("SLURM_CONF", "/none")).parent.glob("slurm*.log"))
    parts += [f"--- {log}\n{log.read_text(errors='replace')[-TAIL:]}" for log in logs]
    return "\n".join(parts)


def launcher(plan: Plan, runs: int = 2) -> Slurm:
    return Slurm(plan.distinct()[:runs], plan.arms[0].settings.where)


def weights(executor) -> list[str]:
    return [(executor.record(outcome).result() or {})["weights_sha256"] for outcome in executor.outcomes]


def locally(plan: Plan, **where) -> list[str]:
    """The hashes of the same runs' weights, trained on this machine in another folder."""
    here = plan.arms[0].settings.where
    outputs = Path(here.outputs).with_name("local")
    outputs.mkdir()
    (outputs / "data").symlink_to(Path(here.outputs, "data").resolve())
    where = dataclasses.replace(here, outputs=str(outputs), executor="local", **where)
    arms = [dataclasses.replace(arm, settings=dataclasses.replace(arm.settings, where=where)) for arm in plan.arms]
    local = Local(Plan(plan.study, arms).distinct(), where)
    train(local, ["done"] * len(local.outcomes))
    return weights(local)


def saved(executor, number: int) -> list[str]:
    return [path.name for path in executor.record(executor.outcomes[number]).checkpoints.glob("step-*")]


def trains(executor, number: int) -> bool:
    """Whether a run is past its first steps."""
    row = executor.record(executor.outcomes[number]).last_row()
    return executor.outcomes[number].state == "running" and bool(row) and row["step"] > 3


def owner(claim: Path) -> int | None:
    """The process that holds a run, if it lives."""
    pid = json.loads(claim.read_text())["pid"] if claim.exists() else None
    return pid if pid and Path(f"/proc/{pid}").exists() else None


def job_of(executor, number: int) -> str:
    return executor.jobs[executor.outcomes[number].run.id]


def release(job: str) -> None:
    """A requeued job waits two minutes by default; two seconds must be.

    A node refuses a job that begins in the second in which it was told to end it ("credential revoked").
    """
    known = dict(word.split("=", 1) for word in command("scontrol", "-o", "show", "job", job).split() if "=" in word)
    far, begins = datetime.now() + timedelta(seconds=30), known["StartTime"]
    # once its time has come, and until it is started, the time is "Unknown": not to be put off again
    if known["JobState"] == "PENDING" and begins != "Unknown" and begins > far.isoformat():
        command("scontrol", "update", f"JobId={job}", "StartTime=now+2", check=False)


def restarts(job: str) -> int:
    return int(command("scontrol", "show", "job", job).split("Restarts=")[1].split()[0])


def test_a_preempted_run_saves_and_ends_with_the_same_bits(on_slurm, study, long_weights):
    todo, seen = study(**LONG), []
    executor = launcher(todo)

    def preempt():
        job = job_of(executor, 0)
        if not seen and trains(executor, 0):
            node = command("squeue", "-h", "-j", job, "-o", "%N").strip()
            command("sbatch", "-p", "high", "-w", node, "--exclusive", "-o", "/dev/null", "--wrap", "sleep 1")
            seen.append(job)
        if seen and executor.outcomes[0].state == "waiting":
            seen.extend(saved(executor, 0))
            release(job)
            release(job_of(executor, 1))

    train(executor, ["done", "done"], preempt)
    assert restarts(seen[0]) == 1
    # saves=1: nothing is saved by itself before the end, so this is what TERM made it save
    assert seen[1].startswith("step-")
    assert [outcome.tries for outcome in executor.outcomes] == [1, 1]
    assert weights(executor) == long_weights


def test_a_run_that_needs_more_than_its_time_is_requeued_by_itself(on_slurm, study, long_weights):
    todo, seen = study(**LONG), []
    executor = launcher(todo)

    def time_is_up():
        job = job_of(executor, 0)
        if not seen and trains(executor, 0):
            command("scancel", "--signal=USR2", job)  # what Slurm sends by itself before the end
            seen.append(job)
        if seen and executor.outcomes[0].state == "waiting":
            seen.extend(saved(executor, 0))
            release(job)

    train(executor, ["done", "done"], time_is_up)
    assert restarts(seen[0]) == 1
    assert seen[1].startswith("step-")
    assert weights(executor) == long_weights


@pytest.mark.parametrize("moment", ["as soon as it runs", "before there is what to save"])
def test_a_signal_that_comes_early_costs_neither_the_run_nor_a_try(on_slurm, study, moment):
    executor, told = launcher(study(**LONG), runs=1), []

    def early():
        job, log = job_of(executor, 0), executor.record(executor.outcomes[0]).folder / "log.txt"
        soon = moment == "as soon as it runs" and executor.outcomes[0].state == "running"
        if not told and (soon or log.exists()):
            command("scancel", "--signal=USR2", job)
            told.append(job)
        if told and executor.outcomes[0].state == "waiting":
            release(job)

    train(executor, ["done"], early)
    assert told
    assert [outcome.tries for outcome in executor.outcomes] == [1]


def test_a_time_too_short_for_anything_is_not_asked_for_again(on_slurm, study):
    todo, told = study(**LONG, where={"slurm": {"minutes": 1}}), []
    executor = launcher(todo, runs=1)

    def at_once():
        log = executor.record(executor.outcomes[0]).folder / "log.txt"
        if not told and executor.outcomes[0].state == "running" and log.exists():
            command("scancel", "--signal=USR2", job_of(executor, 0))
            told.append(log)

    train(executor, ["failed"], at_once)
    assert "where.slurm.minutes=1: over before anything was saved" in executor.outcomes[0].reason, said(executor)


def test_a_cancelled_job_is_reported_and_the_same_command_finishes_it(on_slurm, study, long_weights):
    todo = study(**LONG)
    executor, cancelled = launcher(todo), []

    def cancel():
        if not cancelled and trains(executor, 1):
            cancelled.append(job_of(executor, 1))
            command("scancel", cancelled[0])

    train(executor, ["done", "failed"], cancel)
    assert f"cancelled: job {cancelled[0]}" in executor.outcomes[1].reason
    finished = executor.record(executor.outcomes[0]).folder / "result.json"
    before = finished.stat().st_mtime_ns
    again = launcher(todo)
    train(again, ["done", "done"])
    assert [outcome.tries for outcome in again.outcomes] == [0, 1]
    assert finished.stat().st_mtime_ns == before
    assert weights(again) == long_weights


def test_a_killed_run_is_tried_again_and_then_reported(on_slurm, study):
    executor, killed = launcher(study(**LONG)), []

    def kill():
        claim = executor.record(executor.outcomes[0]).folder / "claim.json"
        job = job_of(executor, 0)
        if job not in killed and trains(executor, 0) and (pid := owner(claim)):
            killed.append(job)
            os.kill(pid, signal.SIGKILL)

    train(executor, ["failed", "done"], kill)
    assert [outcome.tries for outcome in executor.outcomes] == [2, 1]  # once, and once more: where.retries=1
    assert f"killed: job {killed[1]} said nothing (FAILED)" in executor.outcomes[0].reason


def test_drained_nodes_are_waited_for_and_said(on_slurm, study):
    for node in cluster.NODES:
        command("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test")
    executor, reasons = launcher(study(), runs=1), []

    def undrain():
        reasons.append(executor.outcomes[0].reason)
        if "DRAINED" in reasons[-1]:
            for node in cluster.NODES:
                command("scontrol", "update", f"NodeName={node}", "State=RESUME", check=False)

    train(executor, ["done"], undrain)
    assert any("DOWN, DRAINED" in reason for reason in reasons)


def test_a_node_that_goes_down_costs_only_time(on_slurm, study, long_weights):
    """Slurm requeues its run, which goes on once there is a node; the other run does not notice."""
    todo, seen = study(**LONG, where={"saves": 16}), []
    executor = launcher(todo)

    def lose():
        if not seen and trains(executor, 0) and saved(executor, 0):
            node = command("squeue", "-h", "-j", job_of(executor, 0), "-o", "%N").strip()
            command("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=lost")
            seen.append(node)
        elif seen and executor.outcomes[0].state == "waiting":
            command("scontrol", "update", f"NodeName={seen[0]}", "State=RESUME", check=False)
            for outcome in executor.outcomes:
                release(executor.jobs[outcome.run.id])

    train(executor, ["done", "done"], lose)
    assert seen
    assert weights(executor) == long_weights


def test_a_job_that_a_node_cannot_launch_is_said_and_released_by_the_same_command(on_slurm, conf, study):
    """Slurm holds such a job for ever ("launch failed requeued held")."""
    node, spare = cluster.NODES
    command("scontrol", "update", f"NodeName={spare}", "State=DRAIN", "Reason=test")
    todo = study(where={"retries": 0})
    runs, where = todo.distinct()[:1], todo.arms[0].settings.where
    spool, away = conf.parent / f"spool-{node}", conf.parent / "away"
    spool.rename(away)
    spool.touch()  # a file, where the node wants to write the job's script
    try:
        first = Slurm(runs, where)
        train(first, ["failed"])
    finally:
        spool.unlink()
        away.rename(spool)
    job = job_of(first, 0)
    assert first.outcomes[0].reason == (
        f"not launched: job {job}: Slurm could not start it on its node, and holds it; `scontrol release {job}` "
        "lets it go"
    )
    again = Slurm(runs, where)
    train(again, ["done"], lambda: release(job))
    assert again.jobs == first.jobs


def test_a_launcher_that_stops_leaves_its_jobs_and_finds_them_again(on_slurm, study):
    todo = study(**LONG)
    first = launcher(todo, runs=1)

    def interrupt():
        if first.jobs:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"the jobs go on .*; `scancel \d+` stops them"):
        first.train(interrupt)
    second = launcher(todo, runs=1)
    train(second, ["done"])
    assert second.jobs == first.jobs
    assert [outcome.tries for outcome in second.outcomes] == [0]


def test_runs_grow_from_the_trunks_of_an_earlier_generation(on_slurm, tiny):
    base = tiny(where={"executor": "slurm"})
    late = dataclasses.replace(base, schedule=dataclasses.replace(base.schedule, final=0.5))
    todo = prepared(plan(Study(name="s", factor=["schedule"], seeds=[0]), base, {"high": late}))
    where = base.where
    executor = Slurm(todo.distinct(), where, trunk.branches(trunk.beginnings(todo)))
    train(executor, ["done", "done"])
    first, second = (executor.record(outcome).result() or {} for outcome in executor.outcomes)
    assert first["grown_from"] is None
    assert second["grown_from"]["run"] == executor.outcomes[0].run.id
    assert job_of(executor, 0).split("_")[0] != job_of(executor, 1).split("_")[0]
    assert weights(executor) == locally(todo)


def test_one_run_over_two_nodes(on_slurm, study):
    todo = study(where={"strategy": "ddp", "nodes": 2})
    executor = launcher(todo)
    train(executor, ["done", "done"])
    assert executor.record(executor.outcomes[0]).environment()["processes"] == 2
    assert weights(executor) == locally(todo, nodes=1, devices=2)


def test_a_single_run_is_a_job_too(on_slurm, tiny):
    task = alone(tiny(where={"executor": "slurm"}))
    assert submit(task)["outcome"] == "finished"
    assert queue.noted(task.record)


def test_what_sbatch_refuses_is_one_line(on_slurm, study):
    with pytest.raises(UserError, match=r"^where\.slurm: .*invalid partition specified: nowhere$"):
        launcher(study(where={"slurm": {"partition": "nowhere"}})).train(lambda: None)


def test_what_slurm_did_to_a_job_is_said_with_its_cure(study):
    executor = launcher(study())
    record, outcome = executor.record(executor.outcomes[0]), executor.outcomes[0]
    record.folder.mkdir(parents=True)
    queue.note(record, "7")
    executor.jobs[outcome.run.id], executor.over, outcome.tries = "7", {"7"}, 1
    entries = {"7": queue.Entry("OUT_OF_MEMORY", "OutOfMemory")}  # nothing limits memory in the tests' cluster
    assert executor._judge(outcome, entries)  # where.retries=1
    assert outcome.reason.startswith("out of memory: job 7: ")
    assert "where.slurm.memory_gb" in outcome.reason
    outcome.tries, outcome.state = 2, "waiting"
    assert not executor._judge(outcome, entries)


def test_without_slurm_the_other_executor_is_named(study, monkeypatch):
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(UserError, match=r"use where\.executor=local"):
        launcher(study()).train(lambda: None)


def test_only_what_was_asked_for_is_passed_on():
    asked = parameters(Where(slurm=Asked(minutes=2)), "s", [])
    assert asked == {
        "job_name": "s",
        "time": 2,
        "nodes": 1,
        "ntasks_per_node": 1,
        "signal_delay_s": 30,
        "srun_args": ["--kill-on-bad-exit=1"],
        "additional_parameters": {"requeue": True},
    }
    full = Asked(partition="p", account="a", minutes=60, cpus=8, gpus=8, memory_gb=5, at_once=3, options={"qos": "q"})
    asked = parameters(Where(strategy="ddp", nodes=8, devices=8, slurm=full), "s", ["1_0", "2"])
    assert (asked["nodes"], asked["ntasks_per_node"], asked["gpus_per_node"]) == (8, 8, 8)
    assert asked["dependency"] == "afterany:1_0:2"
    assert asked["additional_parameters"] == {"requeue": True, "qos": "q"}
    assert (asked["mem"], asked["array_parallelism"], asked["signal_delay_s"]) == ("5GB", 3, 90)


def test_the_job_of_a_run_is_noted_where_the_run_is(tmp_path):
    record = run_record(tmp_path, "r")
    record.folder.mkdir(parents=True)
    assert queue.noted(record) == ""
    queue.note(record, "12_3")
    assert queue.noted(record) == "12_3"
