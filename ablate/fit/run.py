"""Train one run: settings in, a finished record out. The one function that a sweep knows of `fit`.

Started again after any interruption it goes on from the last checkpoint, and ends with the same
weights, bit for bit, as if nothing had happened. So it does when it starts from the trunk of another
run (`Growth`). A finished run returns its result at once.
"""

import ctypes
import dataclasses
import functools
import logging
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.profilers import Profiler, PyTorchProfiler, SimpleProfiler

from ablate.compress.packed import Packed
from ablate.data.batches import Beside, training_spans, validation_rows
from ablate.data.inserted import Inserted
from ablate.data.tokens import Corpus, prepared
from ablate.data.windows import Stream
from ablate.fit import callbacks, checkpoint, keep, mirror, mps, parents, reference, saver, smaller, spikes
from ablate.fit.batches import Batches
from ablate.fit.every_step import EveryStep
from ablate.fit.insertions import Insertions
from ablate.fit.module import Diverged, Pretraining
from ablate.fit.monitor import LOOKBACK
from ablate.fit.parallel import processes, strategy
from ablate.fit.probe import Subject
from ablate.fit.samples import Samples
from ablate.fit.spikes import Rollback, Spikes
from ablate.fit.trace import Trace
from ablate.fit.watch import Watch
from ablate.model import match, sdpa
from ablate.plan.order import Order
from ablate.plan.timeline import leaving_out, timeline
from ablate.run import checkpoints, failures, parts
from ablate.run.monitor import Window
from ablate.run.record import Record
from ablate.run.settings import Settings, SettingsError
from ablate.run.start import NONE
from ablate.run.study_record import study_record
from ablate.run.trunks import Growth, Trunk
from ablate.run.where import Where
from ablate.scores.spikes import told

ALONE = Growth()


def train_run(settings: Settings, corpus: Corpus, record: Record, growth: Growth = ALONE) -> dict[str, Any]:
    """Train, resume or look up one run, with its prepared text and the folder of its record; returns its result.

    Several devices: one process each.
    """
    mps.start(settings.where)
    parts.load(settings.where.imports)
    strategy.check(settings)
    match.sized(settings)  # raises here, before anything is written, when nothing matches
    if not settings.tokens and settings.start == NONE:
        raise SettingsError("start=none: must be run:<id> or folder:<path> with tokens=0, which trains nothing")
    if not record.done:
        if settings.where.strategy == "single" or "LOCAL_RANK" in os.environ:
            _train(settings, corpus, record, growth)
        else:
            processes.together(_train_rank, settings.where.devices, settings, corpus, record, growth)
    return record.result() or {}


def _train(settings: Settings, corpus: Corpus, record: Record, growth: Growth) -> None:
    """In as many tries as there are spikes that the run takes back."""
    _set_up(settings.where)
    settings = strategy.in_parts(settings)
    taken_back = record.taken_back()
    while True:
        try:
            return _try(settings, corpus, record, growth, taken_back)
        except Rollback as spike:
            taken_back = [*taken_back, spike.row]
            if strategy.is_first():
                record.take_back(taken_back)


def _set_up(where: Where) -> None:
    """What holds for the whole process."""
    _quiet()
    torch.set_float32_matmul_precision("high" if where.tf32 else "highest")  # high: TF32, on GPUs alone
    if strategy.accelerator(where) == "cuda":
        sdpa.choose(torch.cuda.get_device_capability()[0], where.deterministic)
    torch.set_num_threads(strategy.threads(where))
    _keep_memory()
    # Part of deterministic mode: fills every fresh tensor with NaN. Nothing here reads one that was
    # not written, and it costs 2-5 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyrefly: ignore


