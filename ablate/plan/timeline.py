"""The whole training as one table, a row a step, before the first step is taken.

    step  rate     weight decay  length  rows  stage  average  learns
    0     0.00025  0.1           256     16    0      0        yes
    ...
    72    0.0003   0.1           1024    4     1      0.5      yes

The module sets its rates from it, the data its batches, the preview its picture; what happens is
asserted against it. Two runs whose static parts and first n rows are equal are the same run for n
steps: `key(n)` names that beginning.
"""

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ablate.plan import average, length, lerac, mixture, schedule, trouble
from ablate.plan.segments import Moves, Segments
from ablate.run.fields import Mark, marked
from ablate.run.identity import SEMANTICS, canonical, digest, without
from ablate.run.monitor import Window, windows
from ablate.run.settings import Settings

# `average`: the share of the step's weights in their running average, 0 while there is none; `learns`: whether the
# step is taken, or left out as the run was told (`monitor.skip`)
ROW = np.dtype(
    [
        *(("lr", "f8"), ("weight_decay", "f8"), ("length", "i8"), ("rows", "i8"), ("stage", "i8"), ("average", "f8")),
        ("learns", "?"),
    ]
)
LEFT_OUT = -1.0  # in place of the share in `moves`
# What the table says itself, or what moves no weight; `head` puts back what of it holds for every step
NOT_STATIC = marked(Settings, Mark.PLANNED)


@dataclass(frozen=True)
class Timeline:
    """`table`: ROW, shape (steps,); `weights`: (stages, domains); `evaluations`: steps done when one is due."""

    settings: Settings
    table: np.ndarray
    weights: np.ndarray
    evaluations: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def tokens(self) -> np.ndarray:
        """Tokens read before each step and at the end, shape (steps + 1,)."""
        return np.concatenate([[0], np.cumsum(self.table["rows"] * self.table["length"])])

    @cached_property
    def first_row(self) -> np.ndarray:
        """Number of the first row of each step, and of the one after the last, shape (steps + 1,)."""
        return np.concatenate([[0], np.cumsum(self.table["rows"])])

    @cached_property
    def layer_factors(self) -> np.ndarray:
        """Factors of the rate by layer, shape (steps, depth + 2): embedding, blocks, final norm and untied head."""
        return lerac.factors(self.settings.optimizer.lerac, self.settings.size.depth + 2, len(self))

    def flops(self, per_token: dict[int, int]) -> np.ndarray:
        """Training FLOPs before each step and at the end, shape (steps + 1,); `per_token`: by row length."""
        lengths, which = np.unique(self.table["length"], return_inverse=True)
        cost = np.array([per_token[int(length)] for length in lengths], dtype=np.float64)[which]
        return np.concatenate([[0.0], np.cumsum(cost * np.diff(self.tokens))])

    def head(self, fingerprint: str) -> str:
        """Digest of what holds for every step: all that moves the weights, and the rows that losses are measured on."""
        static = without(canonical(self.settings), NOT_STATIC)
        if not static.get("monitor", True):  # it said nothing but what to leave out, which the steps say
            del static["monitor"]
        static["block"], static["spans"] = self.settings.mixture.block, self.settings.evaluation.spans
        if self.settings.evaluation.part:  # left out where it is 0, as before there were parts
            static["part"] = self.settings.evaluation.part
        if self.settings.mixture.to_come:  # its rows are not known, and so it shares none
            static["adapt"] = self.settings.mixture.adapt
        return digest([static, fingerprint, SEMANTICS], 64)

    @cached_property
    def moves(self) -> Moves:
        """All that moves the weights at each step."""
        columns = {name: self.table[name] for name in ROW.names or () if name not in ("stage", "average", "learns")}
        columns["average"] = np.where(self.table["learns"], self.table["average"], LEFT_OUT)
        stages = Segments.of(self.table["stage"])
        shares = Segments(stages.starts, self.weights[stages.values[:, 0]].view(np.int64))
        factors = {"factors": Segments.of(self.layer_factors)} if self.has_curriculum else {}
        kept = {name: Segments.of(column) for name, column in columns.items()}
        return Moves(len(self), kept | {"shares": shares} | factors)

    def key(self, steps: int, fingerprint: str) -> str:
        """Name of the first `steps` steps: equal keys mean equal weights after them."""
        return self.moves.keys(self.head(fingerprint), [steps])[steps]

    @property
    def has_curriculum(self) -> bool:
        return self.settings.optimizer.lerac.lowest < 1


def timeline(settings: Settings) -> Timeline:
    """The table of a run. One without steps is scored once, as it begins."""
    total = settings.steps
    table = np.zeros(total, dtype=ROW)
    if not total:
        return Timeline(settings, table, mixture.stage_weights(settings), (0,))
    table["lr"] = schedule.rates(settings.schedule, settings.optimizer.lr, total) * trouble.factors(settings)
    table["weight_decay"] = schedule.weight_decays(settings.schedule, settings.optimizer.weight_decay, total)
    table["length"] = length.row_lengths(settings.length, total)
    table["rows"] = length.row_counts(settings.length, settings.step_tokens, total) * length.multiples(settings)
    table["stage"] = mixture.stage_of(settings)
    table["average"] = average.shares(settings.averaging, total)
    table["learns"] = True
    for first, end in windows(settings.monitor.skip):
        table["learns"][first:end] = False
    return Timeline(settings, table, mixture.stage_weights(settings), _evaluations(settings))


def leaving_out(plan: Timeline, more: list[Window]) -> Timeline:
    """The same run, which leaves out some steps more."""
    table = plan.table.copy()
    for first, end in more:
        table["learns"][first:end] = False
    return dataclasses.replace(plan, table=table)


def _evaluations(settings: Settings) -> tuple[int, ...]:
    times = min(settings.evaluation.times, settings.steps)
    return tuple(sorted({round(settings.steps * (i + 1) / times) for i in range(times)}))
