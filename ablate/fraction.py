"""Which combinations of on/off factors to train: regular two-level fractions 2^(k-p), found by search.

A full factorial of k factors has 2^k arms. A fraction has 2^(k-p): the first k - p factors take every
combination, and each further one is on where an odd number of some of these is (Box and Hunter 1961).

    a b c | d = a+b+c      arm          Every effect is measured on all arms, so that N arms give each
    0 0 0   0              the base     factor the precision of N / 2 pairs (variance 4 s^2 / N). The price:
    1 0 0   1              a+d          effects that no column tells apart are *aliased*; a product of
    0 1 0   1              b+d          factors that is constant over the arms is a *word*, here abcd, and
    ...                                 the shortest word's length is the *resolution*.
    1 1 1   1              a+b+c+d      III: a is confounded with b x c; IV: with b x c x d; V: pairs are clear

Among all choices of columns one of minimum aberration is taken: the fewest words of 3 letters, then of 4,
and so on (Fries and Hunter 1980). With nothing on, every column is 0: the base is an arm of every fraction.

    >>> fraction(("a", "b", "c", "d"), num_arms=8).arms[:3]
    (('a', 'd'), ('b', 'd'), ('a', 'b'))
"""

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property, reduce
from math import comb
from operator import xor

import numpy as np

MOST_FACTORS, MOST_ARMS = 16, 64
KEPT, KEPT_ALIKE = 300, 12  # partial designs that the search goes on with: in all, and of one word pattern


@dataclass(frozen=True)
class Fraction:
    """`columns`: of each factor, the bits of the basic factors that it is the sum of (modulo 2)."""

    factors: tuple[str, ...]
    columns: tuple[int, ...]

    @property
    def num_arms(self) -> int:
        return 1 << max(self.columns).bit_length()

    @cached_property
    def arms(self) -> tuple[tuple[str, ...], ...]:
        """The factors that are on in each arm but the base, where none is."""
        levels = _levels(np.array([self.columns]), self.num_arms)[0]
        named = [tuple(itertools.compress(self.factors, row)) for row in levels]
        return tuple(named[1:])

    @cached_property
    def words(self) -> tuple[tuple[str, ...], ...]:
        """Products of factors that are constant over the arms, the shortest first."""
        spans: list[tuple[tuple[str, ...], int]] = [((), 0)]
        for factor, column in zip(self.factors, self.columns, strict=True):
            spans += [((*names, factor), total ^ column) for names, total in spans]
        return tuple(sorted((names for names, total in spans if names and not total), key=lambda w: (len(w), w)))

    @property
    def resolution(self) -> int:
        """Length of the shortest word; of a full factorial, which has none, one more than it has factors."""
        return min((len(word) for word in self.words), default=len(self.factors) + 1)

    @property
    def pairs(self) -> tuple[tuple[tuple[str, str], ...], ...]:
        """Pairs of factors, those together whose interactions are one contrast; none that is a factor's."""
        groups: dict[int, list[tuple[str, str]]] = {}
        for (a, x), (b, y) in itertools.combinations(zip(self.factors, self.columns, strict=True), 2):
            groups.setdefault(x ^ y, []).append((a, b))
        return tuple(tuple(group) for column, group in groups.items() if column not in self.columns)

    def aliases(self, effect: tuple[str, ...]) -> tuple[str, ...]:
        """Main effects and two-factor interactions, with sign, that the contrast of `effect` also holds."""
        columns, found = dict(zip(self.factors, self.columns, strict=True)), []
        total = _sum(columns[name] for name in effect)
        for other in (other for size in (1, 2) for other in itertools.combinations(self.factors, size)):
            if set(other) != set(effect) and _sum(columns[name] for name in other) == total:
                # a word of odd length is -1 at the base and so everywhere
                found.append(("-" if (len(effect) + len(other)) % 2 else "+") + product(other))
        return tuple(found)


def product(names: tuple[str, ...]) -> str:
    """('a', 'b') -> a x b"""
    return " x ".join(names)


