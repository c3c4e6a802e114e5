"""Randomness as a pure function: the same key and index give the same draw, in any order, on any machine.

No generator holds state, so step 900,000 is reached without the steps before it. Everything is
64-bit integer arithmetic on numpy arrays and does not depend on numpy's own generators, whose
streams may change between releases.
"""

import hashlib

import numpy as np

Array = np.ndarray
ROUNDS = 6  # of the Feistel network; four suffice for pseudo-randomness (Luby and Rackoff 1988)


def key(*parts: str | int) -> int:
    """64 bits that stand for a purpose: key(seed, "order", domain, epoch)."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "little")


def mix(x: Array) -> Array:
    """Scramble uint64 values; a bijection (the finalizer of SplitMix64, Steele et al. 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def permute(index: Array, size: int, key: int) -> Array:
    """The images of `index` (each below `size`) under the permutation of 0..size-1 that `key` names.

    A balanced Feistel network on the next even power of two, walked along its cycles until the
    image falls below `size` (Black and Rogaway 2002): constant memory, whatever the size.
    """
    half = np.uint64(max(1, (max(size - 1, 1).bit_length() + 1) // 2))
    image = _feistel(np.asarray(index, dtype=np.uint64), half, key)
    while (outside := image >= size).any():
        image[outside] = _feistel(image[outside], half, key)
    return image.astype(np.int64)


def _feistel(x: Array, half: np.uint64, key: int) -> Array:
    mask = (np.uint64(1) << half) - np.uint64(1)
    left, right = x >> half, x & mask
    for number in range(ROUNDS):
        salt = np.uint64((key + number * 0x9E3779B97F4A7C15) % 2**64)
        left, right = right, left ^ (mix(right + salt) & mask)
    return (left << half) | right


def scramble(index: Array, bits: int, key: int) -> Array:
    """A shuffled van der Corput sequence: a permutation of 0..2^bits-1 in each run of 2^bits indices.

    Nested: every aligned run of 2^j indices has one image in each of 2^j equal parts of the range
    (Owen's scrambling, by a hash that carries only from low to high bits, as in Laine and Karras
    2011). So shares are close to exact in any stretch, not only in whole blocks.
    """
    x = np.asarray(index, dtype=np.uint64) & np.uint64(2**bits - 1)
    mask = np.uint64(2**64 - 1)
    for number in range(4):
        salt = np.uint64(int(mix(np.array([(key + number) % 2**64], dtype=np.uint64))[0]))
        x = (x + salt) & mask
        x ^= x * (salt & ~np.uint64(1))  # an even factor: bit j is moved by the bits below j only
        x *= salt | np.uint64(1)
    return _reverse(x, bits)


def _reverse(x: Array, bits: int) -> Array:
    image = np.zeros_like(x)
    for bit in range(bits):
        image |= ((x >> np.uint64(bit)) & np.uint64(1)) << np.uint64(bits - 1 - bit)
    return image.astype(np.int64)
