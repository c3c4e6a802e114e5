"""Timelines as what is drawn of them."""

import numpy as np

from ablate.page.drawing import picture
from ablate.plan.timeline import Timeline
from ablate.run.settings import Settings

DRAWN_STEPS = 4000  # of a run


def stride(several: list[Settings]) -> int:
    """Of these runs every so many-th step is drawn: a picture has no more points."""
    return -(-max(settings.steps for settings in several) // DRAWN_STEPS)


def track(line: Timeline, stride: int) -> picture.Track:
    """Of the steps that are drawn, those at which rows or mixture change among them."""
    changes = [np.flatnonzero(np.diff(line.table[name])) + 1 for name in ("length", "rows", "stage")]
    steps = np.unique(np.concatenate([np.arange(0, len(line), stride), *changes]))
    table = line.table[steps]
    return picture.Track(
        tokens=line.tokens[[*steps, len(line)]],
        rate=table["lr"],
        length=table["length"],
        batch=table["rows"] * table["length"],
        shares=line.weights[table["stage"]],
        stages=line.tokens[changes[2]],
    )