def fraction(factors: tuple[str, ...], num_arms: int = 0, resolution: int = 4) -> Fraction:
    """The best fraction of `num_arms`; without a number, the smallest of at least that resolution.

    Raises ValueError, one line, where there is none.
    """
    if not 2 <= len(factors) <= MOST_FACTORS:
        raise ValueError(f"{len(factors)} factors: must be 2 to {MOST_FACTORS}")
    least, most = len(factors).bit_length(), min(len(factors), MOST_ARMS.bit_length() - 1)
    wanted = range(least, most + 1)
    if num_arms and num_arms not in [1 << size for size in wanted]:
        allowed = ", ".join(str(1 << size) for size in wanted)
        raise ValueError(f"{num_arms} arms for {len(factors)} factors: must be one of {allowed}")
    found = Fraction(factors, ())
    for size in (num_arms.bit_length() - 1,) if num_arms else wanted:
        found = Fraction(factors, _columns(len(factors), size))
        if found.resolution >= min(resolution, len(factors) + 1):
            return found
    best = f"{found.num_arms} arms of {len(factors)} factors have {found.resolution} at most"
    raise ValueError(f"resolution {resolution} cannot be had: {best}")


@cache
def _columns(factors: int, basic: int) -> tuple[int, ...]:
    """Of a design of minimum aberration, built column by column from the best partial designs."""
    designs = np.array([[1 << i for i in range(basic)]])
    for _ in range(factors - basic):
        longer = {tuple(sorted({*design, c})) for design in designs.tolist() for c in range(1, 1 << basic)}
        candidates = np.array(sorted(design for design in longer if len(design) > designs.shape[1]))
        designs = _best(candidates, 1 << basic)
    first = designs[0].tolist()
    units = [1 << i for i in range(basic)]
    return (*units, *sorted((column for column in first if column not in units), key=lambda c: (-c.bit_count(), c)))


def _best(designs: np.ndarray, num_arms: int) -> np.ndarray:
    """Those with the fewest short words, some of every pattern."""
    patterns = word_pattern(designs, num_arms)
    order = np.lexsort(patterns.T[::-1])
    kept: list[int] = []
    alike: Counter[bytes] = Counter()
    for i in order:
        pattern = patterns[i].tobytes()
        alike[pattern] += 1
        if alike[pattern] <= KEPT_ALIKE:
            kept.append(i)
        if len(kept) == KEPT:
            break
    return designs[kept]


def word_pattern(designs: np.ndarray, num_arms: int) -> np.ndarray:
    """Number of words of 3, 4, ... letters of each design, a row of columns.

    The words are the dual of the code whose words are the arms; MacWilliams' identity gives their
    weights from the numbers of factors that are on.
    """
    factors = designs.shape[1]
    on = _levels(designs, num_arms).sum(2)
    counts = np.stack([(on == weight).sum(1) for weight in range(factors + 1)], axis=1)
    return (counts @ _krawtchouk(factors)[:, 3:]) // num_arms


@cache
def _krawtchouk(n: int) -> np.ndarray:
    """K_j(w) at [w, j]."""
    values = [
        [sum((-1) ** i * comb(w, i) * comb(n - w, j - i) for i in range(j + 1)) for j in range(n + 1)]
        for w in range(n + 1)
    ]
    return np.array(values, dtype=np.int64)


def _levels(designs: np.ndarray, num_arms: int) -> np.ndarray:
    """[design, arm, factor]: 1 where the factor is on. The first arm is the base."""
    common = np.arange(num_arms)[None, :, None] & designs[:, None, :]
    return np.bitwise_count(common) % 2


def _sum(columns: Iterable[int]) -> int:
    return reduce(xor, columns)


def saving(factors: int) -> float:
    """Runs of one factor at a time over runs of a fraction, at equal precision: at most (k + 1) / 2.

    One at a time, (k + 1) r runs give each effect the variance 2 s^2 / r; N runs of a fraction, 4 s^2 / N. That
    is for runs whose noise is their own. Where an effect itself varies with the seed, arms of one seed share
    that, and more of them do not average it out: seven techniques on a tiny model (2 x 6 seeds, 40 steps) saved
    nothing, 0.6 to 1.0 times the runs. What a fraction gives then is the effect averaged over the other factors.
    """
    return (factors + 1) / 2
