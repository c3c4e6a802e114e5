"""The loss and the gradient of every single step, for the record: `metrics.jsonl` has rows of the kind `steps`.

    {"kind": "steps", "step": 20, "first": 18, "nats": [4431.07, 4402.9], "counted": [1024, 1024],
     "grad_norm": [0.61, 0.58]}                                                   of the steps 18 and 19

Nats and counted targets are sums over a step, on all devices; the norm is that before clipping. A step that was left
out has none of them. Numbers wait on the device until a row is due, so that no step waits for them. A row is written
before every checkpoint as well, so none is lost where a run goes on.
"""

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor

from ablate.fit.module import Pretraining
from ablate.run.record import Record

DIGITS = 7  # of a number, about those of single precision


class EveryStep(L.Callback):
    """`every`: steps of a row."""

    def __init__(self, record: Record, every: int):
        self.record, self.every = record, every
        # Of each step nats and counted targets, and the norm; None where it was left out
        self.waiting: list[tuple[Tensor, Tensor] | None] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: object, **__: object) -> None:
        assert isinstance(pl_module, Pretraining)
        self.waiting.append((pl_module.own_2, pl_module.grad_norm) if pl_module.learnt else None)
        if trainer.global_step % self.every == 0 or trainer.global_step == trainer.max_steps:
            self._write(trainer, pl_module.device)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        self._write(trainer, pl_module.device)

    def _write(self, trainer: L.Trainer, device: torch.device) -> None:
        """All processes must come here together."""
        if not self.waiting:
            return
        found_N3 = torch.full((len(self.waiting), 3), torch.nan, dtype=torch.float64, device=device)
        for place, one in enumerate(self.waiting):
            if one:
                found_N3[place, :2], found_N3[place, 2] = one
        sums_N2 = trainer.strategy.reduce(found_N3[:, :2].clone(), reduce_op="sum")
        columns = [*sums_N2.unbind(1), found_N3[:, 2]]
        row: dict[str, Any] = {"step": trainer.global_step, "first": trainer.global_step - len(self.waiting)}
        row |= dict(zip(("nats", "counted", "grad_norm"), (_listed(one.tolist()) for one in columns), strict=True))
        self.waiting.clear()
        if trainer.is_global_zero:
            self.record.append("steps", **row)


def _listed(values: Sequence[float]) -> list[float | None]:
    return [None if value != value else float(f"{value:.{DIGITS}g}") for value in values]
