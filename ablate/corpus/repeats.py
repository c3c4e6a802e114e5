"""How much of a document was there before: lines, paragraphs, runs of words (Rae et al. 2021, table A1).

Shapes: W words of all texts, N runs of them, D documents.
"""

from collections.abc import Sequence

import numpy as np

from ablate.corpus.words import Words, runs, spans

NEAR = 50  # words back that "among the words before" reaches
FEWEST = 120  # words of a document below which the most frequent run says nothing
MIXER = np.uint64(0x9E3779B97F4A7C15)


def shares(texts: Sequence[str], found: Words, unspaced_D: np.ndarray) -> dict[str, np.ndarray]:
    """Shares by name, each float[D]."""
    bytes_D = np.maximum(1, [len(text.encode()) for text in texts])
    count_D = np.bincount(found.documents_W, minlength=len(texts))
    values = {
        "repetition.lines": _stretches(found, line_ends(texts, b"\n"), bytes_D),
        "repetition.paragraphs": _stretches(found, line_ends(texts, b"\n\n"), bytes_D),
        "repetition.words": _near(found, count_D),
    }
    enough_D = count_D >= FEWEST
    for length in (2, 3, 4):
        top_D = _top(found, length, len(texts)) / bytes_D
        values[f"repetition.top_{length}"] = np.where(enough_D, top_D, 0)
    lengths = (5, 10, 20) if unspaced_D.any() else (5, 10)
    again = {length: _again(found, length, len(texts)) / bytes_D for length in lengths}
    values["repetition.again_5"] = np.where(unspaced_D, again[10], again[5])
    values["repetition.again_10"] = np.where(unspaced_D, again[lengths[-1]], again[10])
    return values


def line_ends(texts: Sequence[str], end: bytes) -> np.ndarray:
    """Places at which a line or a paragraph ends, counted over the bytes of all texts: int[N]."""
    joined = np.frombuffer("\n".join([*texts, ""]).encode(), dtype=np.uint8)
    ends = joined == ord("\n")
    if end == b"\n\n":
        ends[:-1] &= ends[1:]
        ends[np.cumsum([len(text.encode()) + 1 for text in texts]) - 1] = True
    return np.flatnonzero(ends)


def lines(found: Words, ends_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first word of each line that has any, and the first of the next: int[N], int[N]."""
    borders = np.unique(np.searchsorted(found.starts_W, np.concatenate([[0], ends_N, found.stops_W[-1:] + 1])))
    return borders[:-1], borders[1:]


def _stretches(found: Words, ends_N: np.ndarray, bytes_D: np.ndarray) -> np.ndarray:
    """Share of bytes in lines that were there before."""
    if not len(found.numbers_W):
        return np.zeros(len(bytes_D))
    first_N, next_N = lines(found, ends_N)
    numbers_N, documents_N = spans(found, first_N, next_N), found.documents_W[first_N]
    before_N = seen(numbers_N, documents_N)
    sizes_N = found.stops_W[next_N - 1] - found.starts_W[first_N]
    return np.bincount(documents_N, weights=sizes_N * before_N, minlength=len(bytes_D)) / bytes_D


def seen(numbers_N: np.ndarray, documents_N: np.ndarray) -> np.ndarray:
    """Whether a number was there before in the same document: bool[N]."""
    order, same = _sorted(numbers_N, documents_N)
    before_N = np.zeros(len(numbers_N), dtype=bool)
    before_N[order[1:][same]] = True
    return before_N


def _sorted(numbers_N: np.ndarray, documents_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An order in which equal numbers of a document are neighbours, first ones first; whether each equals the last.

    The place is written into the lower bits of the number, so that plain sorting, several times as fast, gives both.
    """
    places = np.uint64((1 << max(1, len(numbers_N).bit_length())) - 1)
    keys_N = (numbers_N ^ (documents_N.astype(np.uint64) * MIXER)) & ~places
    keys_N |= np.arange(len(numbers_N), dtype=np.uint64)
    keys_N.sort()
    order = (keys_N & places).astype(np.int64)
    keys_N &= ~places
    ordered_N = documents_N[order]
    return order, (keys_N[1:] == keys_N[:-1]) & (ordered_N[1:] == ordered_N[:-1])


def _near(found: Words, count_D: np.ndarray) -> np.ndarray:
    """Share of words that were among the NEAR before."""
    order, same = _sorted(found.numbers_W, found.documents_W)
    near = order[1:][same & (order[1:] - order[:-1] <= NEAR)]
    return np.bincount(found.documents_W[near], minlength=len(count_D)) / np.maximum(count_D, NEAR)


def _runs(found: Words, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the runs that end in the document in which they begin, and their first words."""
    numbers_W = runs(found, length)
    first_N = np.flatnonzero(numbers_W)
    return numbers_W[first_N], first_N


def _top(found: Words, length: int, documents: int) -> np.ndarray:
    """Bytes of the most frequent run of each document, all its places together; 0 if none comes twice."""
    numbers_N, first_N = _runs(found, length)
    order, same = _sorted(numbers_N, found.documents_W[first_N])
    heads = np.flatnonzero(np.concatenate([[True], ~same, [True]])) if len(order) else np.zeros(1, dtype=int)
    times, words = np.diff(heads), first_N[order[heads[:-1]]]
    words, times = words[times > 1], times[times > 1]
    top_D = np.zeros(documents)
    sizes = found.stops_W[words + length - 1] - found.starts_W[words]
    np.maximum.at(top_D, found.documents_W[words], times * sizes)
    return top_D


def _again(found: Words, length: int, documents: int) -> np.ndarray:
    """Bytes of words in runs that were there before, each word once."""
    numbers_N, first_N = _runs(found, length)
    again = first_N[seen(numbers_N, found.documents_W[first_N])]
    steps_W = np.zeros(len(found.numbers_W) + 1, dtype=np.int64)
    steps_W[again] = 1
    steps_W[again + length] -= 1
    covered_W = np.cumsum(steps_W[:-1]) > 0
    sizes_W = (found.stops_W - found.starts_W)[covered_W] + 1
    return np.bincount(found.documents_W[covered_W], weights=sizes_W, minlength=documents)
