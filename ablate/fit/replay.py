"""A step of a run once more: was it the batch, or the state that the run was in? (`run.replay` has the rule.)

    newest checkpoint or trunk ──train──> healthy weights ──train──> weights just before the step
                                               │                          │
                                               └── the batch, neighbours ─┘     loss, gradient: nothing is learnt

Steps are functions of their position, so any batch can be had at any time, and the state before any step by training
again. What trains is `fit.run`, in a folder of its own: that of the run is only read.
"""

import contextlib
import dataclasses
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ablate.data.batches import Batch, Steps, training_spans
from ablate.data.tokens import Corpus
from ablate.fit import parents, reference, run
from ablate.fit.checkpoint import SafetensorsIO
from ablate.fit.module import Pretraining
from ablate.fit.monitor import LOOKBACK
from ablate.fit.parallel import strategy
from ablate.fit.suspects import LEAST, Seen, compared, measures, rows_of, shares_of
from ablate.plan.neighbours import neighbours, rate_factor
from ablate.plan.order import Order
from ablate.plan.timeline import leaving_out, timeline
from ablate.run import checkpoints, parts
from ablate.run.failures import PAUSED
from ablate.run.monitor import Window, spelled, union, windows
from ablate.run.progress import Progress
from ablate.run.record import Record
from ablate.run.replay import MOST_OF_BATCH, MOST_OF_STATE, Replay
from ablate.run.settings import Settings, UserError
from ablate.run.trunks import Growth, Trunk
from ablate.run.where import Where

REACH = LOOKBACK + 4  # steps back to healthy weights: as far as a monitor looks for the beginning, and some more
NEIGHBOURS = 32  # steps to compare with
TAKEN_OVER = ("micro_tokens", "threads", "tf32", "recompute", "deterministic", "imports")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """`settings`: those of the run, told what it had left out before it came to the step; `suspects`: steps that are no
    neighbours; `start`: where it is trained on from."""

    settings: Settings
    corpus: Corpus
    step: int
    healthy: int
    suspects: list[Window]
    start: Trunk | None

    @property
    def to_train(self) -> int:
        """Steps."""
        return self.step - (self.start.read()["step"] if self.start else 0)


def question(
    record: Record, corpus: Corpus, step: int, trunks: Sequence[Trunk], scratch: Path, shown: bool
) -> Question:
    """What is to be trained before the step can be judged. Raises UserError where there is nothing to compare with."""
    spikes = record.spikes()
    before = union(tuple(row["window"]) for row in spikes if row["action"] != "none" and row["at"] < step)
    settings = _again(record, before, shown)
    healthy = max(0, step - REACH)
    suspects = union((first, end) for first, end in (row["window"] for row in spikes))
    asked = Question(settings=settings, corpus=corpus, step=step, healthy=healthy, suspects=suspects, start=None)
    if len(found := _neighbours(asked)) < LEAST:
        alike = f"{len(found)} steps of the same stage, row length and number of rows"
        raise UserError(f"--step {step}: there are {alike} to compare with, and {LEAST} are needed")
    return dataclasses.replace(asked, start=_start(record, asked, trunks, scratch))


def replayed(asked: Question, scratch: Path, shown: bool) -> Replay:
    """Train up to the step, and look at it. Raises UserError where the run cannot be trained so far."""
    healthy, before = _states(asked, scratch)
    plan = timeline(asked.settings)
    others, order = _neighbours(asked), Order(plan, training_spans(asked.corpus, asked.settings))
    with Progress(2 * len(others) + 2, shown, "batch") as progress:
        lens = _Lens(asked, order, scratch, progress)
        on_healthy = lens.look(healthy, [*others, asked.step])
        on_before = lens.look(before, [*others, asked.step])
        in_float32 = [lens.in_float32(asked.step)] if asked.settings.precision != "fp32" else []
    (*usual, suspect), (*later, last) = on_healthy, on_before
    settings, steps, batch = asked.settings, lens.steps, compared(asked.settings, [suspect], usual, MOST_OF_BATCH)
    return Replay(
        step=asked.step,
        healthy=asked.healthy,
        neighbours=len(others),
        before=compared(settings, [last], later, MOST_OF_BATCH),
        batch=batch,
        state=compared(settings, later, usual, MOST_OF_STATE),
        rate=rate_factor(plan, asked.step, asked.healthy, others),
        rows=rows_of(steps, asked.step, suspect, batch.measures),
        shares=(shares_of(steps, [asked.step]), shares_of(steps, others)),
        grad_norm=last.norm,
        float32=measures(settings, in_float32, [last]) if in_float32 else [],
    )


