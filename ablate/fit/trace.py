"""What a run really took in, noted while it trains, so that a contrast is checked on what happened.

    Pretraining.forward <── rows ──┐            rates, read back from the optimizer ──┐
                                   └── held until a row is due ── digests (`plan.digests`) ── metrics, "trace"

Rows are caught where they enter the model, on any device, and looked at when a row of the metrics is due
anyway: nothing is copied in between. Several devices give the same digests as one. Besides the streams
that can be planned there are

    rows           the very tokens, targets and domain of every row, in order
    windows        by domain, the tokens of each part of its endless stream, by their place there, however cut into
                   rows, interleaved with others and skipped where rows grow
    group rates    rate and weight decay of every group        numbers    everything else that a group holds
    evaluated      digest of the last rows evaluated           draws      whether a step drew from torch's generator
    origin         the conditions under which the first step was taken: it comes along in checkpoints
    custody        what wrote weights or moments between two steps, if anything did (`fit.custody`)

`starts.json` has the conditions themselves (`conditions`, `probe`), before the first step of each try, and `end.json`
what the probes say after the last one, in the process that the training has been through.
"""

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from ablate.data.batches import Batch
from ablate.data.tokens import Corpus
from ablate.fit import conditions, probe
from ablate.fit.module import Pretraining
from ablate.fit.probe import Subject
from ablate.plan.digests import START, link, of_rows, of_step
from ablate.plan.order import Order
from ablate.run.identity import canonical
from ablate.run.identity import digest as digest_of
from ablate.run.record import Record
from ablate.run.settings import Settings

SAMPLE = 1024  # numbers of a tensor that are looked at when it is saved and loaded
MARKS = 256  # notes of a domain's windows in a run, at most twice as many
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIXED_TOKENS = 2**14  # looked at together
HELD_TOKENS = 2**22  # until they are looked at, wherever they lie
STREAMS = ("rows", "layout", "interleaving", "rates", "group rates", "shares", "numbers")
# Conditions of the first step that no later try or strategy changes: what `origin` is made of
ORIGIN = ("initial", "constants")


@dataclass
class Windows:
    """One domain's stream in parts of some spans: of each part begun, the tokens read and the sum of their digests.

    A sum, because rows come in any order. A part of which a growing length skips some tokens is never whole, and
    never noted: which those are depends on the mixture.
    """

    parts: dict[str, list[int]] = field(default_factory=dict)

    def read(self, position_R: np.ndarray, tokens_RL: np.ndarray, size: int) -> dict[str, str]:
        """Take in rows of the stream; by their place, the digests of parts of `size` tokens that are whole now."""
        marks = {}
        for position, added in zip(position_R.tolist(), _sums(position_R, tokens_RL), strict=True):
            begin = position // size * size
            key = f"{begin}-{begin + size}"
            count, sum_ = self.parts.pop(key, (0, 0))
            count, sum_ = count + tokens_RL.shape[1], (sum_ + added) % 2**64
            if count == size:
                marks[key] = f"{sum_:016x}"
            else:
                self.parts[key] = [count, sum_]
        return marks


@dataclass
class Step:
    """One step before it is looked at: its micro-batches where they are, and what the optimizer then held."""

    number: int
    rows: list[Batch]
    groups: list[dict[str, Any]]
    share: float

    @property
    def tokens(self) -> int:
        return sum(rows.tokens_BL.numel() for rows in self.rows)


