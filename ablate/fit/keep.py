"""Weights that are kept while a run trains (`where.keep`), for whoever asks what it could do at a step.

    runs/<id>/weights/step-00000120.safetensors     as they are evaluated: of the average, once there is one

They cost disk and no training. The row `kept` of the metrics holds their sha256 and is written after the file, so a
file without a row is one that a killed run left, and is written again when the run comes by.
"""

import lightning as L

from ablate.fit import checkpoint
from ablate.fit.module import Pretraining
from ablate.fit.parallel import strategy
from ablate.plan.timeline import Timeline
from ablate.run.files import make_folder
from ablate.run.record import Record
from ablate.run.steps import steps_of


def steps(timeline: Timeline) -> tuple[int, ...]:
    """Steps after which weights are kept: so many evaluations, which divide the run evenly, or moments of the run.

    Those after the last step are kept always, and are not among them.
    """
    keep, due, last = timeline.settings.where.keep, timeline.evaluations, len(timeline)
    if isinstance(keep, list):
        return tuple(sorted({steps_of(moment, last) for moment in keep} - {0, last}))
    places = {round(len(due) * (i + 1) / (keep + 1)) for i in range(keep)} - {0, len(due)}
    return tuple(due[place - 1] for place in sorted(places))


class Keeper(L.Callback):
    """Stands before the `Saver`: what a checkpoint is after was kept."""

    def __init__(self, timeline: Timeline, record: Record):
        self.timeline, self.record, self.due = timeline, record, frozenset(steps(timeline))

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: object, **__: object) -> None:
        assert isinstance(pl_module, Pretraining)
        if (step := trainer.global_step) not in self.due:
            return
        with pl_module.average.in_place_of_weights(pl_module.model):  # until they are written: tensors are views
            whole = strategy.weights(trainer)  # of all processes together
            if trainer.is_global_zero:
                make_folder(self.record.weights_after(step).parent)
                checkpoint.save_weights(whole, self.record.weights_after(step))
                tokens = int(self.timeline.tokens[step])
                self.record.append("kept", step=step, tokens=tokens, weights_sha256=checkpoint.sha256(whole))