def _try(
    settings: Settings, corpus: Corpus, record: Record, growth: Growth, taken_back: Sequence[dict[str, Any]]
) -> None:
    """Train from the newest state that knows of the steps that are left out. Raises Rollback."""
    left_out = spikes.windows(taken_back)
    order = Order(leaving_out(timeline(settings), left_out), training_spans(corpus, settings))
    held_out, inserted = validation_rows(corpus, settings), Inserted.of(order.timeline, corpus)
    module = Pretraining(settings, order.timeline, torch.from_numpy(corpus.bytes_per_token))
    parents.load(module.model, settings)
    packed = smaller.made(module.model, settings, corpus) if settings.compress.to != NONE else None
    own = _own(record, left_out)
    strategy.check_cut(settings, record)  # of a run that goes on
    ahead = _ahead(growth, own, left_out)
    rows = checkpoints.rows_size(own) if own and not ahead else None
    watch = _watch(settings, corpus, order, Watch(settings, order, held_out, record, ahead, taken_back))
    watch.progress.total = growth.until or settings.steps
    beside = _beside(module, settings, corpus, watch)
    saves = _saver(settings, record, growth, watch)
    trace = Trace(module, corpus, order, held_out, record, watch.every, _base(settings, record))
    keeper = keep.Keeper(order.timeline, record)
    noted = [EveryStep(record, watch.every), Insertions(record, inserted, order)]
    trainer = trainer_of(settings, record, [watch, *noted, trace, keeper, *callbacks.own(settings.where), saves])
    if trainer.is_global_zero:
        record.begin(settings, corpus.fingerprint, strategy.hardware(settings.where) | _built(module), rows)
    _act(module, order, watch, trainer)
    outcome, reason = "finished", None
    try:
        batches = Batches(order, corpus, settings.where.data_workers, beside)
        trainer.fit(module, datamodule=batches, ckpt_path=ahead.checkpoint if ahead else own)
        if not settings.steps:
            _score(trainer, module, watch, trace)
    except Diverged as error:
        outcome, reason = "diverged", str(error)
        mirror.alert(trainer.loggers, f"{record.id}: {outcome}", reason)
    except SystemExit:
        watch.progress.stop()
        raise
    except Rollback:
        watch.progress.stop()
        mirror.close(trainer.loggers)
        raise
    except Exception as error:
        mirror.alert(trainer.loggers, f"{record.id}: failed", failures.of(error).reason)
        raise
    _finish(trainer, module, record, {"outcome": outcome, "reason": reason}, watch, packed)


def _act(module: Pretraining, order: Order, watch: Watch, trainer: L.Trainer) -> None:
    """Have somebody act on spikes, where that is asked for."""
    if module.monitor.acts:
        rows_of = functools.partial(_rows_of, order)
        module.on_spike = Spikes(module.monitor, watch.learns, rows_of, functools.partial(watch.tell, trainer))


def _finish(
    trainer: L.Trainer, module: Pretraining, record: Record, ended: dict[str, Any], watch: Watch, packed: Packed | None
) -> None:
    """Save the weights, then say that the run is done."""
    module.average.put_into(module.model)
    weights = strategy.weights(trainer)  # of all processes together
    if trainer.is_global_zero:
        checkpoint.save_weights(weights, record.weights)
        ended |= {"weights_sha256": checkpoint.sha256(weights)}
        if packed:
            ended["compressed"] = smaller.told(packed, record.packed)
        ended |= watch.summary() | told(record, module.monitor.acts)
        record.finish(ended)  # the last file: its existence means that all is there
        checkpoint.remove(record.checkpoints)
    mirror.close(trainer.loggers)


def _own(record: Record, left_out: list[Window]) -> Path | None:
    """The run's newest checkpoint that is of its steps; those that are of others are dropped."""
    first = strategy.is_first()
    if first:
        checkpoints.drop(record.checkpoints, left_out)
    return checkpoints.newest(record.checkpoints, tell=first, left_out=left_out)


def _watch(settings: Settings, corpus: Corpus, order: Order, watch: Watch) -> Watch:
    """With the streams that hold marks, and samples where they are asked for."""
    streams = [Stream.of(corpus, domain, "train", settings.objective) for domain in order.domains]
    if any(stream.marks is not None for stream in streams):
        watch.marked = streams
    if settings.evaluate.samples:
        watch.samples = Samples(settings, corpus)
    return watch


def _ahead(growth: Growth, own: Path | None, left_out: list[Window]) -> Trunk | None:
    """The trunk to grow from: one that is further than the run itself, and of its steps."""
    trunk = growth.start
    step = trunk.read()["step"] if trunk else 0
    further = step > (checkpoints.step_of(own) if own else 0)
    return trunk if trunk and further and checkpoints.leaves_out(trunk.checkpoint, step, left_out) else None


def _reach(settings: Settings) -> int:
    """Steps that a spike may be found too late."""
    return settings.monitor.margin + LOOKBACK if settings.monitor.act == "rollback" else 0


def _rows_of(order: Order, step: int) -> dict[str, int]:
    """The rows of a step, by domain."""
    rows_D = np.bincount(order.step(step).domain_R, minlength=len(order.domains))
    return dict(zip(order.domains, rows_D.tolist(), strict=True))


