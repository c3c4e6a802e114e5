"""What a study costs in FLOPs: with every run alone, with beginnings shared, and what of it is left.

The forest of its beginnings is drawn for people: segments of one shape are one line, however many seeds and arms they
are.

    3 x steps 0-210    4 runs each
    └── 12 x steps 210-300    wsd, cosine, linear, constant
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rich.console import Group
from rich.text import Text
from rich.tree import Tree

from ablate.model import budget
from ablate.plan.segments import Sums
from ablate.run.record import run_record
from ablate.run.settings import Where
from ablate.sweep.study import Plan
from ablate.sweep.trunk import Beginning, Segment, Stored, beginnings, forest, key, stored

LINES = 40
Label = Callable[["Alike"], Text]


@dataclass(frozen=True)
class Prospect:
    """`flops`: of every run by its id, before each step and at the end. `starts`: of those missing, a step."""

    where: Where
    trees: list[Segment]
    beginnings: dict[str, Beginning]
    flops: Mapping[str, Sums]
    starts: dict[str, int]
    stored: Stored

    @property
    def alone(self) -> float:
        """Of all runs, if none shared anything."""
        return sum(flops[-1] for flops in self.flops.values())

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
        return flops[segment.last] - flops[first]

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
    flops = {run.id: ones[run.id].moves.flops(budget.of(run.settings).training_flops) for run in runs}
    return Prospect(where, trees, ones, flops, {}, {}).now()


def _start(one: Beginning, on_disk: Stored) -> int:
    """The last step of a run whose state is stored for it; 0 without any."""
    if one.alone:
        return 0
    keys = one.moves.keys(one.head, (step for step in on_disk if step < len(one.moves)))
    return max((step for step, key in keys.items() if key in on_disk[step]), default=0)


@dataclass(frozen=True)
class Alike:
    """Segments of one shape, beside each other."""

    segments: tuple[Segment, ...]

    @property
    def children(self) -> list["Alike"]:
        return alike([child for segment in self.segments for child in segment.children])

    @property
    def runs(self) -> list[str]:
        return [run for segment in self.segments for run in segment.runs]

    @property
    def text(self) -> str:
        first = self.segments[0]
        times = f"{len(self.segments)} x " if len(self.segments) > 1 else ""
        return f"{times}steps {first.first}-{first.last}"


def alike(segments: list[Segment]) -> list[Alike]:
    """Segments by shape, in the order of the first of each."""
    groups: dict[object, list[Segment]] = {}
    for segment in segments:
        groups.setdefault(_shape(segment), []).append(segment)
    return [Alike(tuple(group)) for group in groups.values()]


def drawn(trees: list[Segment], label: Label, lines: int = LINES) -> Group:
    """At most `lines` lines: the deepest branches are counted first, then trees are."""
    roots = alike(trees)
    depth = next((d for d in range(_depth(roots), 0, -1) if _lines(roots, d) <= lines), 0)
    shown = roots if len(roots) <= lines else roots[: lines - 1]
    parts = [_tree(root, label, depth) for root in shown]
    rest = sum(len(root.segments) for root in roots[len(shown) :])
    return Group(*parts, *([Text(f"and {rest} more beginnings", style="dim")] if rest else []))


def _tree(group: Alike, label: Label, depth: int) -> Tree:
    text = label(group)
    if group.children and not depth:
        text.append(f"  … {sum(len(child.segments) for child in group.children)} branches", style="dim")
    tree = Tree(text, guide_style="dim")
    for child in group.children if depth else []:
        tree.children.append(_tree(child, label, depth - 1))
    return tree


def _shape(segment: Segment) -> tuple[object, ...]:
    return segment.first, segment.last, tuple(sorted(map(str, map(_shape, segment.children))))


def _depth(groups: list[Alike]) -> int:
    return max((1 + _depth(group.children) for group in groups if group.children), default=0)


def _lines(groups: list[Alike], depth: int) -> int:
    return sum(1 + (_lines(group.children, depth - 1) if depth else 0) for group in groups)
