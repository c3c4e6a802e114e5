"""What a study costs in FLOPs: with every run alone, with beginnings shared, and what of it is left."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ablate.model import budget
from ablate.run.record import run_record
from ablate.run.settings import Where
from ablate.sweep.study import Plan
from ablate.sweep.trunk import Beginning, Segment, Stored, beginnings, forest, key, stored


@dataclass(frozen=True)
class Prospect:
    """`flops`: of every run by its id, before each step and at the end. `starts`: of those missing, a step."""

    where: Where
    trees: list[Segment]
    beginnings: dict[str, Beginning]
    flops: Mapping[str, np.ndarray]
    starts: dict[str, int]
    stored: Stored

    @property
    def alone(self) -> float:
        """Of all runs, if none shared anything."""
        return float(sum(flops[-1] for flops in self.flops.values()))

    @property
    def shared(self) -> float:
        """Of all segments, each trained once."""
        return sum(self.of(segment, segment.first) for tree in self.trees for segment in tree.walk())

    @property
    def left(self) -> float:
        """Of what is still to be trained: past the trunks on disk, on the way of runs that are missing."""
        return sum(self._left(segment) for tree in self.trees for segment in tree.walk())

    def alone_of(self, runs: set[str]) -> float:
        """Of the segments that no other run has a part in."""
        segments = [segment for tree in self.trees for segment in tree.walk()]
        return sum(self.of(segment, segment.first) for segment in segments if set(segment.runs) <= runs)

    def on_disk(self, segment: Segment) -> bool:
        """Whether the state at the segment's end is stored."""
        one = self.beginnings[segment.runs[0]]
        return not one.alone and segment.last in self.stored and key(one, segment.last) in self.stored[segment.last]

    def of(self, segment: Segment, first: int) -> float:
        """FLOPs of a segment from step `first` on."""
        flops = self.flops[segment.runs[0]]
        return float(flops[segment.last] - flops[first])

    def now(self) -> "Prospect":
        """The same study as it is on disk at this moment."""
        on_disk = stored(self.where.outputs) if self.where.trunks else {}
        missing = [run for run in self.flops if not run_record(self.where.outputs, run).done]
        starts = {run: _start(self.beginnings[run], on_disk) for run in missing}
        return dataclasses.replace(self, starts=starts, stored=on_disk)

    def _left(self, segment: Segment) -> float:
        starts = [self.starts[run] for run in segment.runs if run in self.starts]
        return self.of(segment, min(max(segment.first, min(starts)), segment.last)) if starts else 0.0


def prospect(plan: Plan) -> Prospect:
    """Of a study, from its timelines and from what is on disk."""
    where, runs = plan.arms[0].settings.where, plan.distinct()
    ones = {one.run: one for one in beginnings(plan)}
    trees = forest(list(ones.values()))
    flops = {run.id: ones[run.id].timeline.flops(budget.of(run.settings).training_flops) for run in runs}
    return Prospect(where, trees, ones, flops, {}, {}).now()


def _start(one: Beginning, on_disk: Stored) -> int:
    """The last step of a run whose state is stored for it; 0 without any."""
    if one.alone:
        return 0
    return max((s for s, keys in on_disk.items() if s < len(one.moves) and key(one, s) in keys), default=0)