def _beside(module: Pretraining, settings: Settings, corpus: Corpus, watch: Watch) -> Beside:
    """What the start thinks of the pairs that are trained on, where the objective asks; `watch` gets the rest."""
    if settings.objective != "preference":
        return ()
    known = reference.of(module.model, settings, corpus, torch.device(strategy.accelerator(settings.where)))
    watch.held_out = reference.beside_rows(watch.held_out, known, settings.evaluation.spans)
    watch.reference = known.told
    return known.train


def _score(trainer: L.Trainer, module: Pretraining, watch: Watch, trace: Trace) -> None:
    """A run of no steps, which Lightning has set up and put away again."""
    module.to(trainer.strategy.root_device)
    trace.on_train_start(trainer, module)
    watch.on_train_start(trainer, module)
    watch.score(trainer, module)
    trace.score()
    watch.teardown(trainer, module, "fit")


def _base(settings: Settings, record: Record) -> Subject | None:
    """The base of the run's study, as it would be trained here; None for a run of no study."""
    name = settings.study.name
    found = study_record(settings.where.outputs, name).base_of(record.id) if name else None
    if not found:
        return None
    base = dataclasses.replace(found[0], seed=settings.seed, where=settings.where, study=settings.study)
    corpus = prepared(Path(settings.where.outputs), found[1])
    return Subject(base, validation_rows(corpus, base), torch.from_numpy(corpus.bytes_per_token), Pretraining)


def _leave(growth: Growth, record: Record, watch: Watch) -> dict[int, Callable[[Path], None]]:
    # In the midst of steps that were taken back the state is not what a run comes to that has seen no more than these
    inside = [range(first + 1, end) for first, end in spikes.windows(record.taken_back())]
    return {
        step: lambda path, step=step, trunk=trunk: trunk.leave(path, record, step, watch.cost(step))
        for step, trunk in growth.leave.items()
        if not any(step in window for window in inside)
    }


def _built(module: Pretraining) -> dict[str, Any]:
    """The model as it is built here, for the record: widths that `size.match` solved, and what does the work."""
    device = torch.device(strategy.accelerator(module.settings.where))
    compiled = {"compiled": True} if module.settings.where.compile else {}
    kernels = module.model.kernels(device, max(module.settings.length.lengths))
    return {"size": dataclasses.asdict(module.model.size), "kernels": kernels} | compiled


def _saver(settings: Settings, record: Record, growth: Growth, watch: Watch) -> saver.Saver:
    """Checkpoints fall due where a row of metrics ends."""
    where, rows = settings.where, watch.every
    due = saver.Due(rows * max(1, round(settings.steps / where.saves / rows)), rows, 60 * where.save_minutes)
    leave, reach = _leave(growth, record, watch), _reach(settings)
    return saver.Saver(record.checkpoints, due, leave, growth.until, keep=where.checkpoints, reach=reach)


def trainer_of(settings: Settings, record: Record, callbacks: list[L.Callback]) -> L.Trainer:
    # Lean on purpose: no bar, logging or validation loop of Lightning's own. Together they cost
    # 5-10 % of a step of 11 ms, and `Watch` does what is wanted of them.
    return L.Trainer(
        **strategy.trainer_arguments(settings),
        precision="32-true" if settings.precision == "fp32" else "bf16-mixed",
        max_steps=settings.steps,
        max_epochs=1,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        logger=mirror.loggers(settings, record),
        callbacks=callbacks,
        plugins=[checkpoint.SafetensorsIO()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        deterministic=settings.where.deterministic,
        use_distributed_sampler=False,
        profiler=_profiler(settings, record),
        default_root_dir=record.folder,
    )


def _profiler(settings: Settings, record: Record) -> Profiler | None:
    kinds = {"off": None, "simple": SimpleProfiler, "pytorch": PyTorchProfiler}
    kind = kinds[settings.where.profile]
    return kind(dirpath=record.folder, filename="profile") if kind else None


def _train_rank(settings: Settings, corpus: Corpus, record: Record, growth: Growth, rank: int, port: int) -> None:
    os.environ.update(strategy.rank_environment(rank, settings.where, port))
    with failures.noting(record):
        train_run(settings, corpus, record, growth)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _keep_memory() -> None:
    """Reuse freed memory. glibc hands large blocks back to the system, and every step faults them in anew.

    One core, 1 M parameters: 20,000 page faults a step became none, and the step 3-6 % shorter.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of mallopt(3)
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):  # glibc only
        mallopt(mmap_threshold, 2**25)  # bytes; the most it takes
        mallopt(trim_threshold, 2**31 - 1)


def _quiet() -> None:
    """Lightning's advice is for people who write a training script; here it repeats in every run of a sweep."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")  # calls by DeepSpeed
