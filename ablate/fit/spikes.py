"""What is done about a spike that the monitor has found, and what of it is noted.

    skip        step t is left out                                              the run goes on with step t + 1
    rollback    steps from `margin` before the spike's beginning up to t        the run is begun again from the newest
                are added to the run's list (`skips.json`), which is synced     checkpoint before them (`fit.run`)

A step that is left out on the way is as one that the run was told to leave out, so a run that rolls back ends with the
weights of one that was told. The list alone says what is taken back: a run that is killed anywhere reads it again. Its
entries are the rows of the spikes, which the metrics lose where the run begins again.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ablate.fit.monitor import LOOKBACK, Look, Monitor
from ablate.run.monitor import Window, union

Tell = Callable[[str, dict[str, Any]], None]  # kind and row


class Rollback(Exception):
    """The steps of a window are to be left out, some of which were taken: begin again. `row`: the spike's."""

    def __init__(self, row: dict[str, Any]) -> None:
        super().__init__("steps {} to {} are left out".format(*row["window"]))
        self.row = row


class Spikes:
    """Called with every spike. `learns`: of each step whether it was or is to be taken; `tell`: adds a row."""

    def __init__(self, monitor: Monitor, learns: np.ndarray, rows_D: Callable[[int], dict[str, int]], tell: Tell):
        self.monitor, self.learns, self.rows_D, self.tell = monitor, learns, rows_D, tell

    def __call__(self, step: int, look: Look) -> bool:
        """Whether the step is taken all the same. Raises Rollback."""
        by, out = self.monitor.settings, int((~self.learns[:step]).sum())
        acts = not out or out < by.limit * step
        first = max(0, step - min(self.monitor.suspects, LOOKBACK) - by.margin) if by.act == "rollback" else step
        row = {"step": step + 1, "at": step, "action": by.act if acts else "none", "window": [first, step + 1]}
        row |= self.monitor.told(look) | {"rows": self.rows_D(step)}
        if acts and by.act == "rollback":
            raise Rollback(row)
        self.tell("spike", row)
        return not acts


def windows(rows: Sequence[dict[str, Any]]) -> list[Window]:
    """What is left out because of these spikes."""
    return union((first, end) for first, end in (row["window"] for row in rows))
