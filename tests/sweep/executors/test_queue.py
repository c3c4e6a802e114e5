"""What is noted of a job, and of what became of it, whichever machines' clocks stamp the files."""

import os

import pytest

from ablate.run.record import Record
from ablate.sweep.executors.queue import failed_since, note, noted

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
