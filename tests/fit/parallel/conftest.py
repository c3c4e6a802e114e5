"""The run of all tests of strategies: a layer of each kind, and several passes a step."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import record_of, train_run
from tiny import TINY, merged

from ablate.run.parse import from_config
from ablate.run.record import Record
from ablate.run.settings import Settings

KEPT = 5
# An odd vocabulary does not divide by two processes
MODEL = {"model": {"pattern": "AML"}, "size": {"depth": 3}, "data": {"vocabulary": 511}}


@pytest.fixture(scope="session")
def spread(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Callable[..., Settings]:
    """spread("zero3"): settings of the run of all these tests, on two processes, in a folder of its own."""

    def make(name: str, **changes: Any) -> Settings:
        outputs = tmp_path_factory.mktemp(name)
        (outputs / "data").symlink_to(shared_data)
        where = {"device": "cpu", "strategy": name, "devices": 1 if name == "single" else 2, "outputs": str(outputs)}
        base = merged(merged(TINY, MODEL), {"where": where | {"micro_tokens": 128, "saves": 2, "keep": [KEPT]}})
        return from_config(merged(base, changes))

    return make


@pytest.fixture(scope="session")
def whole(spread: Callable[..., Settings]) -> Record:
    """The run on one process, undisturbed."""
    train_run(settings := spread("single"))
    return record_of(settings)
