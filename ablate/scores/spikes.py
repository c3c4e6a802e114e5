"""How often training jumped: spikes that a monitor noted, and the spike score of OLMo 2 (arXiv 2501.00656).

    spike score    the share of steps whose value lies at least 7 standard deviations above the mean of the 1000 before
    of the loss    nats of a step over its counted targets, all domains together
    of the norm    the norm of the step's gradient, before it is clipped

Only steps that were learnt from have a value: those left out are neither judged nor compared with. A step is judged
once 64 of them lie before it, and compared with those there are while they are fewer than 1000. The standard deviation
is that of the same steps, n in its denominator.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ablate.run.monitor import windows_of
from ablate.run.record import Record

WINDOW, LEAST, DEVIATIONS = 1000, 64, 7.0


def told(record: Record, monitored: bool) -> dict[str, Any]:
    """What `result.json` says of it: sums, as of all else. monitored: whether somebody looked for spikes."""
    rows = record.rows("steps")
    nats, counted, norms = (
        np.array([value for row in rows for value in row[name]], dtype=np.float64)
        for name in ("nats", "counted", "grad_norm")
    )
    there = counted > 0
    of = {"loss": nats[there] / counted[there], "grad_norm": norms[np.isfinite(norms)]}
    scores = {name: dict(zip(("above", "judged"), above(values), strict=True)) for name, values in of.items()}
    return {"spike_score": scores} | ({"spikes": jumps(record.rows("spike"))} if monitored else {})


def jumps(rows: Sequence[dict[str, Any]]) -> int:
    """Spikes that were noted: those of steps one after the other are one, as of weights that a bad rate has spoilt."""
    return len(windows_of(row["at"] for row in rows))


def above(values: np.ndarray) -> tuple[int, int]:
    """(steps that lie so far above those before, steps judged)."""
    found = 0
    for step in range(LEAST, len(values)):
        before = values[max(0, step - WINDOW) : step]
        rise = values[step] - before.mean()
        found += bool(rise > 0 and rise >= DEVIATIONS * before.std())
    return found, max(0, len(values) - LEAST)
