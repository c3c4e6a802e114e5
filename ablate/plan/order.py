"""(step, row) -> (domain, position): the very tokens of every row, without reading the rows before it.

Each domain is one long stream of tokens, cut into spans; an epoch reads every span once, in an order
keyed by (seed, domain, epoch). A row takes the next part of its domain's current span:

    span 17                       span 4
    |256|256|256|256|             |    512    |    512    |        one domain, length 256 -> 512

When the length grows, a domain moves on to the next multiple of the new length, so that no row
straddles two spans and no token is read twice in an epoch. Nothing here knows the number of devices.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ablate.plan import keyed
from ablate.plan.mixture import assign, counts, draws
from ablate.plan.timeline import Timeline

CHUNK_STEPS = 64  # steps laid out at once: numpy's cost per call is shared by many rows
KEPT_PLACES = 8  # that later ones are counted from


# Domain, position and start of every row, and where each step begins
Chunk = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Rows:
    """One step's rows, in order. domain: index into the domains; start: token in the domain's stream."""

    domain_R: np.ndarray
    start_R: np.ndarray
    length: int


class Order:
    """The rows of every step. `spans`: whole spans that each domain's training text has, by domain."""

    def __init__(self, timeline: Timeline, spans: list[int]):
        settings = timeline.settings
        self.timeline = timeline
        self.span, self.block, self.seed = settings.data.span, settings.mixture.block, settings.seed
        self.domains, self.spans = settings.data.domains, spans
        self.edges = _changes(timeline)
        # Tokens of each domain's endless stream passed before a step, and how many of them were read
        self.places: dict[int, np.ndarray] = {0: np.zeros((2, len(self.domains)), dtype=np.int64)}
        self.laid_out: dict[int, Chunk] = {}  # the last two chunks that were asked for

    def step(self, step: int) -> Rows:
        """The rows of one step, all devices together."""
        (domain_R, _, start_R, _), mine = self._laid_out(step)
        return Rows(domain_R[mine], start_R[mine], int(self.timeline.table["length"][step]))

    def positions(self, step: int) -> np.ndarray:
        """Where in its domain's endless stream each row of a step begins, in tokens, shape (rows,)."""
        (_, position_R, _, _), mine = self._laid_out(step)
        return position_R[mine]

    def domain_tokens(self, step: int) -> dict[str, int]:
        """Tokens read of each domain before `step`."""
        return dict(zip(self.domains, self._place(step)[1].tolist(), strict=True))

    def read(self, first: int, last: int) -> np.ndarray:
        """Tokens that steps first..last-1 read of each domain, shape (domains,)."""
        length = self.timeline.table["length"]
        parts = [length[begin] * _counts(self.timeline, begin, end) for begin, end in _cut(self.edges, first, last)]
        return np.sum(parts, axis=0)

    def _place(self, step: int) -> np.ndarray:
        """Tokens of each domain passed and read before a step, shape (2, domains), counted from the last such place."""
        first = max(known for known in self.places if known <= step)
        passed_D, read_D = self.places[first]
        for begin, end in _cut(self.edges, first, step):
            length = self.timeline.table["length"][begin]
            more_D = length * _counts(self.timeline, begin, end)
            passed_D, read_D = _next(passed_D, length) + more_D, read_D + more_D
        self.places[step] = np.stack([passed_D, read_D])
        for known in [*self.places][1:-KEPT_PLACES]:
            del self.places[known]
        return self.places[step]

    def _laid_out(self, step: int) -> tuple[Chunk, slice]:
        """The chunk that a step lies in, and its rows there."""
        number, place = divmod(step, CHUNK_STEPS)
        if number not in self.laid_out:
            self.laid_out = dict([*self.laid_out.items()][-1:]) | {number: self._lay_out(number)}
        edges = self.laid_out[number][3]
        return self.laid_out[number], slice(edges[place], edges[place + 1])

    def _lay_out(self, chunk: int) -> Chunk:
        """Domain, position and start of every row of a chunk of steps, and where each step begins among them."""
        first = chunk * CHUNK_STEPS
        last = min(first + CHUNK_STEPS, len(self.timeline))
        step, domain = domains(self.timeline, first, last)
        cursor = self._cursor(first, last, step, domain)
        position = cursor[step - first, domain] + self.timeline.table["length"][step] * _rank(step, domain)
        start = np.empty_like(position)
        for d in np.unique(domain):
            mine = domain == d
            start[mine] = self._start(d, position[mine])
        return domain, position, start, self.timeline.first_row[first : last + 1] - self.timeline.first_row[first]

    def _cursor(self, first: int, last: int, step: np.ndarray, domain: np.ndarray) -> np.ndarray:
        """Tokens of each domain's endless stream passed before each step of a chunk, shape (steps, domains)."""
        wide = len(self.domains)
        counts_SD = np.bincount((step - first) * wide + domain, minlength=(last - first) * wide).reshape(-1, wide)
        cursor = np.zeros((last - first + 1, wide), dtype=np.int64)
        cursor[0] = self._place(first)[0]
        for begin, end in _cut(self.edges, first, last):
            length, here = self.timeline.table["length"][begin], slice(begin - first, end - first)
            cursor[here.start] = _next(cursor[here.start], length)
            cursor[here.start + 1 : here.stop + 1] = cursor[here.start] + length * np.cumsum(counts_SD[here], axis=0)
        return cursor[:-1]

    def _start(self, domain: int, position: np.ndarray) -> np.ndarray:
        """Where in the domain's tokens the rows at these positions of its endless stream begin."""
        epoch, within = np.divmod(position, self.spans[domain] * self.span)
        index, offset = np.divmod(within, self.span)
        start = np.empty_like(position)
        for e in np.unique(epoch):
            mine = epoch == e
            key = keyed.key(self.seed, "order", self.domains[domain], int(e))
            start[mine] = keyed.permute(index[mine], self.spans[domain], key) * self.span
        return start + offset


