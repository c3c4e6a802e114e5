"""The chain of runs that a run ends: each began with the final weights of the one before it.

for link in lineage(record):
    link.name        "folder:models/SmolLM2-135M", "a64x2-256-s0-3f9c01ab", ...
    link.changed     {"tokens": (300000, 50000), "mixture.weights@0.qa": (0.25, 1.0)}: from the link before

The record of a parent is looked for under the id that the child noted, and under every other if the weights there
are not the child's: a parent may have been renamed.
"""

from dataclasses import dataclass
from typing import Any

from ablate.run.identity import difference
from ablate.run.record import Record, run_record
from ablate.run.settings import Settings, UserError
from ablate.run.start import Start, parse

TEXT = ("root", "sources", "level", "columns", "counts", "target", "template", "pairs")


@dataclass(frozen=True)
class Link:
    """One phase. `record`: None for a folder of transformers, and for a run whose record is gone.

    `changed`: {key: (value in the phase before, value here)}; empty where there is no record before to compare with.
    """

    name: str
    record: Record | None
    changed: dict[str, tuple[Any, Any]]


def lineage(record: Record, later: frozenset[str] = frozenset()) -> list[Link]:
    """The chain that ends with a run, its first phase first. `later`: ids behind it, none of which can come before."""
    later |= {record.id}
    settings = record.settings()
    start = parse(settings.start)
    if start is None:
        return [Link(record.id, record, {})]
    parent = parent_of(record, start)
    if parent is None or parent.id in later:
        return [Link(start.name, None, {}), Link(record.id, record, {})]
    changed = difference(parent.settings(), settings) | _of_text(parent.settings(), settings)
    return [*lineage(parent, later), Link(record.id, record, {key: v for key, v in changed.items() if key != "start"})]


def _of_text(before: Settings, settings: Settings) -> dict[str, tuple[Any, Any]]:
    """Keys of the text, which a run's id knows by the digest of what they gave."""
    both = ((f"data.{name}", getattr(before.data, name), getattr(settings.data, name)) for name in TEXT)
    return {key: (old, new) for key, old, new in both if old != new}


def parent_of(record: Record, start: Start) -> Record | None:
    """The run that ended with the weights that `record` began with; None if it was no run, or is gone."""
    if start.kind != "run":
        return None
    named = run_record(record.folder.parents[1], start.place)
    if _ended_with(named, start.sha256):
        return named
    others = sorted(path.parent for path in record.folder.parent.glob("*/result.json"))
    return next((other for other in map(Record, others) if _made(other, start.sha256)), None)


def _ended_with(record: Record, weights: str) -> bool:
    return (record.result() or {}).get("weights_sha256") == weights


def _made(record: Record, weights: str) -> bool:
    """Whether a run came to these weights; one that began with them, and left them as they were, did not."""
    try:
        start = parse(record.settings().start)
        return _ended_with(record, weights) and (start is None or start.sha256 != weights)
    except UserError:  # damaged, or of another version: no reason not to find another
        return False
