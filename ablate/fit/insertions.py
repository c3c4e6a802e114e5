"""What was put into a step, once it was taken: `metrics.jsonl` has rows of the kind `inserted` (`data.inserted`).

A step that was left out taught nothing, and has no row. A trunk holds the rows of its steps, and a run that grows from
it writes the others.
"""

import lightning as L

from ablate.data.inserted import Inserted
from ablate.fit.module import Pretraining
from ablate.plan.order import Order
from ablate.run.record import Record


class Insertions(L.Callback):
    """Goes before `Saver`: a checkpoint knows of the texts of all steps before it."""

    def __init__(self, record: Record, inserted: Inserted, order: Order):
        self.record, self.inserted, self.order = record, inserted, order

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: object, **__: object) -> None:
        assert isinstance(pl_module, Pretraining)
        step = trainer.global_step - 1
        if trainer.is_global_zero and pl_module.learnt and step in self.inserted.by_step:
            self.record.append("inserted", **self.inserted.displaced(self.order, step))
