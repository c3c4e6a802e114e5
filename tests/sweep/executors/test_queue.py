"""What is noted of a job, and of what became of it, whichever machines' clocks stamp the files."""

import os

import pytest
from submitit import SlurmExecutor

from ablate.run.record import Record
from ablate.sweep.executors.queue import failed_since, note, noted
from ablate.sweep.executors.slurm import parameters

DAY = 86_400


@pytest.mark.parametrize("skew", [-DAY, -90, 90, DAY])
def test_a_failure_is_that_of_the_job_when_it_was_not_there_before(tmp_path, skew):
    record = Record(tmp_path)
    failure, job = tmp_path / "failure.json", tmp_path / "job.json"

    def fails() -> None:
        record.fail("crashed", "no")
        stamp = job.stat().st_mtime + skew if job.exists() else 1e9
        os.utime(failure, (stamp, stamp))

    note(record, "1")
    assert not failed_since(record)
    fails()
    assert failed_since(record)
    note(record, "2")
    assert not failed_since(record)
    record.try_again()
    assert not failed_since(record)
    fails()
    os.utime(failure, ns=(1, failure.stat().st_mtime_ns + 1))  # no two files of one job are of the same nanosecond
    assert failed_since(record)


def test_a_note_that_is_damaged_or_of_an_earlier_version_is_no_error(tmp_path):
    record = Record(tmp_path)
    (tmp_path / "job.json").write_text('{"job": "7"}')
    record.fail("crashed", "no")
    assert noted(record) == "7"
    assert failed_since(record)
    (tmp_path / "job.json").write_text("{")
    assert noted(record) == ""


def test_the_script_of_a_run_over_many_nodes(tiny, tmp_path):
    """As Slurm would get it: no test here has 64 GPUs."""
    setup = ["module load cuda", "source env"]
    slurm = {"minutes": 90, "cpus": 8, "gpus": 8, "setup": setup, "options": {"qos": "low"}}
    where = tiny(where={"strategy": "fsdp", "devices": 8, "nodes": 8, "slurm": slurm}).where
    executor = SlurmExecutor(tmp_path)
    executor.update_parameters(**parameters(where, "ablate-run", ["17_0"]))
    script = executor._make_submission_file_text("train", "1").splitlines()
    asked = {"--nodes=8", "--ntasks-per-node=8", "--gpus-per-node=8", "--cpus-per-task=8", "--time=90", "--qos=low"}
    asked |= {"--dependency=afterany:17_0", "--requeue", "--signal=USR2@90"}
    assert asked <= {line.removeprefix("#SBATCH ") for line in script}
    start = next(number for number, line in enumerate(script) if line.startswith("srun "))
    assert "--kill-on-bad-exit=1 --cpus-per-task=8" in script[start]
    assert [line for line in script[:start] if line in setup] == setup
