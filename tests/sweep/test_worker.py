"""What the process of a run does with the task it was given."""

import os

import pytest

from ablate.data import request
from ablate.run.settings import UserError
from ablate.sweep.worker import alone, train


def test_a_run_reads_the_text_that_was_prepared_for_it_and_no_source(tiny, monkeypatch):
    task = alone(tiny())
    monkeypatch.setattr(request, "open_source", None)  # preparing anew would call it
    assert train(task)["outcome"] == "finished"


def test_text_that_was_damaged_since_it_was_prepared_is_refused(tiny, tmp_path):
    task = alone(tiny(where={"outputs": str(tmp_path)}))
    path = task.corpus / "qa.train.bin"
    os.truncate(path, path.stat().st_size - 2)
    with pytest.raises(UserError, match=r"qa\.train\.bin has \d+ bytes, not \d+; ablate prepare and train prepare it"):
        train(task)