def _next(passed_D: np.ndarray, length: int) -> np.ndarray:
    """Where the next row of this length begins in each domain's endless stream."""
    return -(-passed_D // length) * length


def domains(timeline: Timeline, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Step and domain of every row of steps first..last-1: the mixture decides, whatever text there is."""
    block, seed = timeline.settings.mixture.block, timeline.settings.seed
    table = timeline.table[first:last]
    step = np.repeat(np.arange(first, last), table["rows"])
    draw = draws(np.arange(timeline.first_row[first], timeline.first_row[last]), block, seed)
    domain = np.empty_like(step)
    for stage in np.unique(table["stage"]):
        mine = timeline.table["stage"][step] == stage
        domain[mine] = assign(draw[mine], timeline.weights[stage])
    return step, domain


def same_steps(ours: Timeline, theirs: Timeline) -> bool:
    """Whether two runs of one `Timeline.head` take the same steps from the first to the last, and so end alike."""
    return same_columns(ours, theirs) and same_rows(ours, theirs)


def same_columns(ours: Timeline, theirs: Timeline) -> bool:
    """Whether two runs have equal timelines, whatever the mixture: seen at once, without drawing a row."""
    columns = [name for name in ours.table.dtype.names or () if name != "stage"]
    if len(ours) != len(theirs) or any((ours.table[name] != theirs.table[name]).any() for name in columns):
        return False
    return np.array_equal(ours.layer_factors, theirs.layer_factors)


def same_rows(ours: Timeline, theirs: Timeline) -> bool:
    """Whether two runs of as many rows draw the same ones: shares may differ and yet be rounded to the same rows."""
    edges = [*range(0, len(ours), CHUNK_STEPS), len(ours)]
    return all(np.array_equal(domains(ours, *part)[1], domains(theirs, *part)[1]) for part in pairwise(edges))


def rows_asked(timeline: Timeline) -> np.ndarray:
    """How many rows of each domain the mixture asks for in the whole run, shape (domains,)."""
    rows_S = np.bincount(timeline.table["stage"], timeline.table["rows"], len(timeline.weights))
    return rows_S @ timeline.weights


def rows_read(timeline: Timeline) -> np.ndarray:
    """Rows of each domain in the whole run, shape (domains,)."""
    return np.sum([_counts(timeline, *part) for part in _cut(_changes(timeline), 0, len(timeline))], axis=0)


def _counts(timeline: Timeline, first: int, last: int) -> np.ndarray:
    """Rows of each domain in steps first..last-1, in which the mixture does not change."""
    block, seed, rows = timeline.settings.mixture.block, timeline.settings.seed, timeline.first_row
    return counts(int(rows[first]), int(rows[last]), timeline.weights[timeline.table["stage"][first]], block, seed)


def _changes(timeline: Timeline) -> np.ndarray:
    """Steps at which rows get longer or shorter, or another stage of the mixture begins."""
    length, stage = timeline.table["length"], timeline.table["stage"]
    return np.flatnonzero((np.diff(length) != 0) | (np.diff(stage) != 0)) + 1


def _cut(edges: np.ndarray, first: int, last: int) -> list[tuple[int, int]]:
    """The parts of steps first..last-1 that edges cut them into; none where there are no steps."""
    inside = edges[np.searchsorted(edges, first, "right") : np.searchsorted(edges, last)].tolist()
    return [*pairwise([first, *inside, last])] if last > first else []


def _rank(step: np.ndarray, domain: np.ndarray) -> np.ndarray:
    """How many rows of the same step and domain come before each row; `step` does not fall."""
    group = step * (domain.max() + 1) + domain
    by_group = np.argsort(group, kind="stable")
    sorted_group = group[by_group]
    rank = np.empty_like(group)
    rank[by_group] = np.arange(len(group)) - np.searchsorted(sorted_group, sorted_group, side="left")
    return rank
