"""Where training was disturbed, in figures along tokens: windows that were left out are shaded, spikes are marked."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from ablate.run.record import Record


@dataclass(frozen=True)
class Disturbed:
    """Of one run, in tokens: (begin, end) of what it left out, and where spikes were noted."""

    windows: tuple[tuple[float, float], ...]
    spikes: tuple[float, ...]

    def draw(self, axes: Iterable[Axes], colour: str) -> None:
        """A band over the height of each panel, which is seen also where it is one step wide; triangles at its top."""
        for ax in axes:
            for begin, end in self.windows:
                ax.axvspan(begin, end, facecolor=colour, edgecolor=colour, alpha=0.22, linewidth=1.0, zorder=0.5)
            at_top = {"transform": ax.get_xaxis_transform(), "clip_on": False, "markeredgewidth": 0}
            for spike in self.spikes:
                [mark] = ax.plot(spike, 1.0, "v", color=colour, markersize=4.5, **at_top)
                mark.set_in_layout(False)  # half of it lies outside its panel, which is as wide as without it


def disturbed(record: Record) -> Disturbed:
    """Windows are known once the run has ended, spikes as it goes on."""
    windows = (record.result() or {}).get("skipped", {}).get("windows", [])
    spikes = [row["at"] for row in record.rows("spike")]
    if not windows and not spikes:
        return Disturbed((), ())
    rows = record.rows("train")
    steps, tokens = ([0, *(row[name] for row in rows)] for name in ("step", "tokens"))
    at = np.interp([*np.ravel(windows), *spikes], steps, tokens).tolist()
    ends = at[: 2 * len(windows)]
    return Disturbed(tuple(zip(ends[::2], ends[1::2], strict=True)), tuple(at[len(ends) :]))
