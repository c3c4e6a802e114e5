"""Equal beginnings, found and trained once: the forest of what the runs of a study share.

    steps  0 ───────────────── 210 ────────── 300
    seed 0 ══════ trunk ═══════╤═ cosine ═════╡        210 + 3 x 90 steps instead of 3 x 300
                               ├─ linear ─────╡
                               └─ wsd ────────╡

Nobody declares a trunk. Two runs share their first n steps exactly when all that moves the weights is
equal there: what does not depend on the step (`Timeline.head`) and every row of `Timeline.moves`.
Each run trains at least its last step, so that each has a record made by itself.

There are no jobs for trunks. The first run that comes by leaves its checkpoint at every branch point
(`saves`) while it goes on to its own end, and the others start from there: with or without others, a
run does the same steps.
"""

import contextlib
import dataclasses
import functools
import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ablate.plan.segments import Known, Moves
from ablate.plan.timeline import Timeline, timeline
from ablate.run.fields import declared
from ablate.run.identity import digest
from ablate.run.machine import package_version, processor
from ablate.run.record import Record
from ablate.run.settings import Settings
from ablate.run.trunks import Growth, trunk_record, trunks
from ablate.run.where import Where
from ablate.sweep.study import Plan

# What the bits of a run depend on besides what it is
NUMERICAL = ("torch", "numpy", "bitsandbytes", "deepspeed", "mamba-ssm", "causal-conv1d")
# The machine has a name of its own in the key, and to compute blocks anew changes no bit
NUMERICAL_WHERE = [key for key, one in declared(Where).items() if one.moves and key not in ("device", "recompute")]

# Raised when the rows of `metrics.jsonl` change: a run grown from an older trunk would begin with rows of another kind
METRICS_VERSION = 3

Stored = dict[int, set[str]]


@dataclass(frozen=True)
class Segment:
    """Steps `first`..`last` - 1 of `runs`, trained once; `children` go on from its end."""

    first: int
    last: int
    runs: tuple[str, ...]
    children: tuple["Segment", ...] = ()

    def walk(self) -> Iterator["Segment"]:
        """This segment and all that grow from it, parents first."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True)
class Branch:
    """A run's state after `step` steps: a place to start from, and to leave a checkpoint at."""

    step: int
    key: str
    last: bool = False  # the end of the run, which is left for longer runs and never started from


@dataclass(frozen=True)
class Beginning:
    """What the sharing of one run depends on. `head`: digest of what holds for every step, and of the machine.

    One that is `alone` shares nothing, whatever it is equal to.
    """

    run: str
    settings: Settings
    head: str
    moves: Moves = field(repr=False)
    alone: bool = False
    plateau: tuple[int, ...] = ()  # steps before the first decay that follows a plateau


def branches_of(settings: Settings, id: str, fingerprint: str) -> list[Branch]:
    """Of a run by itself: where its decay begins, and what others have left on its way."""
    one = beginning(id, timeline(settings), fingerprint, numerics(settings.where), is_alone(settings.where))
    return branches([one], stored(settings.where.outputs))[id]


def is_alone(where: Where) -> bool:
    """Whether a run takes nothing from others. A replicate does not: grown from its first, it would equal it anyway."""
    return not where.trunks or where.replicate > 0


def beginnings(plan: Plan) -> list[Beginning]:
    """Of all runs of a study; what is equal in several is kept once."""
    known: Known = {}
    found = []
    for run in plan.distinct():
        where = run.settings.where
        one = beginning(run.id, timeline(run.settings), run.corpus.fingerprint, numerics(where), is_alone(where))
        found.append(dataclasses.replace(one, moves=one.moves.sharing(known)))
    return found


def growth(outputs: str, ways: Sequence[Branch], until: int | None = None) -> Growth:
    """Start from the last trunk on a run's way that is there, leave those after it, pause after `until` steps."""
    found = [(branch, trunk_record(outputs, branch.key)) for branch in ways]
    there = [number for number, (branch, trunk) in enumerate(found) if trunk.exists and not branch.last]
    rest = found[there[-1] + 1 :] if there else found
    return Growth(found[there[-1]][1] if there else None, {branch.step: trunk for branch, trunk in rest}, until)


def missing(record: Record, outputs: str, ways: Sequence[Branch]) -> set[str]:
    """Keys of the trunks on the rest of a run's way that are not there: what it will leave when it is trained."""
    leave = growth(outputs, ways).leave
    return {trunk.key for step, trunk in leave.items() if step >= record.saved_step}


