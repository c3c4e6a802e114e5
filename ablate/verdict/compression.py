"""What weights that became smaller cost: damage, and bytes.

    damages(child, parent, domains)     {"macro": Passages, "code": Passages, ...} of two results
    smaller(evidence, verdicts)         a row an arm of a study that compares forms, the base first
    frontier(rows)                      those that no smaller one is as good as

The interval of `damages` is over rows of held-out text: it is about this model only. What a recipe costs is asked of
several models, by a study whose seeds are models: that interval is the verdict's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

from ablate.run import speeds
from ablate.run.compress import NONE, Compress
from ablate.run.identity import flatten
from ablate.verdict.compare import Verdict
from ablate.verdict.evidence import Evidence, Run
from ablate.verdict.passages import Passages, of_rows

Measured = Mapping[str, list[dict[str, Any]]]  # weights_sha256 -> what `ablate speed` found
FLOAT32 = 4  # bytes of a parameter, as runs save them


def damages(child: Mapping[str, Any], parent: Mapping[str, Any], domains: Sequence[str]) -> dict[str, Passages | None]:
    """By domain, after their mean `macro`: bits per byte that were lost; None of too few rows, or of others."""
    terms = [(1.0, child.get("validation", {})), (-1.0, parent.get("validation", {}))]
    groups = {"macro": [[domain] for domain in domains]} | {domain: [[domain]] for domain in domains}
    return {name: of_rows(terms, group) for name, group in groups.items()}


def kept(result: Mapping[str, Any]) -> dict[str, str]:
    """Of a compressed run: {matrix: why it was not compressed}."""
    return flatten(result["compressed"].get("kept", {}))  # a lab book cuts names at their dots


def forms(result: Mapping[str, Any]) -> dict[str, str]:
    """Of a run whose matrices have several forms: {matrix: form}; empty of any other."""
    return flatten(result.get("compressed", {}).get("forms", {}))


class Speed(NamedTuple):
    """Of a program that computes with the arm's own numbers, or of the base in float32 (`ablate speed`)."""

    runtime: str
    prompt: float  # tokens a second
    decode: float
    joules: float | None  # a token of the text; None: not measured
    words: str  # faster, or smaller, not faster


@dataclass(frozen=True)
class Smaller:
    """An arm: means over its seeds. `verdict`: None of the base, and of an arm that is the base."""

    arm: str
    recipe: str
    bytes: float  # on disk
    bits: float  # a weight of the compressed matrices, with scales
    share: float  # of the base's bytes
    verdict: Verdict | None
    forms: dict[str, list[str]]  # matrix -> its form in each seed; empty where all matrices have one
    speeds: list[Speed]  # empty: not measured

    @property
    def damage(self) -> float:
        """In the unit of the metric; above 0 it is worse."""
        return self.verdict.metric.sign * self.verdict.effect.mean if self.verdict else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Of the damage, over seeds."""
        if self.verdict is None:
            return (0.0, 0.0)
        low, high = sorted(self.verdict.metric.sign * end for end in self.verdict.effect.interval)
        return (low, high)


def smaller(evidence: Evidence, verdicts: Sequence[Verdict]) -> list[Smaller]:
    """Of arms that have finished, the base first; empty unless weights became smaller in some of them."""
    known = {verdict.arm: verdict for verdict in verdicts if verdict.differences}
    runs = {arm: list(evidence.finished(arm).values()) for arm in [evidence.base, *known]}
    if not any("compressed" in run.result for found in runs.values() for run in found) or not runs[evidence.base]:
        return []
    base = fmean(map(_bytes, runs[evidence.base]))
    measured = speeds.by_weights(runs[evidence.base][0].record.folder.parents[1])
    return [_smaller(arm, found, known.get(arm), base, measured) for arm, found in runs.items()]


def _smaller(arm: str, runs: Sequence[Run], verdict: Verdict | None, base: float, measured: Measured) -> Smaller:
    size = fmean(map(_bytes, runs))
    bits = fmean(run.result["compressed"]["bits"] if "compressed" in run.result else 8 * FLOAT32 for run in runs)
    by_seed = [forms(run.result) for run in runs]
    mixed = {name: [one.get(name, "") for one in by_seed] for name in by_seed[0]}
    return Smaller(arm, _recipe(runs[0]), size, bits, size / base, verdict, mixed, _speeds(runs, measured))


def _speeds(runs: Sequence[Run], measured: Measured) -> list[Speed]:
    """One of each program, by the smallest type that holds the arm's numbers: seeds are equally quick."""
    found: dict[str, tuple[int, Speed]] = {}
    for run in runs:
        compressed = "compressed" in run.result
        for one in measured.get(run.result.get("weights_sha256", ""), []):
            for side in one["sides"]:
                name, beside = side["runtime"], speeds.original(one, side["runtime"])
                own = side["own"] if compressed else side is beside
                if own and (name not in found or side["bytes"] < found[name][0]):
                    words = speeds.words(side, beside) if compressed else ""
                    prompt, decode = speeds.medians(side)
                    found[name] = (side["bytes"], Speed(name, prompt, decode, speeds.joules(side), words))
    return [speed for _, speed in found.values()]


def _bytes(run: Run) -> float:
    compressed = run.result.get("compressed")
    return compressed["file_bytes"] if compressed else FLOAT32 * run.result["parameters"]


def _recipe(run: Run) -> str:
    if not run.record.configured:
        return ""
    return recipe(run.record.settings().compress)


def recipe(asked: Compress) -> str:
    """In words: what is not as usual."""
    usual = Compress()
    if asked.to == NONE:
        return "float32"
    words = [f"{asked.bits:g} bits on average" if asked.bits else asked.to, asked.method]
    words += [f"groups of {asked.group}" if asked.group else "a scale a row"] if asked.group != usual.group else []
    words += [] if asked.symmetric else ["with zeros"]
    words += [f"keeps {', '.join(asked.keep) or 'nothing'}"] if asked.keep != usual.keep else []
    return ", ".join(words)


def frontier(found: Sequence[Smaller]) -> list[Smaller]:
    """Those that no arm as small loses as little as, the smallest first."""
    best: list[Smaller] = []
    for one in sorted(found, key=lambda one: (one.bytes, one.damage)):
        if not best or one.damage < best[-1].damage:
            best.append(one)
    return best
