"""Numbers by step, kept as the steps at which they change: a launcher holds a thousand long plans at once.

rate      3e-4 3e-4 3e-4 2e-4 1e-4      from 0: 3e-4, from 3: 2e-4, from 4: 1e-4
length    256  256  512  512  512       from 0: 256, from 2: 512
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

HASHED_STEPS = 2**16  # written out at once
Known = dict[bytes, "Segments"]


@dataclass(frozen=True)
class Segments:
    """The bits in `values[i]`, shape (segments, numbers), hold from step `starts[i]` on."""

    starts: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, column: np.ndarray) -> "Segments":
        """Of 64-bit numbers, shape (steps,) or (steps, numbers)."""
        bits = np.ascontiguousarray(column).view(np.int64).reshape(len(column), math.prod(column.shape[1:]))
        changes = np.flatnonzero((bits[1:] != bits[:-1]).any(axis=1)) + 1
        starts = np.concatenate([[0], changes])[: len(column)]
        return cls(starts, bits[starts])

    def at(self, steps: np.ndarray) -> np.ndarray:
        """The bits at these steps, shape (steps, numbers)."""
        return self.values[np.searchsorted(self.starts, steps, side="right") - 1]

    def differs(self, other: "Segments") -> int | None:
        """The first step at which two columns differ, as far as both are known to last; None without one."""
        if self is other or (self.values[:1] != other.values[:1]).any():
            return None if self is other else 0
        steps = np.union1d(self.starts, other.starts)
        differ = (self.at(steps) != other.at(steps)).any(axis=1)
        return int(steps[differ.argmax()]) if differ.any() else None

    def known(self, others: Known) -> "Segments":
        """The one of `others` that is the same, which runs then share; this one is added where there is none."""
        key = hashlib.blake2b(self.starts.tobytes() + self.values.tobytes(), digest_size=16).digest()
        return others.setdefault(key, self)


@dataclass(frozen=True)
class Moves:
    """All that moves the weights at each of `steps` steps, in columns by name."""

    steps: int
    columns: dict[str, Segments]

    def __len__(self) -> int:
        return self.steps

    def rows(self, first: int, last: int) -> np.ndarray:
        """The bits of steps first..last-1, shape (steps, numbers of all columns)."""
        steps = np.arange(first, last)
        return np.concatenate([column.at(steps) for column in self.columns.values()], axis=1)

    def common(self, other: "Moves") -> int:
        """Steps that two runs share; at most all but their last."""
        if self.columns.keys() != other.columns.keys():  # only one has factors by layer
            return 0
        found = [column.differs(other.columns[name]) for name, column in self.columns.items()]
        return min([len(self) - 1, len(other) - 1, *(step for step in found if step is not None)])

    def keys(self, head: str, steps: Iterable[int]) -> dict[int, str]:
        """Names of the states after so many steps, for each of `steps`, of a run that has this head."""
        wanted, hasher, found = sorted(set(steps)), hashlib.sha256(head.encode()), {}
        parts = sorted({0, *wanted, *range(0, max(wanted, default=0), HASHED_STEPS)})
        for first, last in pairwise([0, *parts]):
            hasher.update(self.rows(first, last).tobytes())
            if last in wanted:
                found[last] = hasher.copy().hexdigest()[:16]
        return found

    def sharing(self, known: Known) -> "Moves":
        """The same, with the columns that other runs have too."""
        return Moves(self.steps, {name: column.known(known) for name, column in self.columns.items()})

    def flops(self, per_token: dict[int, int]) -> "Sums":
        """As `Timeline.flops`."""
        length, rows = self.columns["length"], self.columns["rows"]
        starts = np.union1d(length.starts, rows.starts)
        tokens = (rows.at(starts) * length.at(starts))[:, 0] * np.diff([*starts, self.steps])
        cost = np.array([per_token[step] for step in length.at(starts)[:, 0].tolist()], dtype=np.float64)
        return Sums(np.append(starts, self.steps), np.concatenate([[0.0], np.cumsum(cost * tokens)]))


@dataclass(frozen=True)
class Sums:
    """Sums before each step and at the end, which grow evenly between some of the steps."""

    steps: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return int(self.steps[-1]) + 1

    def __getitem__(self, step: int) -> float:
        return float(np.interp(step if step >= 0 else step + len(self), self.steps, self.values))
