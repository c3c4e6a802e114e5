"""What is odd about the text of a row: bytes that no text has, and runs of tokens that were there before.

odd(b"ab\\xff\\x00") = 0.5      repeated([1, 2, 3, 1, 2, 3], 3) = 0.25: of four runs of three one was there before
"""

import codecs
from collections.abc import Sequence

CUT = 3  # bytes of a character that a row may begin or end within
CONTINUING = bytes(range(0x80, 0xC0))  # bytes of a character after its first
RUN = 5  # tokens
REPLACED = "\ufffd"  # what a program writes that could not read a character


def odd(text: bytes) -> float:
    """Share of bytes that are no UTF-8, that stand for a character which was lost, or that control a terminal."""
    whole = _whole(text)
    kept = sum(len(char.encode()) for char in whole.decode("utf-8", errors="ignore") if _usual(char))
    return 1 - kept / len(whole) if whole else 0.0


def repeated(tokens: Sequence[int], run: int = RUN) -> float:
    """Share of the runs of so many tokens that were there before in the row."""
    runs = [tuple(tokens[place : place + run]) for place in range(len(tokens) - run + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def shown(text: bytes) -> str:
    """On one line, for a terminal: what has no printed form is the sign of a lost character."""
    line = " ".join(_whole(text).decode("utf-8", errors="replace").split())
    return "".join(char if char.isprintable() else REPLACED for char in line)


def _usual(char: str) -> bool:
    return char != REPLACED and (char in "\t\n\r" or not (ord(char) < 32 or 127 <= ord(char) < 160))


def _whole(text: bytes) -> bytes:
    """Without the parts of characters that a row has cut at its ends."""
    begin = len(text) - len(text.lstrip(CONTINUING))
    begun = text[begin if begin <= CUT else 0 :]
    return begun[: codecs.utf_8_decode(begun, "ignore", False)[1]]
