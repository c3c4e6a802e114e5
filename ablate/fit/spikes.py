"""What is done about a spike that the monitor has found, and what of it is noted.

    skip        step t is left out                                              the run goes on with step t + 1
    rollback    steps from `margin` before the spike's beginning up to t        the run is begun again from the newest
                are added to the run's list (`skips.json`), which is synced     checkpoint before them (`fit.run`)

A step that is left out on the way is as one that the run was told to leave out, so a run that rolls back ends with the
weights of one that was told. The list alone says what is left out: a run that is killed anywhere reads it again.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ablate.fit.monitor import Look, Monitor
from ablate.run.monitor import Window, union
from ablate.run.record import Record

Tell = Callable[[str, dict[str, Any]], None]  # kind and row


class Rollback(Exception):
    """The steps of a window are to be left out, some of which were taken: begin again before them."""

    def __init__(self, window: Window) -> None:
        super().__init__(f"steps {window[0]} to {window[1] - 1} are left out")
        self.window = window


class Spikes:
    """Called with every spike. `learns`: of each step whether it was or is to be taken; `tell`: adds a row."""

    def __init__(self, monitor: Monitor, learns: np.ndarray, rows_D: Callable[[int], dict[str, int]], tell: Tell):
        self.monitor, self.learns, self.rows_D, self.tell = monitor, learns, rows_D, tell

    def __call__(self, step: int, look: Look) -> bool:
        """Whether the step is taken all the same. Raises Rollback."""
        by, out = self.monitor.settings, int((~self.learns[:step]).sum())
        acts = not out or out < by.limit * step
        first = max(0, step - self.monitor.suspects - by.margin) if by.act == "rollback" else step
        window = (first, step + 1)
        row = {"step": step + 1, "at": step, "action": by.act if acts else "none", "window": list(window)}
        self.tell("spike", row | self.monitor.told(look) | {"rows": self.rows_D(step)})
        if acts and by.act == "rollback":
            raise Rollback(window)
        return not acts


def known(record: Record, found: list[Window]) -> list[Window]:
    """All windows that a run has come to leave out: those on its list, and those `found` by this process."""
    return union([*record.left_out(), *found])
