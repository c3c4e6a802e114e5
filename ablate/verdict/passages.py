"""How much of a difference hangs on which text was held out: its error over passages of the validation text.

Every run is evaluated on the same rows, so a difference that many seeds repeat may still be that of these rows.
Tokens of a row are about the same document and err together: the row is what is counted (Miller 2024, arXiv
2411.00640, clusters by document; a row of `data.span` tokens is one document or several neighbours, never fewer than
it could be). Seeds are averaged first. In a domain with rows r of b_r bytes, the difference is a ratio

    D = sum_r x_r / sum_r b_r,   x_r: bits of the arm minus bits of the base
    error^2 = R / (R - 1)  sum_r (x_r - D b_r)^2 / (sum_r b_r)^2               (linearised ratio)

The macro average adds domains up, micro pools their rows. This error is about another question than that of the
seeds (would other text say the same?), and stands beside it: never added to it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from ablate.verdict.evidence import Evidence
from ablate.verdict.statistics.paired import Interval

Rows = dict[str, dict[str, list[float]]]  # domain -> nats, bytes of each row


@dataclass(frozen=True)
class Passages:
    """The error of a difference, in bits per byte, over the choice of validation text."""

    mean: float
    error: float
    df: float  # of the error, by Satterthwaite
    rows: int

    def interval(self, confidence: float) -> Interval:
        half = float(stdtrit(self.df, (1 + confidence) / 2)) * self.error
        return (self.mean - half, self.mean + half)


def passages(evidence: Evidence, arm: str) -> Passages | None:
    """Of an arm in the study's metric; None where that is not bits per byte, or the runs kept no rows, too few, or
    other ones than the base."""
    ours, base = _rows(evidence, arm), _rows(evidence, evidence.base)
    pairs = [(ours[seed], base[seed]) for seed in ours if seed in base]
    groups = evidence.metric.groups(evidence.scope) if evidence.metric.groups else []
    terms = [(sign / len(pairs), rows) for pair in pairs for sign, rows in zip((1, -1), pair, strict=True)]
    return of_rows(terms, groups) if pairs else None


def of_rows(terms: Sequence[tuple[float, Rows]], groups: Sequence[Sequence[str]]) -> Passages | None:
    """Of a weighted sum of runs, in the mean over groups of domains; None as of `passages`."""
    domains = [domain for group in groups for domain in group]
    known = [{domain: rows.get(domain, {}).get("bytes") for domain in domains} for _, rows in terms]
    if not groups or any(sizes != known[0] or None in sizes.values() for sizes in known):
        return None
    bits = {d: sum(weight * np.array(rows[d]["nats"]) for weight, rows in terms) / math.log(2) for d in domains}
    parts = [
        (np.concatenate([bits[d] for d in group]), np.concatenate([np.array(known[0][d]) for d in group]))
        for group in groups
    ]
    return _together(parts) if all(len(x) > 1 for x, _ in parts) else None


def _rows(evidence: Evidence, arm: str) -> dict[int, Rows]:
    """Of the last evaluation, by seed; empty of runs that have not kept them."""
    return {seed: run.result.get("validation", {}) for seed, run in evidence.finished(arm).items()}


def _together(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> Passages:
    means, variances, degrees = (np.array(values) for values in zip(*(_ratio(x, b) for x, b in parts), strict=True))
    total, squares = variances.sum(), (variances**2 / degrees).sum()
    df = total**2 / squares if squares and len(parts) > 1 else degrees.sum()
    return Passages(float(means.mean()), math.sqrt(total) / len(parts), float(df), sum(len(x) for x, _ in parts))


def _ratio(x: np.ndarray, size: np.ndarray) -> tuple[float, float, float]:
    """A ratio of sums over rows, its variance, and the degrees of freedom of that."""
    ratio, rows = x.sum() / size.sum(), len(x)
    variance = rows / (rows - 1) * ((x - ratio * size) ** 2).sum() / size.sum() ** 2
    return float(ratio), float(variance), rows - 1
