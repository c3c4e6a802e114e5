"""Tiny runs on real text for benches that need many of them: 33,000 parameters, 512 tokens a step, a core each.

They are noisier than any run that is worth watching.
"""

import importlib
import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ablate.data.tokens import opened
from ablate.plan.timeline import timeline
from ablate.run.parse import from_plain
from ablate.run.processes import cores
from ablate.run.settings import Settings
from ablate.sweep.worker import alone
from bench import cases

STEPS = 300
LONGER = {"tokens": 512 * STEPS * 3}  # a run in which a few steps that are left out are of no account
TINY: dict[str, Any] = {
    "data": {"domains": ["general", "code", "qa"], "domain_bytes": 150_000, "span": 64, "vocabulary": 512},
    "size": {"width": 32, "depth": 2, "heads": 2, "kv_heads": 1, "hidden": 64},
    "length": {"lengths": [64]},
    "tokens": 512 * STEPS,
    "step_tokens": 512,
    "evaluation": {"times": 1, "spans": 32},
}
WHERE = {"device": "cpu", "wandb": "off", "progress": False, "saves": 8, "threads": 1}


@dataclass(frozen=True)
class Trained:
    """What a run came to; `spikes`: its rows of them."""

    settings: Settings
    spikes: list[dict[str, Any]]
    result: dict[str, Any]

    @property
    def judged(self) -> int:
        """Steps that had enough before them of their stage, row length and rows."""
        found, count, last = 0, 0, None
        for phase in timeline(self.settings).table[["stage", "length", "rows"]].tolist():
            count, last = (count + 1 if phase == last else 1), phase
            found += count > self.settings.monitor.least
        return found


def trained(changes: dict[str, Any]) -> Trained:
    """A run of TINY with other groups; its folder is gone afterwards."""
    with cases.outputs() as outputs:
        settings = from_plain(TINY | {"where": WHERE | {"outputs": str(outputs)}} | changes)
        task = alone(settings)
        result = importlib.import_module("ablate.fit.run").train_run(settings, opened(task.corpus), task.record)
        return Trained(settings, task.record.rows("spike"), result)


def many(changes: Sequence[dict[str, Any]]) -> list[Trained]:
    """Of each what `trained` gives, one run a core; the first alone, which prepares the text for all."""
    importlib.import_module("ablate.fit.warm")  # once, before this process is forked
    first = trained(changes[0])
    with multiprocessing.get_context("fork").Pool(cores()) as pool:
        return [first, *pool.map(trained, changes[1:], chunksize=1)]
