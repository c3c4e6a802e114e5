"""What models answered to tasks, as tables: a row a task, protocol and step, a column a reading."""

from collections.abc import Mapping, Sequence
from itertools import chain

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ablate.page.tables import lines, table
from ablate.scores import readings
from ablate.scores.answers import Answers
from ablate.scores.items import Row
from ablate.scores.readings import READINGS, Unreadable
from ablate.verdict import progress as curves
from ablate.verdict import protocols
from ablate.verdict.evidence import Evidence, tokens_text
from ablate.verdict.progress import Point
from ablate.verdict.protocols import Compared, Flip

AT_CHANCE, SELECTED = "at chance", "^"
CHOSEN = "selected: the best of several checkpoints by the very test it is reported for, looks better than it is"


def answered(found: Mapping[str, Sequence[Answers]], confidence: float = 0.95) -> Table:
    """By what the rows are called; answers of several runs to one task, protocol and step are one row: their mean.

    What stands in the training text of one of them is left out for all: rows are of the same items.
    """
    several = len(found) > 1
    numbers = [f">{name}" for name in ("items", *READINGS, "chance")]
    out = table(*["arm"] * several, "task", *numbers)
    left_out: dict[str, set[str]] = {}
    for one in chain(*found.values()):
        left_out.setdefault(one.header["task"], set()).update(one.header["contaminated"])
    for name, all_of_it in found.items():
        for (task, protocol, step), group in _groups(all_of_it).items():
            runs = [one.clean(left_out[task]) for one in group]
            asked = lines(task, f"{protocol}, step {step}")
            count = lines(str(len(runs[0])), *[f"{len(left_out[task])} in text"] * bool(left_out[task]))
            cells = [cell(runs, reading, confidence) for reading in READINGS]
            out.add_row(*[name] * several, asked, count, *cells, chance(runs[0]))
    better = ", ".join(f"{name} {reading.better}" for name, reading in READINGS.items())
    out.caption = f"± half an interval of {confidence:.0%} over the sources of items; better is: {better}"
    return out


def _groups(found: Sequence[Answers]) -> dict[tuple[str, str, int], list[Answers]]:
    groups: dict[tuple[str, str, int], list[Answers]] = {}
    for one in found:
        key = (one.header["task"], one.header["protocol"], one.header["step"])
        groups.setdefault(key, []).append(one)
    return groups


def cell(runs: Sequence[Sequence[Row]], reading: str, confidence: float = 0.95) -> Text:
    """`0.312 ±0.061`, with a word where guessing gives as much; a dash where the answers do not hold it."""
    try:
        value, (low, high) = readings.pooled(runs, reading, confidence)
    except Unreadable:
        return Text("–")
    guess = readings.chance(runs[0], reading)
    word = [AT_CHANCE] * (guess is not None and low <= guess <= high)
    return lines(f"{value:.3f}", f"±{(high - low) / 2:.3f}", *word)


def chance(rows: Sequence[Row]) -> str:
    guess = readings.chance(rows, "acc") if rows else None
    return "–" if guess is None else f"{guess:.3f}"


WIDE = 4  # tasks beside one another


def progress(evidence: Evidence) -> Group:
    """Checkpoint by task, reading by reading, and what the protocols make of the same items."""
    parts: list[RenderableType] = []
    for reading in READINGS:
        points = curves.progress(evidence, reading)
        names = list(dict.fromkeys((point.task, point.protocol) for point in points))
        parts += [_checkpoints(points, names[i : i + WIDE], reading) for i in range(0, len(names), WIDE)]
    if any(point.selected for reading in READINGS for point in curves.progress(evidence, reading)):
        parts.append(Text(f"{SELECTED} {CHOSEN}"))
    for task in evidence.scope.tasks:
        parts += [_protocols(found) for reading in READINGS if (found := protocols.compared(evidence, task, reading))]
    return Group(*(each for part in parts for each in (part, Text())))


def _checkpoints(points: Sequence[Point], names: Sequence[tuple[str, str]], reading: str) -> Table:
    """A row an arm and checkpoint; above all what guessing gives."""
    called = [f"{task} {protocol}" for task, protocol in names]
    out = table("arm", ">tokens", *called, title=f"{reading}, {READINGS[reading].unit}")
    at = {(point.arm, point.step, point.task, point.protocol): point for point in points}
    guesses = {(point.task, point.protocol): point.chance for point in points}
    if any(guess is not None for guess in guesses.values()):
        shown = [guesses.get(name) for name in names]
        out.add_row("chance", "", *("–" if guess is None else f"{guess:.3f}" for guess in shown), style="dim")
    for arm, step, tokens in dict.fromkeys((point.arm, point.step, point.tokens) for point in points):
        cells = [at.get((arm, step, *name)) for name in names]
        out.add_row(Text(arm, style="bold"), tokens_text(tokens), *(_point(one) if one else "–" for one in cells))
    return out


def _point(point: Point) -> Text:
    mark = f" {SELECTED}" if point.selected else ""
    low, high = point.interval
    found = Text(f"{point.value:.3f}{mark}", style="dim" if point.at_chance else "")
    return found.append(f" [{low:.3f}, {high:.3f}]{f' {AT_CHANCE}' if point.at_chance else ''}", style="dim")


def _protocols(found: Compared) -> Group:
    """Values by arm and protocol, and how likely the order of two arms turns with the protocol."""
    title = Text(f"{found.task}, {found.reading} by protocol, {found.items} items", style="italic")
    out = table("arm", *(f">{protocol}" for protocol in found.values))
    for arm in next(iter(found.values.values())):
        out.add_row(Text(arm, style="bold"), *(f"{of_arm[arm]:.3f}" for of_arm in found.values.values()))
    # lines of their own: a title or caption folds at the width of the table, which is narrow
    return Group(title, out, *(Text(_flip(flip)) for flip in found.flips))


def _flip(flip: Flip) -> str:
    first, second = flip.arms
    turns = "turns" if flip.turned else "does not turn"
    (a, b), (p, q) = flip.differences, flip.protocols
    of = f"{second} minus {first} is {a:+.3f} under {p} and {b:+.3f} under {q}"
    return f"{of}: the order {turns}; of all such items it would with probability {flip.probability:.2f}"
