"""Weights that became smaller, as tables in a terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from ablate.compress.forms import FORMATS, TERNARY
from ablate.page.tables import COLOURS, lines, table
from ablate.verdict import compression
from ablate.verdict.compare import bounds
from ablate.verdict.passages import Passages

CONFIDENCE = 0.95
SHOWN = 6  # domains with a column
MOST, DEEPEST = 8, 60  # bits of the deepest colour, and how deep that is, in percent
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


@dataclass(frozen=True)
class Cell:
    text: str
    depth: int  # of the colour, in percent


@dataclass(frozen=True)
class Heat:
    """Forms of the matrices: a row a layer, a column a matrix of it."""

    columns: list[str]
    rows: dict[str, dict[str, Cell]]


def heat(forms: Mapping[str, Sequence[str]]) -> Heat:
    """Of each matrix, by name, its form in every seed."""
    rows: dict[str, dict[str, Cell]] = {}
    for name, by_seed in forms.items():
        layer, matrix = _place(name)
        different = list(dict.fromkeys(by_seed))
        bits = sum(FORMATS[form].bits if form in FORMATS else TERNARY.bits for form in by_seed) / len(by_seed)
        text = different[0] if len(different) == 1 else " / ".join(by_seed)
        rows.setdefault(layer, {})[matrix] = Cell(text, round(min(bits, MOST) / MOST * DEEPEST))
    return Heat(list(dict.fromkeys(name for cells in rows.values() for name in cells)), rows)


def _place(name: str) -> tuple[str, str]:
    """blocks.0.feed.down -> block 0, feed.down"""
    first, *rest = name.split(".")
    return (f"block {rest[0]}", ".".join(rest[1:])) if first == "blocks" else (name, name)


def heats(found: Mapping[str, Mapping[str, Sequence[str]]]) -> list[Table]:
    """The same in a terminal, of each arm or recipe whose matrices have several forms."""
    tables = []
    for name, forms in found.items():
        if not forms:
            continue
        shown = heat(forms)
        out = table("layer", *shown.columns, title=f"forms of {name}, by matrix")
        for layer, cells in shown.rows.items():
            out.add_row(layer, *(cells[column].text if column in cells else "–" for column in shown.columns))
        tables.append(out)
    return tables


def arms(found: Sequence[compression.Smaller]) -> Table:
    """Of a study: what each arm loses, with the interval of its verdict, and its bytes."""
    out = table("smaller", ">lost", "verdict", ">on disk", ">bits", "speed")
    best = {one.arm for one in compression.frontier(found)}
    for one in found:
        name = lines(one.arm, *(["on the frontier"] if one.arm in best else []), style="bold")
        lost, word = Text("–"), Text("")
        if v := one.verdict:
            ends = bounds(one.interval) if len(v.differences) > 1 else "1 seed"
            lost, word = lines(f"{one.damage:+.4f}", ends), Text(v.word, style=COLOURS[v.word])
        size = lines(_megabytes(one.bytes), f"{one.share:.0%}")
        quick = lines(*_words(one)) if one.speeds else lines("not measured", *["smaller, not faster"] * (one.share < 1))
        out.add_row(name, lost, word, size, f"{one.bits:.2f}", quick)
    out.caption = "forms are simulated by products in float32: a smaller file is not faster unless that was measured"
    return out


def _words(one: compression.Smaller) -> list[str]:
    return [f"{speed.runtime}: {speed.words}" for speed in one.speeds if speed.words] or ["float32"]


def rates(found: Sequence[compression.Smaller]) -> list[Table]:
    """Tokens a second of a prompt and at decoding, by program; nothing where none were measured."""
    runtimes = list(dict.fromkeys(speed.runtime for one in found for speed in one.speeds))
    if not runtimes:
        return []
    out = table("tokens a second", *(f">{name}" for name in runtimes))
    for one in found:
        by = {speed.runtime: speed for speed in one.speeds}
        cells = [_rate(by[name]) if name in by else Text("–", justify="right") for name in runtimes]
        out.add_row(Text(one.arm, style="bold"), *cells)
    none = all(speed.joules is None for one in found for speed in one.speeds)
    out.caption = "a prompt / decoding, of programs that compute with the arm's own numbers; joules a token: "
    out.caption += "not measured" if none else "on the page"
    return [out]


def _rate(speed: compression.Speed) -> Text:
    return Text(f"{speed.prompt:,.0f} / {speed.decode:,.0f}")


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
