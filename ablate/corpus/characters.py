"""What the characters of many documents tell, counted over all of them at once.

Shapes: C characters of all texts with a line's end between them, D documents.
"""

import functools
import sys
import unicodedata
from collections.abc import Sequence

import numpy as np

SPACE, LETTER, UNSPACED, DIGIT, SIGN, BAD = range(6)
WIDTH = 8  # classes fit into three bits
LONG = 60  # characters of a word that no language has
# First characters of what UTF-8 becomes when it is read as Shift JIS, or (lost characters) as GBK; in no text otherwise
WRONG = "縺繧繝锟"
# Scripts of which every character is a word (`corpus.words`): kana, Chinese characters, wide letters
RANGES = [(0x3041, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF), (0xFF10, 0xFF9F), (0x20000, 0x3FFFF)]
CLASS_OF = {"Z": SPACE, "L": LETTER, "M": LETTER, "N": DIGIT, "P": SIGN, "S": SIGN, "C": BAD}


def counts(texts: Sequence[str]) -> dict[str, np.ndarray]:
    """Shares by name, each float[D]; `letters`; `unspaced`: whether most of them are of a script without spaces."""
    codes_C = np.frombuffer("\n".join([*texts, ""]).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    sizes_D = np.array([len(text) + 1 for text in texts], dtype=np.int64)
    stops_D = np.cumsum(sizes_D)
    starts_D = stops_D - sizes_D
    class_C = classes()[codes_C]
    document_C = np.repeat(np.arange(len(texts), dtype=np.int32) * WIDTH, sizes_D)
    document_C += class_C
    count_DK = np.bincount(document_C, minlength=len(texts) * WIDTH).reshape(-1, WIDTH)
    same_C = np.zeros(len(codes_C), dtype=bool)
    np.equal(codes_C[1:], codes_C[:-1], out=same_C[1:])
    same_C &= class_C != SPACE
    ruled_C = same_C & (class_C == SIGN)  # a line drawn under a title is one sign
    ruled_D = _within(np.cumsum(ruled_C), starts_D, stops_D)
    all_D = np.maximum(1, count_DK.sum(axis=1) - count_DK[:, SPACE] - ruled_D)
    return {
        "unspaced": count_DK[:, UNSPACED] > count_DK[:, LETTER],
        "letters": count_DK[:, LETTER] + count_DK[:, UNSPACED],
        "garbled.characters": count_DK[:, BAD] / all_D,
        "garbled.codes": _within(_long_words(codes_C), starts_D, stops_D) / all_D,
        "symbols.signs": (count_DK[:, SIGN] - ruled_D) / all_D,
        "symbols.digits": count_DK[:, DIGIT] / all_D,
        "repetition.characters": (_within(np.cumsum(same_C), starts_D, stops_D) - ruled_D) / all_D,
        "odd": _within(np.cumsum(_odd_pairs(codes_C)), starts_D, stops_D) / all_D,
    }


@functools.cache
def classes() -> np.ndarray:
    """The class of every code point, as this Python's tables have them (`unicodedata.unidata_version`)."""
    found = np.full(sys.maxunicode + 1, BAD, dtype=np.uint8)
    for first, last in ((0, 0x30000), (0xE0000, 0xE0200)):
        found[first:last] = [CLASS_OF[unicodedata.category(chr(code))[0]] for code in range(first, last)]
    for first, last in RANGES:
        part = found[first : last + 1]
        part[part == LETTER] = UNSPACED
    found[0x30000:0x33480] = UNSPACED
    found[[ord(space) for space in "\n\t"]] = SPACE
    found[[0xAD, 0x200C, 0x200D, 0x200E, 0x200F, 0x2060, *range(0xFE00, 0xFE10), *range(0xE0020, 0xE0080)]] = SPACE
    found[[0xFFFC, 0xFFFD, *map(ord, WRONG)]] = BAD  # of So and of letters: what stands for something lost
    return found


@functools.cache
def _odd() -> np.ndarray:
    """1: letters that begin what UTF-8 becomes when it is read byte by byte. 2: those that follow."""
    found = np.zeros(sys.maxunicode + 1, dtype=np.uint8)
    found[0x80:0x250] = found[0x2010:0x2123] = 3
    found[[0x420, 0x421, 0x39E, 0x39F, 0xC3]] = 1  # of Windows-1251 and -1253
    found[0x400:0x460] |= 2
    return found


def _odd_pairs(codes_C: np.ndarray) -> np.ndarray:
    """Where two characters stand side by side that often do in text of a wrong encoding, and rarely otherwise."""
    odd_C = _odd()[codes_C]
    pairs_C = np.zeros(len(codes_C), dtype=bool)
    np.not_equal((odd_C[:-1] & 1) & (odd_C[1:] >> 1), 0, out=pairs_C[1:])
    return pairs_C


@functools.cache
def _coding() -> np.ndarray:
    found = np.zeros(sys.maxunicode + 1, dtype=bool)
    found[[*b"0123456789+/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"]] = True
    return found


def _long_words(codes_C: np.ndarray) -> np.ndarray:
    """How many characters up to each are in long words of base64 or of hexadecimal digits: int[C]."""
    coding_C = np.zeros(len(codes_C) + 2, dtype=np.int8)
    coding_C[1:-1] = _coding()[codes_C]
    changes = np.flatnonzero(coding_C[1:] != coding_C[:-1])
    starts, stops = changes[::2], changes[1::2]
    long = stops - starts >= LONG
    steps_C = np.zeros(len(codes_C) + 1, dtype=np.int64)
    steps_C[starts[long]] = 1
    steps_C[stops[long]] -= 1
    return np.cumsum(np.cumsum(steps_C))[:-1]


def _within(totals_C: np.ndarray, starts_D: np.ndarray, stops_D: np.ndarray) -> np.ndarray:
    """Of running sums, what each document adds."""
    return totals_C[stops_D - 1] - np.where(starts_D > 0, totals_C[starts_D - 1], 0)