def _again(record: Record, left_out: Sequence[Window], shown: bool) -> Settings:
    """The run in one process of this machine, which looks for no spikes and leaves out what it is told."""
    settings = record.settings()
    same = {name: getattr(settings.where, name) for name in TAKEN_OVER}
    same["device"] = "cpu" if settings.where.device == "cpu" else "auto"
    outputs = str(record.folder.parents[1])
    where = Where(outputs=outputs, wandb="off", progress=shown, saves=1, peak_tflops=1.0, trunks=False, **same)
    skip = spelled([*windows(settings.monitor.skip), *left_out])
    monitor = dataclasses.replace(settings.monitor, act="none", skip=skip)
    evaluation = dataclasses.replace(settings.evaluation, times=1)
    parts.load(where.imports)
    return strategy.in_parts(dataclasses.replace(settings, where=where, monitor=monitor, evaluation=evaluation))


def _neighbours(asked: Question) -> list[int]:
    return neighbours(leaving_out(timeline(asked.settings), asked.suspects), asked.step, asked.healthy, NEIGHBOURS)


def _start(record: Record, asked: Question, trunks: Sequence[Trunk], scratch: Path) -> Trunk | None:
    """The newest whole state at or before the healthy one that has learnt from the very steps."""
    left_out = windows(asked.settings.monitor.skip)

    def fits(checkpoint: Path, step: int) -> bool:
        return step <= asked.healthy and checkpoints.leaves_out_just(checkpoint, step, left_out)

    whole = [(one.read()["step"], one) for one in trunks if one.whole()]
    found = {step: one for step, one in whole if fits(one.checkpoint, step)}
    own = [path for path in checkpoints.saved(record.checkpoints) if fits(path, checkpoints.step_of(path))]
    for path in reversed(own):
        step = checkpoints.step_of(path)
        if step > max(found, default=0) and not checkpoints.wrong(path):
            trunk = Trunk(scratch / "own")
            trunk.leave(path, record, step, {"flops": 0.0, "seconds": 0.0})
            return trunk
    return found[max(found)] if found else None


def _states(asked: Question, scratch: Path) -> tuple[Path | None, Path]:
    """Checkpoints of the healthy state and of that just before the step; None: the weights that a run begins with."""
    record, trunk = Record(scratch / "runs" / "replayed"), Trunk(scratch / "healthy")
    begun = asked.start.read()["step"] if asked.start else 0
    leave = {asked.healthy: trunk} if asked.healthy > begun else {}
    growth = Growth(start=asked.start, leave=leave, until=asked.step)
    try:
        with _signals():
            told = run.train_run(asked.settings, asked.corpus, record, growth)
    except SystemExit as stop:
        if stop.code != PAUSED:
            raise
    else:
        raise UserError(f"--step {asked.step}: the run does not come so far: {told['reason']}")
    before = checkpoints.saved(record.checkpoints)[-1]
    if leave:
        return trunk.checkpoint, before
    return (asked.start.checkpoint if asked.start else None), before


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """What signals did before is what they do afterwards: a run that trains saves first."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Lens:
    """Losses and gradients of steps on given weights, by the module that trains; nothing is learnt."""

    def __init__(self, asked: Question, order: Order, scratch: Path, progress: Progress):
        settings, self.progress, self.done = asked.settings, progress, 0
        self.module = Pretraining(settings, order.timeline, torch.from_numpy(asked.corpus.bytes_per_token))
        parents.load(self.module.model, settings)
        trainer = run.trainer_of(settings, Record(scratch / "runs" / "replayed"), [])
        device = trainer.strategy.root_device
        self.steps = Steps(order, asked.corpus)
        if settings.objective == "preference":
            self.steps.beside = reference.of(self.module.model, settings, asked.corpus, device).train
        self.module.to(device).trainer = trainer
        self.module.manual_backward = Tensor.backward
        self.context = trainer.precision_plugin.train_step_context

    def look(self, checkpoint: Path | None, steps: Sequence[int]) -> list[Seen]:
        """With the weights of a checkpoint; None: those that the run begins with, and the module too."""
        if checkpoint:
            self.module.load_state_dict(SafetensorsIO().load_checkpoint(checkpoint)["state_dict"])
        found = []
        for step in steps:
            with self.context():
                found.append(self.in_float32(step))
            self.done += 1
            self.progress.at(self.done, f"the batch of step {step}")
        return found

    def in_float32(self, step: int) -> Seen:
        """With the last weights, outside of what rounds."""
        module = self.module
        module.zero_grad()
        rows = torch.cat(module.gradients(Batch(*self.steps[step]).to(module.device)))
        norm = float(module.clipping.clip(list(module.model.parameters())))
        return Seen(module.take_sums()[:, :2].cpu().numpy(), norm, rows.cpu().numpy())