def numerics(where: Where) -> str:
    """Digest of what a run's bits and rows depend on besides what it is: a trunk made otherwise is not believed."""
    return digest([_machine(where.device), [getattr(where, name) for name in NUMERICAL_WHERE], METRICS_VERSION])


@functools.cache
def _machine(device: str) -> list[object]:
    torch = importlib.import_module("torch")  # seconds, which --help must not wait for
    on_cpu = device == "cpu" or not torch.cuda.is_available()
    named = [processor(), torch.backends.cpu.get_cpu_capability()] if on_cpu else torch.cuda.get_device_name()
    return [named, {name: package_version(name) for name in NUMERICAL}]


def beginning(run: str, timeline: Timeline, fingerprint: str, numerics: str, alone: bool = False) -> Beginning:
    """`numerics`: digest of what the numbers depend on outside the settings (versions, device, kernels)."""
    head, plateau = f"{timeline.head(fingerprint)} {numerics}", tuple(_decay_start(timeline))
    return Beginning(run, timeline.settings, head, timeline.moves, alone, plateau)


def forest(beginnings: list[Beginning]) -> list[Segment]:
    """Trees of shared segments; the runs of each tree, and the trees, in the order given."""
    heads: dict[object, list[Beginning]] = {}
    for one in beginnings:
        heads.setdefault(one.run if one.alone else (one.head,), []).append(one)
    return [tree for alike in heads.values() for tree in _trees(alike, 0)]


def branches(beginnings: list[Beginning], on_disk: Stored | None = None) -> dict[str, list[Branch]]:
    """Of every run, earliest first: where it parts from others, where its decay begins, what it can take `on_disk`."""
    steps = {one.run: set() if one.alone else set(one.plateau) for one in beginnings}
    for tree in forest(beginnings):
        for segment in tree.walk():
            if segment.children:
                for run in segment.runs:
                    steps[run].add(segment.last)
    return {one.run: _ways(one, steps[one.run], on_disk or {}) for one in beginnings}


def _ways(one: Beginning, steps: set[int], on_disk: Stored) -> list[Branch]:
    """The run's branches at these steps, at the trunks that it can take, and its end where it was asked to keep it."""
    end = {len(one.moves)} if one.settings.where.keep_last else set()
    there = set() if one.alone else {step for step in on_disk if step < len(one.moves)}
    keys = one.moves.keys(one.head, steps | end | there)
    taken = sorted(steps | {step for step in there if keys[step] in on_disk[step]})
    return [*(Branch(step, keys[step]) for step in taken), *(Branch(step, keys[step], last=True) for step in end)]


def stored(outputs: str) -> Stored:
    """Keys of the trunks on disk by the step that they are the state after."""
    found: dict[int, set[str]] = {}
    for trunk in trunks(outputs):
        with contextlib.suppress(OSError, ValueError):  # one that was damaged or is being removed
            found.setdefault(trunk.read()["step"], set()).add(trunk.key)
    return found


def key(one: Beginning, steps: int) -> str:
    """Name of a run's state after `steps` steps: equal names mean equal weights, bit for bit."""
    return one.moves.keys(one.head, [steps])[steps]


def _trees(alike: list[Beginning], first: int) -> list[Segment]:
    """Segments that begin at `first`, of runs with equal heads and equal steps before it."""
    if len(alike) == 1:
        return [Segment(first, len(alike[0].moves), (alike[0].run,))]
    last = min(alike[0].moves.common(one.moves) for one in alike)
    groups: dict[object, list[Beginning]] = {}
    for one in alike:
        ends = last == len(one.moves) - 1  # nothing but its last step is left: that is its own
        groups.setdefault(one.run if ends else one.moves.rows(last, last + 1).tobytes(), []).append(one)
    children = [tree for group in groups.values() for tree in _trees(group, last)]
    if last == first:
        return children
    return [Segment(first, last, tuple(one.run for one in alike), tuple(children))]


def _decay_start(timeline: Timeline) -> list[int]:
    """Steps before the first decay that follows a plateau: where another decay, or a longer run, could begin."""
    rate = timeline.table["lr"]
    falls = np.flatnonzero((rate[2:] < rate[1:-1]) & (rate[1:-1] == rate[:-2])) + 2
    return falls[:1].tolist()
