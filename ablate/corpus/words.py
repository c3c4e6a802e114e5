"""The words of many documents as numbers, quickly enough for every byte of a corpus.

    "Näive, 3.5 = x"  ->  näive  3  5  =  x        without case; "=" is a sign that stands alone
    "中文"             ->  中  文                     signs of Chinese and Japanese one by one

A word's number is a polynomial of its bytes modulo 2**64, read off the running sum over all bytes, so that no word is
ever a Python object. A run of words has a number in the same way. Equal words have equal numbers; others have the
same one with a chance of 2**-64 or so.

Shapes: B bytes, W words, D documents.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

FACTOR = 0x9E3779B97F4A7C15  # odd, so that it has an inverse
INVERSE = pow(FACTOR, -1, 1 << 64)
MIXER = np.uint64(0xD6E8FEB86659FD93)
GAP, LETTER, SIGN = range(3)  # classes of bytes
BATCH = 500_000  # of text, or characters of it, read at once

T = TypeVar("T")


class Words(NamedTuple):
    numbers_W: np.ndarray  # uint64
    starts_W: np.ndarray  # byte at which a word begins, all texts encoded and written with one byte between them
    stops_W: np.ndarray  # byte after its last
    signs_W: np.ndarray  # bool: whether it is punctuation that stands alone
    documents_W: np.ndarray  # number of its document
    offsets_D: np.ndarray  # byte at which a document begins

    def letters(self) -> "Words":
        """Without the signs."""
        return self if not self.signs_W.any() else self._of(~self.signs_W)

    def _of(self, kept_W: np.ndarray) -> "Words":
        of_words = {name: part[kept_W] for name, part in self._asdict().items() if name.endswith("_W")}
        return self._replace(**of_words)


def batches(items: Iterable[T], text_of: Callable[[T], str]) -> Iterator[list[T]]:
    """Items in lists of about BATCH characters of text, which is quickest."""
    batch, size = [], 0
    for item in items:
        batch.append(item)
        size += len(text_of(item))
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def words(texts: Sequence[str]) -> Words:
    """The words of some documents; a megabyte of them at once is quickest."""
    encoded = [_lower(text) for text in texts]
    offsets_D = np.cumsum([0, *(len(text) + 1 for text in encoded[:-1])])
    bytes_B = np.frombuffer(b"\n".join([*encoded, b""]), dtype=np.uint8)
    starts_S, stops_S, class_S = _stretches(bytes_B)
    class_S = np.concatenate([[GAP], class_S, [GAP]])  # a comma beside a word is none; alone it is one
    alone_S = (class_S[1:-1] == SIGN) & (class_S[:-2] == GAP) & (class_S[2:] == GAP)
    kept_S = (class_S[1:-1] == LETTER) | alone_S
    starts_W, stops_W = starts_S[kept_S], stops_S[kept_S]
    numbers_W = _sums(VALUES[bytes_B], starts_W, stops_W)
    documents_W = np.searchsorted(offsets_D, starts_W, side="right") - 1
    return Words(numbers_W, starts_W, stops_W, alone_S[kept_S], documents_W, offsets_D)


def runs(found: Words, length: int) -> np.ndarray:
    """The number of the run of `length` words that begins at each word, 0 where the document ends sooner: uint64[W]."""
    numbers_W = np.zeros(len(found.numbers_W), dtype=np.uint64)
    count = len(numbers_W) - length + 1
    if count > 0:
        starts_N = np.arange(count)
        whole_N = found.documents_W[:count] == found.documents_W[length - 1 :]
        numbers_W[:count] = np.where(whole_N, _sums(found.numbers_W, starts_N, starts_N + length), 0)
    return numbers_W


def spans(found: Words, first_N: np.ndarray, next_N: np.ndarray) -> np.ndarray:
    """The numbers of runs of any lengths, from their first words to those before `next`: uint64[N]."""
    return _sums(found.numbers_W, first_N, next_N)


def wholes(found: Words) -> np.ndarray:
    """The number of each document as the run of all its words: uint64[D]."""
    borders = np.searchsorted(found.documents_W, np.arange(len(found.offsets_D) + 1))
    return spans(found, borders[:-1], borders[1:])


def among(numbers: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Whether each number is one of those, which are sorted: np.isin would sort all of them at every call."""
    if not len(ordered):
        return np.zeros(len(numbers), dtype=bool)
    return ordered[np.minimum(np.searchsorted(ordered, numbers), len(ordered) - 1)] == numbers


