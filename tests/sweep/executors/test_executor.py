"""How often a run is tried again: counted anew whenever it has come further."""

from types import SimpleNamespace
from typing import Any

import pytest

from ablate.run.where import Where
from ablate.sweep.executors.executor import Executor


class Nobody(Executor):
    """Trains nothing."""

    @classmethod
    def prepare(cls, where: Where) -> None: ...

    def num_held(self) -> int:
        return 0

    def train(self, show: Any) -> None: ...


@pytest.mark.parametrize(
    ("retries", "saved", "expected"),
    [
        (1, [0, 0], [True, False]),
        (1, [10, 20, 20], [True, True, False]),  # the second came further, the third did not
        (2, [0, 0, 30, 30, 30], [True, True, True, True, False]),
        (0, [10], [False]),
    ],
)
def test_tries_count_since_the_run_last_came_further(tmp_path, retries, saved, expected):
    runs: list[Any] = [SimpleNamespace(id="a")]
    executor = Nobody(runs, Where(outputs=str(tmp_path), retries=retries))
    (outcome,) = executor.outcomes
    found = []
    for step in saved:
        outcome.tries += 1
        (tmp_path / "runs" / "a" / "checkpoints" / f"step-{step:08d}").mkdir(parents=True, exist_ok=True)
        found.append(executor.goes_on(outcome))
    assert found == expected
