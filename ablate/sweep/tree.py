"""The forest of a study for people: segments of one shape are one line, however many seeds and arms they are.

3 x steps 0-210    4 runs each
└── 12 x steps 210-300    wsd, cosine, linear, constant
"""

from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Group
from rich.text import Text
from rich.tree import Tree

from ablate.sweep.trunk import Segment

LINES = 40
Label = Callable[["Alike"], Text]


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
