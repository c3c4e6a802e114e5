"""What a run tells while it trains: rows for the record, a line or a bar for people, alarms.

Rows are written at most LOG_ROWS times a run, so that watching costs nothing measurable. What was
planned is compared with what happened: the rates in the optimizer, the tokens read of each domain and how many of
them count must be those of the plan, and the loss must hold every target that counts once, or the run stops.
"""

import time
from collections.abc import Sequence
from typing import Any

import lightning as L
import numpy as np
import torch
from torch.distributed.tensor import DTensor

from ablate.data.batches import Batch
from ablate.data.windows import Stream, counted
from ablate.fit import mirror
from ablate.fit import optimizer as optimizers
from ablate.fit.module import Diverged, Pretraining
from ablate.fit.preferred import measured
from ablate.fit.samples import Samples
from ablate.model import budget
from ablate.model.language import layer_of
from ablate.plan.order import Order
from ablate.run.monitor import Monitor, windows_of
from ablate.run.progress import Progress
from ablate.run.record import Record
from ablate.run.settings import Settings
from ablate.run.trunks import Trunk
from ablate.scores import metrics
from ablate.scores.loss import implausible

LOG_ROWS = 200
BEAT_SECONDS = 1.0


class Watch(L.Callback):
    """Writes rows to the record (and the loggers), evaluates when due, and stops a run that went wrong."""

    def __init__(
        self,
        settings: Settings,
        order: Order,
        held_out: Batch,
        record: Record,
        start: Trunk | None = None,
        taken_back: Sequence[dict[str, Any]] = (),
    ):
        """`taken_back`: rows of the spikes because of which the run has begun again."""
        self.settings, self.order, self.held_out, self.record, self.start = settings, order, held_out, record, start
        self.taken_back = taken_back
        self.samples: Samples | None = None
        self.marked: Sequence[Stream] = ()  # the streams that are read, where not all of their tokens count
        self.reference: dict[str, Any] = {}  # where the start was asked what it thinks of pairs (`fit.reference`)
        self.grown_from: dict[str, Any] | None = None
        self.timeline = order.timeline
        self.every = max(1, len(self.timeline) // LOG_ROWS)
        self.budget = budget.of(settings)
        self.flops = self.timeline.flops(self.budget.training_flops).tolist()
        self.evaluation: dict[str, Any] = {}
        self.validation: dict[str, Any] = {}
        self.learns = self.timeline.table["learns"].copy()  # of each step, as it is planned and then as it was
        self.seconds = 0.0  # training alone, without evaluations
        self.last_step = 0
        self.beaten = 0.0
        self.progress = Progress(len(self.timeline), settings.where.progress, "step")
        self.smoothed = Smoothed(len(order.domains), max(1.0, len(self.timeline) / 10))
        self.metric = metrics.metric_of(settings.study.metric, settings.data.domains)
        self.scope = metrics.Scope(settings.data.domains, settings.data.focus)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        dtype = torch.float32 if self.settings.precision == "fp32" else torch.bfloat16
        peak = self.settings.where.peak_tflops * 1e12 or budget.peak_flops(pl_module.device, dtype)
        self.peak = peak * trainer.world_size
        self.last_step = trainer.global_step
        assert isinstance(pl_module, Pretraining)
        pl_module.guard.late = True  # `look` below
        if self.start:
            self._grow(trainer, self.start)
        self._tell_spikes(trainer)
        self.read_D3 = torch.zeros(len(self.order.domains), 3, dtype=torch.int64, device=pl_module.device)
        self.progress.shown &= trainer.is_global_zero
        self.progress.start()
        if self.settings.objective == "answers" and not self.marked:
            self.progress.tell("objective=answers: of this text all tokens count, as with next_token")
        self.clock = time.perf_counter()

    # pyrefly: ignore[bad-override]
    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        assert isinstance(pl_module, Pretraining)
        step = trainer.global_step
        self._beat()
        self.learns[step - 1] = pl_module.learnt
        counted_B = pl_module.objective.counted(batch)
        whole_B = torch.full_like(counted_B, batch.targets_BL.shape[1])
        learnt_B = counted_B * pl_module.learnt
        self.read_D3.index_add_(0, batch.domain_B, torch.stack([whole_B, counted_B, learnt_B], dim=1))
        due = step in self.timeline.evaluations
        if not due and step % self.every:
            return
        pl_module.look()
        self._log_training(trainer, pl_module, step)
        if due:
            self.score(trainer, pl_module)
        self.clock = time.perf_counter()

    def score(self, trainer: L.Trainer, module: Pretraining) -> None:
        """An evaluation, after the steps that were taken."""
        step = trainer.global_step
        self.evaluation = self._evaluate(trainer, module, step)
        if self.samples:
            texts = self.samples.texts(trainer, module, self._beat)
            tokens = int(self.timeline.tokens[step])
            self._write(trainer, "sample", {"step": step, "tokens": tokens, "texts": texts})

    def _tell_spikes(self, trainer: L.Trainer) -> None:
        """Rows that were cut off where the run begins again."""
        there = {row["at"] for row in self.record.rows("spike")} if self.taken_back else set()
        for row in self.taken_back:
            if row["at"] not in there:
                self.tell(trainer, "spike", row)
                first, end = row["window"]
                self.progress.tell(f"a spike at step {row['at']}: steps {first} to {end - 1} are left out")

    def tell(self, trainer: L.Trainer, kind: str, row: dict[str, Any]) -> None:
        """A row that is due now."""
        self._write(trainer, kind, row | {"tokens": int(self.timeline.tokens[row["step"]])})

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self.progress.stop()

    def state_dict(self) -> dict[str, Any]:
        left_out = windows_of(np.flatnonzero(~self.learns).tolist())
        return {"seconds": self.seconds, "grown_from": self.grown_from, "left_out": left_out}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seconds, self.grown_from = state_dict["seconds"], state_dict.get("grown_from")
        for first, end in state_dict.get("left_out", []):
            self.learns[first:end] = False

    def cost(self, step: int) -> dict[str, float]:
        """FLOPs and seconds of the steps so far, whoever took them."""
        return {"flops": self.flops[step], "seconds": self.seconds}

    def summary(self) -> dict[str, Any]:
        """The numbers of the result: how far, at what cost, how good, and what was read."""
        step = self.last_step
        tokens, read = int(self.timeline.tokens[step]), self.order.domain_tokens(step)
        weights = self.timeline.weights[self.timeline.table["stage"]] if step else self.timeline.weights[:1]
        asked_D = np.average(weights, axis=0, weights=np.diff(self.timeline.tokens) if step else None).tolist()
        return {
            "step": step,
            "tokens": tokens,
            "flops": self.flops[step],
            "seconds": self.seconds,
            "grown_from": self.grown_from,  # {trunk, run, step, flops, seconds}: taken over, not spent here
            "tokens_per_second": tokens / self.seconds if self.seconds else None,
            "parameters": self.budget.parameters,
            "state_bytes": self.budget.state_bytes,
            **({"sums": self.evaluation["sums"], "validation": self.validation} if self.evaluation else {}),
            **({"pairs": self.evaluation["pairs"]} if "pairs" in self.evaluation else {}),
            **({"reference": self.reference} if self.reference else {}),
            **({"skipped": self._left_out(step)} if self.settings.monitor != Monitor() else {}),
            "mixture": {
                "asked": dict(zip(self.order.domains, asked_D, strict=True)),
                "realised": {domain: count / max(tokens, 1) for domain, count in read.items()},
            },
        }

    def _left_out(self, step: int) -> dict[str, Any]:
        """What of the steps so far was read and not learnt from."""
        windows = windows_of(np.flatnonzero(~self.learns[:step]).tolist())
        of_domains = sum((self.order.read(*window) for window in windows), np.zeros(len(self.order.domains), int))
        return {
            "steps": sum(end - first for first, end in windows),
            "tokens": int(of_domains.sum()),
            "domains": dict(zip(self.order.domains, of_domains.tolist(), strict=True)),
            "windows": windows,
        }

    def _grow(self, trainer: L.Trainer, trunk: Trunk) -> None:
        """Take over the rows of the steps that another run has taken."""
        self.grown_from = {"trunk": trunk.key} | trunk.read()
        if trainer.is_global_zero:
            trunk.grow(self.record)
        for kind in mirror.KINDS if trainer.loggers else ():
            for row in self.record.rows(kind):
                self._mirror(trainer, kind, {name: value for name, value in row.items() if name != "kind"})

    def _log_training(self, trainer: L.Trainer, module: Pretraining, step: int) -> None:
        seconds = time.perf_counter() - self.clock
        self.seconds += seconds
        nats_D, tokens_D, bytes_D = module.take_sums().cpu().unbind(1)
        self._compare(trainer, step, tokens_D.tolist())
        per_second = float(self.timeline.tokens[step] - self.timeline.tokens[self.last_step]) / seconds
        row = {
            "step": step,
            "tokens": int(self.timeline.tokens[step]),
            **_means(module, float(nats_D.sum()), float(tokens_D.sum())),
            "lr": float(self.timeline.table["lr"][step - 1]),
            "weight_decay": float(self.timeline.table["weight_decay"][step - 1]),
            "length": int(self.timeline.table["length"][step - 1]),
            # of a step that was left out none; that of the step before is not known after a resume
            **({"grad_norm": float(module.grad_norm)} if module.learnt else {}),
            "tokens_per_second": per_second,
            "mfu": (self.flops[step] - self.flops[self.last_step]) / seconds / self.peak,
            "domain_tokens": self.order.domain_tokens(step),
        }
        if not self.learns[:step].all():
            row["left_out"] = self._left_out(step)["tokens"]
        if self.marked:
            what = "counted_pairs" if module.objective.paired else "counted_tokens"
            row[what] = dict(zip(self.order.domains, map(int, tokens_D.tolist()), strict=True))
        if self.settings.where.gradient_norms:
            row["gradient_norms"] = self._gradient_norms(module)
        self.smoothed.add(nats_D.numpy(), tokens_D.numpy(), step - self.last_step)
        self.last_step = step
        self._write(trainer, "train", row)
        weights_D = self.timeline.weights[self.timeline.table["stage"][step - 1]]
        loss = self.smoothed.loss(weights_D)
        said = "no target has counted" if loss is None else f"loss {loss:.3f} {module.objective.unit}"
        self.progress.at(step, f"{said} over {self.smoothed.covered} steps  {per_second:,.0f} tokens/s")
        size = 0.0 if self.marked else float(bytes_D.sum())  # an answer may be as good as certain, a text never
        if why := implausible(float(nats_D.sum()), float(tokens_D.sum()), size):
            raise Diverged(f"step {step}: {why}")

    def _gradient_norms(self, module: Pretraining) -> dict[str, float]:
        """By layer: the gradients of the last step, which the next one clears, as they were before clipping."""
        depth, norms = module.model.size.depth, {}
        names = ["embedding", *(f"block {layer}" for layer in range(depth)), "end"]
        by_layer: dict[str, list[torch.Tensor]] = {name: [] for name in names}
        for name, parameter in module.model.named_parameters():
            if parameter.grad is not None:
                by_layer[names[layer_of(name, depth)]].append(parameter.grad)
        clip = self.settings.optimizer.clip or float("inf")
        clipped = min(1.0, clip / (float(module.grad_norm) + 1e-6))  # as torch does
        for name, gradients in by_layer.items():
            norm = torch.nn.utils.get_total_norm(gradients)
            norms[name] = float(norm.full_tensor() if isinstance(norm, DTensor) else norm) / clipped
        return norms

    def _compare(self, trainer: L.Trainer, step: int, tokens_D: list[float]) -> None:
        """The plan against what happened since the last row."""
        row, factors = self.timeline.table[step - 1], self.timeline.layer_factors[step - 1]
        for group in trainer.optimizers[0].param_groups:
            realised, planned = (group["lr"], group["weight_decay"]), optimizers.planned(group, row, factors)
            if realised != planned:
                raise RuntimeError(
                    f"step {step}: rate and weight decay of layer {group['layer']} were {realised}, planned {planned}"
                )
        now, before = self.order.domain_tokens(step), self.order.domain_tokens(self.last_step)
        read_D3 = trainer.strategy.reduce(self.read_D3.clone(), reduce_op="sum").tolist()
        self.read_D3.zero_()
        marked = self._planned_counts(step)
        for domain, (read, told, learnt), summed in zip(self.order.domains, read_D3, tokens_D, strict=True):
            if read != (planned := now[domain] - before[domain]):
                raise RuntimeError(f"step {step}: {read} tokens of {domain} were read, planned {planned}")
            if marked and told != marked[domain]:
                raise RuntimeError(f"step {step}: {told} tokens of {domain} count, planned {marked[domain]}")
            if summed != learnt:
                raise RuntimeError(f"step {step}: {summed:.0f} targets of {domain} are in the loss, learnt {learnt}")

    def _planned_counts(self, step: int) -> dict[str, int]:
        """Of each domain the targets that count since the last row; nothing where all do."""
        if not self.marked:
            return {}
        rows = [self.order.step(t) for t in range(self.last_step, step)]
        if self.settings.data.pairs:
            found = np.concatenate([one.domain_R for one in rows])
            return {domain: int((found == number).sum()) for number, domain in enumerate(self.order.domains)}
        sums = sum(counted(self.marked, one.domain_R, one.start_R, one.length) for one in rows)
        return dict(zip(self.order.domains, np.asarray(sums).tolist(), strict=True))

    def _evaluate(self, trainer: L.Trainer, module: Pretraining, step: int) -> dict[str, Any]:
        sums_D3, rows_R3 = module.evaluate(self.held_out, self._beat)
        sums = sums_by_domain(sums_D3.cpu(), self.settings.data.domains)
        self.validation = losses_by_row(rows_R3.cpu(), self.settings)
        row = {"step": step, "tokens": int(self.timeline.tokens[step]), "flops": self.flops[step], "sums": sums}
        if self.settings.data.pairs:
            row["pairs"] = measured(rows_R3.cpu(), self.held_out, self.settings)
        self._write(trainer, "evaluation", row)
        if (value := self.metric.value(row, self.scope)) is not None:
            what = f"held-out {self.metric.name} {value:.4f} {self.metric.unit}"
            self.progress.tell(f"step {step}/{len(self.timeline)}  {what}")
        return row

    def _beat(self) -> None:
        """Show others that the run goes on, at most once in BEAT_SECONDS."""
        if (now := time.monotonic()) - self.beaten > BEAT_SECONDS:
            self.beaten = now
            self.record.beat()

    def _write(self, trainer: L.Trainer, kind: str, row: dict[str, Any]) -> None:
        if trainer.is_global_zero:
            self.record.append(kind, **row)
        self._mirror(trainer, kind, row)

    def _mirror(self, trainer: L.Trainer, kind: str, row: dict[str, Any]) -> None:
        for logger in trainer.loggers:
            logger.log_metrics(mirror.logged(kind, row, self.scope))


class Smoothed:
    """The training loss over about the last `horizon` steps: of each domain the ratio of two exponential means, nats
    and targets, which needs no correction for its beginning. Domains weigh as the mixture asks, so that a step
    whose rows are all of a hard domain does not look like divergence."""

    def __init__(self, num_domains: int, horizon: float):
        self.horizon, self.steps = horizon, 0
        self.means_2D = np.zeros((2, num_domains))

    def add(self, nats_D: np.ndarray, tokens_D: np.ndarray, steps: int) -> None:
        """Sums of some further steps."""
        self.steps += steps
        self.means_2D = self.means_2D * np.exp(-steps / self.horizon) + np.stack([nats_D, tokens_D])

    def loss(self, weights_D: np.ndarray) -> float | None:
        """None while no target of a domain that the mixture asks for has counted."""
        nats_D, tokens_D = self.means_2D[:, seen := (self.means_2D[1] > 0) & (weights_D > 0)]
        return float(np.average(nats_D / tokens_D, weights=weights_D[seen])) if seen.any() else None

    @property
    def covered(self) -> int:
        """Steps that the loss is mostly of."""
        return round(min(self.steps, self.horizon))


def _means(module: Pretraining, nats: float, counted: float) -> dict[str, float]:
    """What falls, for each target that counts; nothing where none did."""
    totals, name = {"nats": nats}, module.objective.falls
    if name != "nats":
        totals[name] = module.take_fallen()
    return {name: total / counted for name, total in totals.items()} if counted else {}


def sums_by_domain(sums_D3: torch.Tensor, domains: Sequence[str]) -> dict[str, dict[str, float]]:
    """{domain: {"nats", "tokens", "bytes"}} of the held-out text."""
    named = zip(domains, sums_D3.tolist(), strict=True)
    return {domain: {"nats": nats, "tokens": int(tokens), "bytes": int(size)} for domain, (nats, tokens, size) in named}


def losses_by_row(rows_R3: torch.Tensor, settings: Settings) -> dict[str, dict[str, list[float]]]:
    """{domain: {"nats": of each of its validation rows, "bytes": likewise}}, rows in the order of the text."""
    parts = rows_R3.view(len(settings.data.domains), -1, rows_R3.shape[1]).unbind(0)
    named = zip(settings.data.domains, parts, strict=True)
    return {domain: {"nats": part[:, 0].tolist(), "bytes": part[:, 2].tolist()} for domain, part in named}
