"""What can be read from the answers to a task: each reading is a sum over items over another sum over items.

    bpb        bits of the gold answer over its bytes                                   lower is better
    acc        items whose least nats are at the gold choice, or whose generated answer is right, over items
    acc_norm   the same by nats per byte
    gap        nats per byte of the best wrong choice minus those of the gold one, in bits, over items

Where k choices tie for the least, the gold one among them, 1 / k of the item is right: a model that says nothing
of the choices is at chance. Items that stand in the training text are left out.

    error of a ratio r = sum x / sum w, over C sources, each with sums x_c and w_c (linearised; Miller 2024, arXiv
    2411.00640, on clusters):    C / (C - 1)  sum_c (x_c - r w_c)^2 / (sum w)^2
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ablate.scores.items import Row

Better = Literal["lower", "higher"]
Interval = tuple[float, float]


class Unreadable(ValueError):
    """The answers do not hold a reading: no choices to compare, say."""


@dataclass(frozen=True)
class Reading:
    unit: str
    better: Better
    parts: Callable[[Row], tuple[float, float]]  # of one item: x and w
    has_chance: bool = False  # whether guessing gives a number that is known


def _bpb(row: Row) -> tuple[float, float]:
    gold = 0 if "text" in row else row["gold"]
    return row["nats"][gold] / math.log(2), row["bytes"][gold]


def _acc(row: Row) -> tuple[float, float]:
    return (float(row["right"]) if "right" in row else _right(row, row["nats"])), 1.0


def _acc_norm(row: Row) -> tuple[float, float]:
    return _right(row, _per_byte(row)), 1.0


def _gap(row: Row) -> tuple[float, float]:
    by_byte = _per_byte(row)
    gold = by_byte.pop(row["gold"])
    return (min(_several(by_byte, 1)) - gold) / math.log(2), 1.0


def _right(row: Row, values: list[float]) -> float:
    least = min(_several(values, 2))
    return 0.0 if values[row["gold"]] > least else 1 / values.count(least)


def _per_byte(row: Row) -> list[float]:
    if "text" in row:
        raise Unreadable("a generated answer has no choices beside it")
    return [nats / max(size, 1) for nats, size in zip(row["nats"], row["bytes"], strict=True)]


def _several(values: list[float], least: int) -> list[float]:
    if len(values) < least:
        raise Unreadable("its items have no wrong choices")
    return values


READINGS = {
    "bpb": Reading("bits per byte", "lower", _bpb),
    "acc": Reading("share of items", "higher", _acc, has_chance=True),
    "acc_norm": Reading("share of items", "higher", _acc_norm, has_chance=True),
    "gap": Reading("bits per byte", "higher", _gap),
}


BITS = "bpb"  # the reading that all answers hold


def value(rows: Sequence[Row], reading: str) -> float:
    """Of items. Raises Unreadable where they do not hold the reading, or there is none."""
    x, w = parts(rows, reading)
    return float(x.sum() / w.sum())


def chance(rows: Sequence[Row], reading: str) -> float | None:
    """What guessing gives; None where that is not known."""
    if not READINGS[reading].has_chance or "right" in rows[0]:
        return None
    return float(np.mean([1 / len(row["nats"]) for row in rows]))


def interval(rows: Sequence[Row], reading: str, confidence: float = 0.95) -> Interval:
    """Of the value, over the choice of items; infinite with fewer than two sources."""
    return pooled([rows], reading, confidence)[1]


def pooled(runs: Sequence[Sequence[Row]], reading: str, confidence: float = 0.95) -> tuple[float, Interval]:
    """Of the same items asked of several runs: the mean over runs, and its interval over the choice of items."""
    x, w = np.mean([parts(rows, reading) for rows in runs], axis=0)
    value, found = float(x.sum() / w.sum()), ratio_error(x, w, [row["source"] for row in runs[0]])
    return value, (of_share if READINGS[reading].has_chance else around)(value, *found, confidence)


def parts(rows: Sequence[Row], reading: str) -> np.ndarray:
    """x and w of each item, shape (2, items). Raises Unreadable."""
    if not rows:
        raise Unreadable("no item is left")
    try:
        found = np.array([READINGS[reading].parts(row) for row in rows]).T
    except KeyError as error:
        raise Unreadable(f"its answers have no {error}") from None
    if found[1].sum() <= 0:
        raise Unreadable("its answers have no bytes")
    return found


def ratio_error(x: np.ndarray, w: np.ndarray, sources: Sequence[str]) -> tuple[float, float]:
    """The standard error of sum x / sum w, and its degrees of freedom: items of one source are one."""
    _, which = np.unique(np.asarray(sources), return_inverse=True)
    clusters = int(which.max()) + 1
    if clusters < 2:
        return math.inf, 1.0
    left = np.bincount(which, x - x.sum() / w.sum() * w)
    return math.sqrt(clusters / (clusters - 1) * float((left**2).sum())) / float(w.sum()), clusters - 1.0


def of_share(share: float, error: float, df: float, confidence: float = 0.95) -> Interval:
    """Wilson's interval, of as many independent items as would have that error; where there is none, as sources.

    A share of 0 or 1 has no spread to be read off, and is not known exactly. (Dean and Pagano 2015, on clusters.)
    """
    if not math.isfinite(error):
        return around(share, error, df, confidence)
    from scipy.special import stdtrit  # as in `around`

    items = share * (1 - share) / error**2 if error else df + 1
    z2 = float(stdtrit(df, (1 + confidence) / 2)) ** 2 / items
    centre, half = (share + z2 / 2) / (1 + z2), math.sqrt(z2 * share * (1 - share) + z2**2 / 4) / (1 + z2)
    return centre - half, centre + half


def around(mean: float, error: float, df: float, confidence: float = 0.95) -> Interval:
    from scipy.special import stdtrit  # slow to import, and settings are checked without it

    half = float(stdtrit(df, (1 + confidence) / 2)) * error
    return mean - half, mean + half
