"""Tokens a second of a run's weights, by the programs that read them: written by `ablate speed`, read by pages.

    outputs/speed/<digest>.json     one for each run's weights, machine, threads, and lengths of prompt and text

    {"run": "a64x4-1024-s0-9d30f6ce", "weights_sha256": "...", "parameters": 1048576,
     "machine": {"processor": "AMD EPYC", "system": "Linux ...", "cores": 2},
     "threads": 1, "prompt": 128, "decode": 64,                  tokens
     "clock": "CPU seconds" | "seconds",                         of one thread the former, which others cannot take
     "sides": [{"runtime": "torch", "type": "fp32", "version": "2.13.0",
                "bytes": 4198912,                                of the weights, as this program reads them
                "own": false,                                    whether it computes with a compressed run's own numbers
                "prompt": [1530.2, ...],                         tokens a second, a number a round
                "decode": [107.5, ...],
                "joules": [0.011, ...] | null}, ...],            a token of the text; null: not measured
     "left_out": [{"runtime": "llama.cpp", "type": "q4_0", "why": "..."}, ...]}

The first side of a runtime has float32: in each round all sides take turns, so round i of one side is compared with
round i of another.
"""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ablate.run import whole

FOLDER = "speed"
RUNTIMES = ("torch", "onnx", "llama.cpp")
WHATS = ("prompt", "decode")


class Ratio(NamedTuple):
    """How many times as quick as float32 in the same program: the median round, and the extremes."""

    median: float
    low: float
    high: float

    @property
    def faster(self) -> bool:
        return self.low > 1


def path(outputs: Path, key: Mapping[str, Any]) -> Path:
    """`key`: all that is asked: weights_sha256, machine, threads, prompt, decode."""
    return outputs / FOLDER / f"{whole.digest(key)[:16]}.json"


def by_weights(outputs: Path) -> dict[str, list[dict[str, Any]]]:
    """All that was measured of each weights_sha256. A damaged file is as good as absent: it is measured again."""
    found: dict[str, list[dict[str, Any]]] = {}
    for one in sorted((outputs / FOLDER).glob("*.json")):
        if (measured := whole.read_if(one, {})).get("sides"):
            found.setdefault(measured["weights_sha256"], []).append(measured)
    return found


def original(found: Mapping[str, Any], runtime: str) -> dict[str, Any]:
    """The side in float32 of a runtime, which others are compared with."""
    return next(side for side in found["sides"] if side["runtime"] == runtime)


def ratio(side: Mapping[str, Any], beside: Mapping[str, Any], what: str) -> Ratio:
    """`what`: prompt or decode."""
    ratios = [ours / theirs for ours, theirs in zip(side[what], beside[what], strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def words(side: Mapping[str, Any], beside: Mapping[str, Any]) -> str:
    """What a type is good for: faster is what was so in every round."""
    prompt, decode = (ratio(side, beside, what).faster for what in WHATS)
    if prompt:
        return "faster" if decode else "faster with prompts alone"
    return "faster at decoding alone" if decode else "smaller, not faster"


def remark(found: Mapping[str, Any], compressed: str) -> str:
    """A line on a compressed run whose numbers no program computes with; empty where one does, or nothing is said."""
    if not compressed or any(side["own"] for side in found["sides"]):
        return ""
    return f"no program here computes with compress.to={compressed}: smaller, not faster"


def joules(side: Mapping[str, Any]) -> float | None:
    """Of a token of the text; None where the machine does not tell."""
    return None if side["joules"] is None else statistics.median(side["joules"])


def medians(side: Mapping[str, Sequence[float]]) -> tuple[float, ...]:
    """Tokens a second, of a prompt and at decoding."""
    return tuple(statistics.median(side[what]) for what in WHATS)
