"""What the controls of a study show: whether it repeats itself, sees what is there, and how far equal runs lie apart.

    null       the base a second time, alone, without trunks    every bit the same, or the study is void
    A/A        the base under further seeds                     their spread; nothing can fail
    positive   an arm whose effect is known in sign             found; missed; or the other way round: void

A run that does not repeat has a difference from itself, of unknown size, that no seed averages away: then no
difference in the study is known to be its arm's. A positive control that is missed voids nothing, for what was found
was found all the same. It says that `inconclusive` means little here: an effect that is there was not seen either.
One that comes out the wrong way round, beyond its noise, says that something is mistaken for something else.

The positive control is judged as strictly as the first arm of the family (`paired`, Holm), though it is no part of it.
"""

import json
import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from scipy.special import stdtrit

from ablate.run.fields import declared
from ablate.run.identity import flatten
from ablate.run.where import Where
from ablate.verdict.evidence import AA, NULL, POSITIVE, Evidence, Run
from ablate.verdict.statistics.paired import Interval, Word, better_or_worse, interval
from ablate.verdict.validity.finding import Finding

DIGITS = 12  # of a digest that are shown
# What the bits of a run may depend on besides what it is
ENVIRONMENT = ("commit", "diff", "processor", "device", "packages", "cuda", "kernels", "variables")
WHERE = [key for key, one in declared(Where).items() if one.moves]


def findings(evidence: Evidence) -> list[Finding]:
    """Of every control declared; a study without any is said to have none."""
    if not evidence.controls:
        text = "none were declared: that runs repeat to the bit, and that a known effect is found, was not shown"
        return [Finding("controls", "", True, text)]
    return [*_null(evidence), *_further(evidence), *_positive(evidence)]


def _null(evidence: Evidence) -> list[Finding]:
    first = evidence.by_arm[evidence.base]
    return [_repeated(evidence.base, first[seed], again) for seed, again in evidence.control(NULL).items()]


def _repeated(base: str, first: Run, again: Run) -> Finding:
    name = f"`{base}` of seed {first.seed}"
    for run, which in ((first, "the first time"), (again, "a second time")):
        if not run.done:
            why = f"{run.outcome}: {run.reason}" if run.reason else run.outcome
            return Finding(NULL, "", True, f"{name} has not been trained {which} ({why}): not known to repeat")
    if differs := first_difference(first, again):
        return Finding(NULL, "", False, f"{name}, trained twice, is not the same: {differs}{_reasons(first, again)}")
    grown = first.result.get("grown_from")
    trunk = f" The first had grown from a trunk of {grown['step']} steps, the second had not." if grown else ""
    digest = first.result["weights_sha256"][:DIGITS]
    rows = len(first.evaluations)
    text = f"{name}, trained twice, is the same to the bit: weights {digest}, {rows} evaluations.{trunk}"
    return Finding(NULL, "", True, text)


def first_difference(first: Run, again: Run) -> str:
    """Where two runs of one id part, in words: an evaluation, the outcome, the final weights; empty if nowhere."""
    for a, b in zip_longest(first.evaluations, again.evaluations):
        if not (a and b):
            return f"one has no evaluation after step {(a or b)['step']}"
        if part := _part(a, b):
            return f"evaluation after step {a['step']}, {part}"
    if first.outcome != again.outcome:
        return f"one {first.outcome}, the other {again.outcome}"
    digests = [run.result.get("weights_sha256") for run in (first, again)]
    if None in digests or digests[0] != digests[1]:
        return "final weights {}, {}, though no evaluation shows it".format(*(str(d)[:DIGITS] for d in digests))
    return ""


def _part(a: dict[str, Any], b: dict[str, Any]) -> str:
    """The first number that two evaluations hold and that differs; as text, by which nan equals nan."""
    flat_a, flat_b = ({name: json.dumps(value) for name, value in flatten(row, " ").items()} for row in (a, b))
    # a record from before sums were kept holds other numbers; the weights' digest is compared all the same
    name = next((name for name in flat_a if name in flat_b and flat_a[name] != flat_b[name]), None)
    return f"{name}: {flat_a[name]} and {flat_b[name]}" if name else ""


