"""Do the saved weights give what was reported? Asked of every finished run of a study.

`fit.saved` scores the weights of all runs once more, in one process, and notes beside each run what it found. A run
must have reported the same: tokens and bytes of each domain, and of each passage, to the last one, nats to rounding. So
an edited record, other weights, or a scorer that went wrong while a run trained voids the verdict. A run that was
not scored again is not known to be right: that is said, and why. `ablate report STUDY --rescore` scores all again.
"""

import math
from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from ablate.run.identity import flatten
from ablate.run.record import Record
from ablate.verdict.evidence import Evidence, Run
from ablate.verdict.validity.finding import Finding

CHECK = "scores"
# Ends of names of numbers in nats
ROUNDED = ("nats", "chosen", "rejected", "_start")
WIDEST = 1e-3  # of the bounds that `fit.saved` notes: whoever edits one may not open it further


def findings(evidence: Evidence) -> list[Finding]:
    """A finding for every run that reports other numbers than its weights give; how many were asked, why no more."""
    runs = finished(evidence)
    found = [Finding(CHECK, _whose(evidence, run), False, wrong) for run in runs if (wrong := _wrong(run))]
    records = {run.record.id: run.record for run in runs}.values()
    open_ = Counter(why for record in records if (why := _unscored(record)))
    if known := len(records) - open_.total():
        text = f"{known} runs were scored once more from their saved weights, in one process"
        found.append(Finding(CHECK, "", True, text if found else f"{text}, and reported the same"))
    for why, count in open_.items():
        found.append(Finding(CHECK, "", True, f"{count} runs were not scored once more from their weights: {why}"))
    return list(dict.fromkeys(found))


def finished(evidence: Evidence) -> list[Run]:
    """The runs that reported numbers, controls among them."""
    of_arms = [run for runs in evidence.by_arm.values() for run in runs.values()]
    return [run for run in (*of_arms, *evidence.controls) if run.outcome == "finished" and "sums" in run.result]


def _unscored(record: Record) -> str:
    """Why a run was not scored once more; empty for one that was."""
    again = record.rescored()
    if "weights_sha256" in again:
        return ""
    if "why" in again:
        return f"it was not possible: {again['why']}"
    return "nobody has asked; ablate report does" if record.weights.exists() else "no weights are kept"


def _whose(evidence: Evidence, run: Run) -> str:
    return run.arm if run.arm in evidence.by_arm else ""  # a control speaks for the whole study


def _wrong(run: Run) -> str:
    """The first number that a run reports and its weights do not give; empty for a run that was not scored again."""
    again, name = {} if _unscored(run.record) else run.record.rescored(), f"seed {run.seed}"
    if again and again["weights_sha256"] != run.result["weights_sha256"]:
        return f"{name}: the saved weights are not those that the run ended with, by their sha256"
    last = next((row for row in reversed(run.evaluations) if row["step"] == run.result["step"]), None)
    if last and last.get("sums") != run.result["sums"]:
        return f"{name}: the last evaluation and the result report other sums"
    for key, ours, theirs in _pairs(run.result, again) if again else ():
        bound = min(again.get("bound", 0.0), WIDEST) if key.endswith(ROUNDED) else 0
        # absolute too: a passage that is known by heart has none
        if ours is None or theirs is None or not math.isclose(ours, theirs, rel_tol=bound, abs_tol=bound):
            return f"{name}: {key} is reported as {_text(ours)}, and the saved weights give {_text(theirs)}"
    return ""


def _pairs(result: dict[str, Any], again: dict[str, Any]) -> Iterator[tuple[str, float | None, float | None]]:
    """(what, as reported, from the weights): of each domain, then of each passage; None where one side has none."""
    for group, what in (("sums", ""), ("validation", " of passage {}"), ("pairs", " of pairs")):
        reported, given = flatten(result.get(group, {}), "\n"), flatten(again.get(group, {}), "\n")
        for key in given | reported:
            ours, theirs = (_listed(found.get(key)) for found in (reported, given))
            domain, number = key.split("\n")
            for place, (a, b) in enumerate(zip_longest(ours, theirs)):
                yield f"{domain}{what.format(place)} {number}", a, b


def _listed(value: Any) -> list[float]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _text(value: float | None) -> str:
    return "nothing" if value is None else f"{value:,.8g}"
