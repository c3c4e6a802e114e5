"""The checker of traces (`corpus.checker`), graded: of every trace one digit of one result is altered.

    ABLATE_GSM8K=train.jsonl python -m bench checker      rows of a text, or of traces

Generated questions are always there; the file of real ones is left out where it is not named.
"""

import os
import random
import re
from collections.abc import Sequence
from pathlib import Path

from ablate.corpus.checker import ARITHMETIC, wrong
from ablate.data import prompts
from ablate.data.prompts import Prompt
from bench.rounds import Row

FILE = "ABLATE_GSM8K"
NUMBER = r"\$?\d+(?:\.\d+)?"
# Of two numbers, and no part of a longer term
BEFORE, BEHIND = r"(?<![\d.,)(*/+x-])(?<![-+*/x] )", r"(?!\d|[.,]\d|[/%A-Za-z:])(?! ?[-+*/x(])"
RESULT = re.compile(rf"{BEFORE}{NUMBER} ?[-+*/x] ?{NUMBER} ?= ?\$?(\d+(?:\.\d+)?){BEHIND}")


def checker(quick: bool) -> list[Row]:
    """Share of altered traces that are caught, and of traces as they stand that are lost"""
    number = 1000 if quick else 20_000
    rows = _graded("generated questions", prompts.of_questions(0, number), 1.0, 0.0)
    if not (path := os.environ.get(FILE)):
        print(f"{FILE} names no file of real questions: they are left out")
        return rows
    found, _ = prompts.of_file(Path(path), 0, number if quick else 0)
    return [*rows, *_graded("real questions", [one for one in found if one.trace], 0.999, 0.01)]


def _graded(case: str, asked: Sequence[Prompt], caught: float, lost: float) -> list[Row]:
    rng = random.Random(0)
    slips = [slip for one in asked if (slip := _slipped(one.trace, rng))]
    found = [wrong(slip, "1", "1") == ARITHMETIC for slip in slips]
    whole = [wrong(one.trace, one.answer, one.answer) != "" for one in asked]
    return [
        Row(case, f"caught of {len(slips):,}", [sum(found) / len(slips)], caught),
        Row(case, f"lost of {len(asked):,}", [sum(whole) / len(asked)], lost, "at most"),
    ]


def _slipped(trace: str, rng: random.Random) -> str:
    """The trace with one digit of one result altered; nothing where it has no equation of two numbers."""
    if not (results := list(RESULT.finditer(trace))):
        return ""
    result = rng.choice(results)
    place = rng.choice([i for i in range(*result.span(1)) if trace[i].isdigit()])
    digit = rng.choice([digit for digit in "123456789" if digit != trace[place]])
    return trace[:place] + digit + trace[place + 1 :]
