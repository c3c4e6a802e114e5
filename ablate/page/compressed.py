"""Weights that became smaller, as tables in a terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from ablate.page.tables import lines, table
from ablate.verdict import compression
from ablate.verdict.passages import Passages

CONFIDENCE = 0.95
SHOWN = 6  # domains with a column
THIS_MODEL = """bits per byte lost, ± half an interval of 95 % over {rows} held-out rows; bits a weight of the \
compressed matrices, with scales. The interval is about this model only and not about the recipe: other models may \
lose more or less, and a study asks several (compress_sweep). The weights are smaller; nothing here is faster by it."""


@dataclass(frozen=True)
class Smaller:
    """One recipe on one model: what it is called, and what the run noted."""

    name: str
    result: Mapping[str, Any]
    damages: Mapping[str, Passages | None]


def damages(found: Sequence[Smaller], bytes_before: int, parent: str) -> Table:
    """A row a recipe: bits, bytes, and damage by domain."""
    every = list(found[0].damages)
    shown = every[: 1 + SHOWN]
    out = table("recipe", ">on disk", *(f">{name}" for name in shown), title=f"{parent}: what it loses")
    out.add_row("as it was", lines(_megabytes(bytes_before), "32 bits"), *("" for _ in shown))
    for one in found:
        told = one.result["compressed"]
        share = f"{told['file_bytes'] / bytes_before:.0%}"
        size = lines(_megabytes(told["file_bytes"]), f"{told['bits']:.2f} bits", share)
        cells = [_damage(one.damages[name]) for name in shown]
        out.add_row(Text(one.name, style="bold"), size, *cells)
    rows = next((damage.rows for damage in found[0].damages.values() if damage), 0)
    more = f" Domains without a column: {', '.join(every[1 + SHOWN :])}." if len(every) > len(shown) else ""
    out.caption = THIS_MODEL.format(rows=rows) + more
    return out


def _damage(found: Passages | None) -> Text:
    if found is None:
        return Text("–")
    low, high = found.interval(CONFIDENCE)
    decided = "red" if low > 0 else "green" if high < 0 else ""
    return lines(f"{found.mean:+.4f}", f"±{(high - low) / 2:.4f}", style=decided)


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.3f} MB"


def kept(found: Sequence[Smaller]) -> list[str]:
    """A line for each reason why matrices stayed as they were, with the recipes that it holds of."""
    reasons: dict[str, list[str]] = {}
    for one in found:
        by_reason: dict[str, list[str]] = {}
        for matrix, why in compression.kept(one.result).items():
            by_reason.setdefault(why, []).append(matrix)
        for why, matrices in by_reason.items():
            reasons.setdefault(f"{_named(matrices)}: {why}", []).append(one.name)
    by = {text: "" if len(names) == len(found) else f" by {_named(names)}" for text, names in reasons.items()}
    return [f"kept in bfloat16{by[text]}: {text}" for text in reasons]


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