def _lower(text: str) -> bytes:
    """Without case and in as many bytes, so that places in it are places in the text."""
    raw, lower = text.encode(), text.lower().encode()
    return lower if len(lower) == len(raw) else raw.lower()


def _stretches(bytes_B: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where stretches of one class begin and end, and the class of each."""
    class_B = CLASSES[bytes_B]
    heads = np.flatnonzero(HEADS[bytes_B])
    firsts, seconds = bytes_B[heads], bytes_B[np.minimum(heads + 1, len(bytes_B) - 1)]
    sizes, class_H = SIZES[firsts], WIDE[firsts, seconds]
    for offset in range(4):  # all bytes of a character are of its class
        inside = sizes > offset
        class_B[heads[inside] + offset] = class_H[inside]
    changes_B = np.ones(len(bytes_B) + 1, dtype=bool)
    np.not_equal(class_B[1:], class_B[:-1], out=changes_B[1:-1])
    single = IDEOGRAPHS[firsts, seconds]
    changes_B[heads[single]] = changes_B[heads[single] + sizes[single]] = True
    borders_S = np.flatnonzero(changes_B)
    return borders_S[:-1], borders_S[1:], class_B[borders_S[:-1]]


def _sums(values: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """The polynomials of stretches of values, the first of each times the factor to the power of 0."""
    count = len(values)
    totals = np.concatenate([[np.uint64(0)], np.cumsum(values * _powers(FACTOR, count))])
    numbers = (totals[stops] - totals[starts]) * _powers(INVERSE, count + 1)[starts]
    numbers = (numbers ^ (numbers >> np.uint64(32))) * MIXER
    return numbers ^ (numbers >> np.uint64(29))


_POWERS: dict[int, np.ndarray] = {}


def _powers(factor: int, count: int) -> np.ndarray:
    """factor ** 0, 1, ... modulo 2 ** 64, kept: uint64[count]."""
    if factor not in _POWERS or len(_POWERS[factor]) < count:
        factors = np.full(max(count, 1 << 20), factor, dtype=np.uint64)
        factors[0] = 1
        _POWERS[factor] = np.multiply.accumulate(factors)
    return _POWERS[factor][:count]


def _classes() -> np.ndarray:
    """Of single bytes; of a character of several, the class of a letter."""
    found = np.full(256, SIGN, dtype=np.uint8)
    found[[*range(0x80, 0x100), *b"0123456789_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"]] = LETTER
    found[[*range(0x21), 0x7F]] = GAP
    return found


def _wide() -> np.ndarray:
    """Of characters that are not ASCII, by their first two bytes: punctuation, symbols, the spaces among them."""
    found = np.full((256, 256), LETTER, dtype=np.uint8)
    found[0xC2] = SIGN  # U+0080 to U+00BF
    found[0xC2, [0xAA, 0xB5, 0xBA]] = LETTER  # ª µ º
    found[0xC2, 0xA0] = GAP  # no-break space
    found[0xC3, [0x97, 0xB7]] = SIGN  # × ÷
    found[0xE2, :0xB0] = SIGN  # U+2000 to U+2BFF
    found[0xE3, 0x80] = SIGN  # U+3000 to U+303F, the wide space among them
    found[0xEF, [0xB8, 0xB9]] = SIGN
    found[0xF0, 0x9F] = SIGN  # pictures
    return found


def _ideographs() -> np.ndarray:
    """By the first two bytes: whether a character is a word by itself."""
    found = np.zeros((256, 256), dtype=bool)
    found[0xE3, 0x81:] = found[0xE4:0xEA] = found[0xF0, 0xA0:0xB4] = True
    found[0xEF, 0xBC:0xBE] = True  # wide letters
    return found


# A random number for each byte, so that a word's lowest bit is not the parity of its letters
VALUES = np.random.default_rng(0).integers(1 << 63, size=256, dtype=np.uint64) * 2 + 1
CLASSES, WIDE, IDEOGRAPHS = _classes(), _wide(), _ideographs()
SIZES = np.array([1] * 0xC0 + [2] * 0x20 + [3] * 0x10 + [4] * 0x10)  # bytes of a character, by its first
# First bytes of characters that are not plain letters
HEADS = (WIDE != LETTER).any(axis=1) | IDEOGRAPHS.any(axis=1)
