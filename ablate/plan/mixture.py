"""Which domain each row comes from: exact counts per block, the same draws for every mixture.

Row g has a number u(g) in [0, 1) that depends on the seed and on g alone; the mixture's cumulative
weights cut [0, 1) into one interval per domain, and the row belongs to the interval that u falls in.

    u(g) = (place of g in its block, shuffled + offset of the block) / block

    weights .5 .3 .2    |----- general -----|--- code ---|-- qa --|
    a block's u's        . . . . . . . . . . . . . . . . . . . . .      equally spaced: exact counts

Points of one block are equally spaced, so each domain's count is its share rounded up or down; the
offsets of successive blocks fill the gap between two points evenly, so that the roundings cancel.
Two mixtures of one seed read the same u's: their rows differ only where their intervals do, which
is what makes their difference a paired one.
"""

import numpy as np

from ablate.plan import keyed
from ablate.run.settings import Settings
from ablate.run.steps import steps_of

OFFSET_BITS = 32
COUNTED_BLOCKS = 1 << 16  # blocks counted at once: their numbers stay in a core's cache


def stage_of(settings: Settings) -> np.ndarray:
    """Index of the mixture stage at every step, shape (steps,)."""
    starts = [steps_of(start, settings.steps) for start, _ in settings.mixture_stages]
    return np.searchsorted(starts, np.arange(settings.steps), side="right") - 1


def stage_weights(settings: Settings) -> np.ndarray:
    """Weights of every stage, shape (stages, domains), rows summing to 1."""
    return np.array([[weights[d] for d in settings.data.domains] for _, weights in settings.mixture_stages])


def draws(rows: np.ndarray, block: int, seed: int) -> np.ndarray:
    """u of each global row number, in [0, 1)."""
    number, place = np.divmod(np.asarray(rows, dtype=np.int64), block)
    bits = block.bit_length() - 1
    # Shuffled anew in every block: XOR with a hash of the block's number keeps the nesting
    shuffle = keyed.mix(number.astype(np.uint64) + np.uint64(keyed.key(seed, "block"))) & np.uint64(block - 1)
    shuffled = keyed.scramble(place, bits, keyed.key(seed, "slot")) ^ shuffle.astype(np.int64)
    return (shuffled + _offsets(number, seed)) / block


def counts(first: int, last: int, weights: np.ndarray, block: int, seed: int) -> np.ndarray:
    """Rows of each domain among rows first..last-1, shape (domains,): those of whole blocks are counted, not drawn."""
    begin, end = -(-first // block), last // block
    if begin >= end:
        return _drawn(first, last, weights, block, seed)
    before, after = (_drawn(*ends, weights, block, seed) for ends in ((first, begin * block), (end * block, last)))
    return before + _of_blocks(begin, end, weights, block, seed) + after


def _drawn(first: int, last: int, weights: np.ndarray, block: int, seed: int) -> np.ndarray:
    return np.bincount(assign(draws(np.arange(first, last), block, seed), weights), minlength=len(weights))


def _of_blocks(first: int, last: int, weights: np.ndarray, block: int, seed: int) -> np.ndarray:
    """Rows of each domain in blocks first..last-1.

    Below an edge at n + f points of a block, 0 <= f < 1, lie its first n points, and one more if its offset is below f.
    """
    cumulative = np.cumsum(weights)
    whole_D, rest_D = np.divmod(cumulative / cumulative[-1] * block, 1)
    below_D = (last - first) * whole_D.astype(np.int64)
    for begin in range(first, last, COUNTED_BLOCKS):
        offset_N = _offsets(np.arange(begin, min(begin + COUNTED_BLOCKS, last)), seed)
        below_D += [np.count_nonzero(offset_N < rest) for rest in rest_D]
    return np.diff(below_D, prepend=0)


def _offsets(blocks: np.ndarray, seed: int) -> np.ndarray:
    return keyed.scramble(blocks, OFFSET_BITS, keyed.key(seed, "offset")) / 2**OFFSET_BITS


def assign(draws: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Domain index of each draw: the interval of cumulative weight that it falls in. A weight of 0 never occurs."""
    edges = np.cumsum(weights)
    return np.searchsorted(edges / edges[-1], draws, side="right")