class Trace(L.Callback):
    """Goes between `Watch` and `Saver`: a checkpoint holds the digests of all the steps before it."""

    def __init__(
        self,
        module: Pretraining,
        corpus: Corpus,
        order: Order,
        held_out: Batch,
        record: Record,
        every: int,
        base: Subject | None = None,
    ):
        """`base`: the configuration that the run's study compares it with, if one does."""
        self.module, self.timeline, self.record, self.every = module, order.timeline, record, every
        self.settings, self.held_out, self.order = module.settings, held_out, order
        self.own = Subject(module.settings, held_out, module.bytes_per_token)
        self.base = self.own if base is None or _what(base.settings) == _what(module.settings) else base
        self.conditions = conditions.before_loading(module, corpus, order, held_out)
        self.heads: dict[str, str] = dict.fromkeys(STREAMS, START)
        self.windows = {domain: Windows() for domain in self.settings.data.domains}
        self.origin = ""
        self.drew = False
        self.carried = ""  # digest of weights and optimizer as the checkpoint had them
        self.marks: dict[str, dict[str, str]] = {}
        self.kept: probe.Kept | None = None  # the state before the last step
        self.coming: list[Batch] = []
        self.held: list[Step] = []
        self.evaluated: list[Batch] = []

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not probe.possible(trainer, self.module):
            return
        self.conditions["probe"] = probe.probe(trainer, self.module, self.own)
        own = {"of": digest_of(_what(self.settings))} | self.conditions["probe"]
        self.conditions["twin"] = own if self.base is self.own else self._twin(trainer)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.trainer = trainer
        found = self.conditions | conditions.at_start(self.module, trainer.optimizers[0])
        found["carried"] = {"state": not self.carried or self.carried == self._carried()}
        if trainer.global_step == 0:
            self.origin = origin(found)
        if trainer.is_global_zero:
            self.record.start({"step": trainer.global_step, "origin": origin(found)} | found)
        self.module.register_forward_pre_hook(self._catch)
        if self.settings.where.strategy in ("single", "ddp"):  # else the state is in pieces
            self.module.average.to(self.module.device)  # a checkpoint is read on the CPU
            self.module.custody.begin(self.module, trainer.optimizers[0], trainer.global_step)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.kept is None:
            return
        with suppress(torch.OutOfMemoryError):  # a second model may not fit beside one that is trained
            again = probe.again(trainer, self.module, self.kept, trainer.max_steps - 1)
            self.kept = None
            self.record.end({"twin": self._twin(trainer), "last step": {"done": self.outcome, "again": again}})

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Batch, *_: Any, **__: Any
    ) -> None:
        self.evaluated = []  # callbacks of the user's own may evaluate what they like
        if not self.held:
            self.generator = torch.get_rng_state()
        if trainer.global_step == trainer.max_steps - 1 and probe.possible(trainer, self.module):
            self.kept = probe.kept(trainer, self.module, batch)

    def on_train_batch_end(  # pyrefly: ignore[bad-override]
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        step = trainer.global_step
        planned = float(self.module.timeline.table["average"][step - 1])
        share = planned if self.module.average.mean or not self.module.learnt else 0.0
        groups = [_held(group) for group in trainer.optimizers[0].param_groups]
        self.held.append(Step(step - 1, self.coming or [batch], groups, share))  # a step left out is read, too
        self.coming = []
        if not self.module.learnt:
            self.kept = None  # there is nothing to take once more
        if self.kept:
            self.outcome = probe.outcome(self.module)
        due = step % self.every == 0 or step in self.timeline.evaluations
        if due or sum(one.tokens for one in self.held) > HELD_TOKENS:
            self._digest_held()
        if due:
            self._write(step)

    def score(self) -> None:
        """After the evaluation of a run of no steps."""
        self._write(0)

    def _twin(self, trainer: L.Trainer) -> dict[str, Any]:
        """The base's steps in this process."""
        return {"of": digest_of(_what(self.base.settings))} | probe.probe(trainer, self.module, self.base)

    def state_dict(self) -> dict[str, Any]:
        self._digest_held()
        windows = {domain: asdict(windows) for domain, windows in self.windows.items()}
        rest = {"origin": self.origin, "drew": self.drew, "marks": self.marks}
        return {"heads": self.heads, "windows": windows, "carried": self._carried()} | rest

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.heads = dict(state_dict["heads"])
        self.windows = {domain: Windows(**values) for domain, values in state_dict["windows"].items()}
        self.origin, self.drew, self.carried = (state_dict[name] for name in ("origin", "drew", "carried"))
        self.marks = state_dict["marks"]

    def _catch(self, module: torch.nn.Module, rows: tuple[Any, ...]) -> None:
        """Before every forward pass: the rows of a micro-batch, in training or evaluation."""
        if not isinstance(rows[0], Tensor):  # a whole step, which DDP leads through the module's call
            return
        (self.coming if self.module.model.training else self.evaluated).append(Batch(*rows))

    def _digest_held(self) -> None:
        """Turn the steps held into digests. Every process must come here at the same step."""
        for step in self.held:
            rows = self._gathered(step.rows)
            if self.trainer.is_global_zero:  # who writes the metrics and the checkpoints
                self._link(step, *rows)
        if self.held:
            self.drew |= not torch.equal(self.generator, torch.get_rng_state())
            self.generator = torch.get_rng_state()
        self.held = []

    def _link(self, step: Step, tokens_BL: np.ndarray, targets_BL: np.ndarray, domain_B: np.ndarray) -> None:
        length = tokens_BL.shape[1]
        rates = [(group["lr"], group["weight_decay"]) for group in step.groups]
        layers = [(group["layer"], group["decays"]) for group in step.groups]
        by_layer = sorted({(layer, rate) for (layer, _), (rate, _) in zip(layers, rates, strict=True)})
        parts = of_step(domain_B, length, by_layer, max(decay for _, decay in rates), step.share)
        parts["group rates"] = repr(sorted(zip(layers, rates, strict=True))).encode()
        parts["numbers"] = repr(sorted(repr(conditions.scalars(group)) for group in step.groups)).encode()
        rows = {"rows": link(self.heads["rows"], *of_rows(domain_B, tokens_BL, targets_BL))}
        self.heads |= rows | {name: link(self.heads[name], part) for name, part in parts.items()}
        self._read(self.order.positions(step.number), tokens_BL, domain_B)

    def _read(self, position_B: np.ndarray, tokens_BL: np.ndarray, domain_B: np.ndarray) -> None:
        span = self.settings.data.span
        size = span * 2 ** max(0, int(np.log2(max(1, self.settings.tokens / (span * MARKS)))))
        if len(position_B) != len(domain_B):  # a step of other rows than the plan's, which `layout` tells
            return
        for number, domain in enumerate(self.settings.data.domains):
            mine = domain_B == number
            if marks := self.windows[domain].read(position_B[mine], tokens_BL[mine], size):
                self.marks.setdefault(domain, {}).update(marks)

    def _gathered(self, rows: list[Batch]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The rows of one step in the order of the plan; a device has every `world`-th."""
        tokens_BL, targets_BL, domain_B, _ = (torch.cat(parts).int() for parts in zip(*rows, strict=True))
        if self.trainer.world_size > 1:
            all_three = torch.cat([tokens_BL, targets_BL, domain_B[:, None]], dim=1)
            # pyrefly: ignore[missing-attribute]
            all_three = self.trainer.strategy.all_gather(all_three).transpose(0, 1).flatten(0, 1)
            length = tokens_BL.shape[1]
            tokens_BL, targets_BL, domain_B = all_three[:, :length], all_three[:, length:-1], all_three[:, -1]
        tokens, targets, domain = (part.cpu().contiguous().numpy() for part in (tokens_BL, targets_BL, domain_B))
        return tokens, targets, domain

    def _carried(self) -> str:
        """Digest of a sample of the weights and of what the optimizer keeps; empty where they are in pieces."""
        if self.settings.where.strategy not in ("single", "ddp"):
            return ""
        optimizer, parameters = self.trainer.optimizers[0], list(self.module.model.parameters())
        states = [optimizer.state.get(parameter, {}) for parameter in parameters]
        kept = [values[name] for values in states for name in sorted(values)]
        tensors = [*parameters, *(state for state in kept if isinstance(state, Tensor))]
        return probe.digest([one.detach().flatten()[:: 1 + one.numel() // SAMPLE] for one in tensors])

    def _write(self, step: int) -> None:
        evaluated, self.evaluated = self.evaluated, []
        marks, self.marks = self.marks, {}
        if not self.trainer.is_global_zero:
            return
        row: dict[str, Any] = {"step": step, "origin": self.origin, "draws": self.drew, **self.heads, "windows": marks}
        row["custody"] = self.module.custody.broken
        if evaluated and self.trainer.world_size == 1:
            rows = Batch(*(torch.cat(parts) for parts in zip(*evaluated, strict=True)))
            row["evaluated"] = conditions.by_domain(rows, self.settings.data.domains)
        self.record.append("trace", **row)


def origin(found: dict[str, Any]) -> str:
    """Digest of the conditions that a first step is taken under, of those that move weights."""
    kept = {name: found[name] for name in ORIGIN}
    return hashlib.blake2b(json.dumps(kept, sort_keys=True).encode(), digest_size=8).hexdigest()


def _what(settings: Settings) -> dict[str, Any]:
    return canonical(settings, complete=True)


def _sums(position_R: np.ndarray, tokens_RL: np.ndarray) -> list[int]:
    """Of each row, the sum of 64 bits for every token at its place (the last part of splitmix64, Steele et al. 2014).

    Some rows at a time, and in place, so that the numbers stay in a core's cache: three times as fast.
    """
    within_L = np.arange(tokens_RL.shape[1], dtype=np.uint64) * GOLDEN
    begin_R, rows = position_R.astype(np.uint64) * GOLDEN, max(1, MIXED_TOKENS // max(1, len(within_L)))
    sums: list[int] = []
    for first in range(0, len(begin_R), rows):
        x = begin_R[first : first + rows, None] + within_L
        x += tokens_RL[first : first + rows].astype(np.uint64)
        x ^= x >> np.uint64(30)
        x *= np.uint64(0xBF58476D1CE4E5B9)
        x ^= x >> np.uint64(27)
        x *= np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
        sums += x.sum(axis=1, dtype=np.uint64).tolist()
    return sums


def _held(group: dict[str, Any]) -> dict[str, Any]:
    """A copy of what a group holds besides parameters: the next step may overwrite it."""
    return {name: value for name, value in group.items() if name not in ("params", "splits")}
