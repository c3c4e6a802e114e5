"""What a run takes, in words: memory by device and strategy, time, and money."""

import dataclasses
from collections.abc import Iterable

from ablate.fit import pace
from ablate.model import budget
from ablate.run.settings import Settings
from ablate.run.where import Where

STRATEGIES = ("ddp", "zero1", "zero2", "zero3", "fsdp")


def memory_text(settings: Settings) -> str:
    found, where = budget.of(settings), settings.where
    cut = budget.in_pieces(where.strategy, found.in_parts)
    named = ", ".join(name for name in cut if getattr(found.memory, name))
    parts = f" ({named} in {budget.pieces(where)} parts: {where.strategy})" if named else ""
    return f"{found.memory.total / 2**30:.3g} GiB a device{parts}"


def by_strategy(settings: Settings) -> list[str]:
    """What a device would hold under each strategy that divides a run among its devices."""
    where = settings.where
    if where.devices * where.nodes == 1:
        return []
    others = (dataclasses.replace(settings, where=dataclasses.replace(where, strategy=one)) for one in STRATEGIES)
    held = {one.where.strategy: budget.of(one).memory.total / 2**30 for one in others}
    return [", ".join(f"{name} {size:.3g}" for name, size in held.items()) + " GiB"]


def is_large(settings: Settings) -> bool:
    return budget.of(settings).parameters >= pace.LARGE


def largest(several: Iterable[Settings]) -> Settings:
    return max(several, key=lambda settings: budget.of(settings).parameters)


def price(where: Where, seconds: float) -> str:
    """What so many seconds of all devices of a run cost, if their price is known."""
    cost = seconds / 3600 * where.devices * where.nodes * where.price
    return f", {cost:,.2f} at {where.price:g} each" if where.price else ""


def duration(seconds: float) -> str:
    """4000 -> 1.1 hours"""
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.2g} seconds"
