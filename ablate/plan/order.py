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
from ablate.plan.mixture import assign, draws
from ablate.plan.timeline import Timeline

CHUNK_ROWS = 1 << 20  # rows counted at once
CHUNK_STEPS = 64  # steps laid out at once: numpy's cost per call is shared by many rows


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
        self.counts = self._counts()
        self.cursor = self._cursor()
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
        lengths = self.timeline.table["length"][:step]
        return dict(zip(self.domains, (lengths @ self.counts[:step]).tolist(), strict=True))

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
        step, domain = self._domains(first, last)
        position = self.cursor[step, domain] + self.timeline.table["length"][step] * _rank(step, domain)
        start = np.empty_like(position)
        for d in np.unique(domain):
            mine = domain == d
            start[mine] = self._start(d, position[mine])
        return domain, position, start, self.timeline.first_row[first : last + 1] - self.timeline.first_row[first]

    def _domains(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Step and domain of every row of steps first..last-1."""
        return domains(self.timeline, first, last)

    def _counts(self) -> np.ndarray:
        """Rows of each domain at each step, shape (steps, domains)."""
        counts = np.zeros((len(self.timeline), len(self.domains)), dtype=np.int64)
        chunk = self.timeline.first_row[:-1] // CHUNK_ROWS
        edges = [0, *(np.flatnonzero(np.diff(chunk)) + 1).tolist(), len(self.timeline)]
        for first, last in pairwise(edges):
            np.add.at(counts, self._domains(first, last), 1)
        return counts

    def _cursor(self) -> np.ndarray:
        """Tokens of each domain's endless stream passed before each step, shape (steps, domains)."""
        lengths = self.timeline.table["length"]
        edges = [0, *(np.flatnonzero(np.diff(lengths)) + 1).tolist(), len(lengths)][: len(lengths) + 1]
        cursor = np.zeros((len(lengths) + 1, len(self.domains)), dtype=np.int64)
        for first, last in pairwise(edges):
            length = lengths[first]
            begin = -(-cursor[first] // length) * length
            cursor[first] = begin
            cursor[first + 1 : last + 1] = begin + length * np.cumsum(self.counts[first:last], axis=0)
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
    """Whether two runs of one `Timeline.head` take the same steps from the first to the last, and so end alike.

    Shares of a mixture may differ and yet be rounded to the same rows.
    """
    columns = [name for name in ours.table.dtype.names or () if name != "stage"]
    if len(ours) != len(theirs) or any((ours.table[name] != theirs.table[name]).any() for name in columns):
        return False
    if not np.array_equal(ours.layer_factors, theirs.layer_factors):
        return False
    edges = [*range(0, len(ours), CHUNK_STEPS), len(ours)]
    return all(np.array_equal(domains(ours, *part)[1], domains(theirs, *part)[1]) for part in pairwise(edges))


def rows_of(timeline: Timeline) -> tuple[np.ndarray, np.ndarray]:
    """Rows of each domain in the whole run, and how many the mixture asks for: shapes (domains,)."""
    asked_D = timeline.table["rows"] @ timeline.weights[timeline.table["stage"]]
    return np.bincount(domains(timeline, 0, len(timeline))[1], minlength=len(asked_D)), asked_D


def _rank(step: np.ndarray, domain: np.ndarray) -> np.ndarray:
    """How many rows of the same step and domain come before each row; `step` does not fall."""
    group = step * (domain.max() + 1) + domain
    by_group = np.argsort(group, kind="stable")
    sorted_group = group[by_group]
    rank = np.empty_like(group)
    rank[by_group] = np.arange(len(group)) - np.searchsorted(sorted_group, sorted_group, side="left")
    return rank