def _reasons(first: Run, again: Run) -> str:
    """What both records have, and differently: it may be why."""
    a, b = _circumstances(first), _circumstances(again)
    changed = [f"{key} {a[key]}, {b[key]}" for key in a if key in b and a[key] != b[key]]
    return f" ({'; '.join(changed)})" if changed else ""


def _circumstances(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = {}
    environment = run.record.environment()
    for key in ENVIRONMENT:
        value = environment.get(key, {})
        found |= value if isinstance(value, dict) else {key: value}
    if run.record.configured:
        where = run.record.settings().where
        found |= {f"where.{key}": getattr(where, key) for key in WHERE}
    return found


def _further(evidence: Evidence) -> list[Finding]:
    """The spread of the base over all its seeds, and whether the further ones lie elsewhere than the first."""
    metric = evidence.metric.name
    further = [evidence.final(run, metric) for run in evidence.control(AA).values() if run.outcome == "finished"]
    first = list(evidence.finals(evidence.base, metric).values())
    if not further or not first or len(further) + len(first) < 3:
        return []
    low, high = _two_samples(further, first, 1 - evidence.declaration["confidence"])
    text = (
        f"`{evidence.base}` under {len(first)} + {len(further)} seeds: standard deviation "
        f"{np.std([*first, *further], ddof=1):.4f} {evidence.metric.unit}; the further less the first "
        f"{np.mean(further) - np.mean(first):+.4f} [{low:+.4f}, {high:+.4f}], and 0 is true"
    )
    return [Finding(AA, "", True, text)]


def _two_samples(a: Sequence[float], b: Sequence[float], level: float) -> Interval:
    """Of mean(a) - mean(b), unpaired, one variance for both (Student)."""
    df = len(a) + len(b) - 2
    variance = sum(float(np.var(one)) * len(one) for one in (a, b)) / df
    half = float(stdtrit(df, 1 - level / 2)) * math.sqrt(variance * (1 / len(a) + 1 / len(b)))
    mean = float(np.mean(a) - np.mean(b))
    return (mean - half, mean + half)


def positive(evidence: Evidence) -> tuple[list[float], Interval, Word]:
    """Differences of the positive control from the base by seed, their interval, and the word that it gives."""
    metric, runs = evidence.metric, evidence.control(POSITIVE).items()
    base, ours = evidence.finals(evidence.base, metric.name), {s: run for s, run in runs if run.outcome == "finished"}
    d = [evidence.final(run, metric.name) - base[seed] for seed, run in ours.items() if seed in base]
    low, high = interval(d, (1 - evidence.declaration["confidence"]) / max(1, len(evidence.arms)))
    return d, (low, high), "inconclusive" if low <= 0 <= high else better_or_worse(metric.sign * low)


def found(evidence: Evidence) -> bool | None:
    """Whether the positive control was found; None without two pairs of it."""
    differences, _, word = positive(evidence)
    return None if len(differences) < 2 else word == evidence.declaration["controls"]["expected"]


def _positive(evidence: Evidence) -> list[Finding]:
    runs = evidence.control(POSITIVE)
    if not runs:
        return []
    what, expected = evidence.factor(POSITIVE), evidence.declaration["controls"]["expected"]
    d, (low, high), word = positive(evidence)
    if len(d) < 2:
        rule = "it is trained last, where an arm is not found to differ"
        return [Finding(POSITIVE, "", True, f"{what}, which is {expected}: {len(d)} of {len(runs)} seeds done; {rule}")]
    size = f"{np.mean(d):+.4f} {evidence.metric.unit} [{low:+.4f}, {high:+.4f}] over {len(d)} seeds"
    if word == "inconclusive":
        weak = "this study is too weak to see it, and what is inconclusive here may be as large"
        return [Finding(POSITIVE, "", True, f"{what}, known to be {expected}, was not found: {size}; {weak}")]
    how = "was found" if word == expected else f"came out {word}"
    return [Finding(POSITIVE, "", word == expected, f"{what}, known to be {expected}, {how}: {size}")]
