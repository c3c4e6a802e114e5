"""Whether a worked answer is right: its end is the answer that is known, and all its arithmetic re-computes.

wrong("48 / 2 = 24. 48 + 24 = 73.", "72", "72")      "arithmetic"
wrong("48 / 2 = 24. 48 + 24 = 72.", "71", "72")      "answer"
wrong("48 / 2 = 24. 48 + 24 = 72.", "72", "72")      ""
"""

import re
from decimal import Decimal

from ablate.corpus import arithmetic

NO_ANSWER, ANSWER, ARITHMETIC = "no answer", "answer", "arithmetic"


def wrong(trace: str, answer: str, known: str) -> str:
    """Why a worked answer is wrong; nothing if it is right."""
    if not answer.strip():
        return NO_ANSWER
    if not same(answer, known):
        return ANSWER
    return "" if all(arithmetic.holds(*sides) for sides in arithmetic.equations(trace)) else ARITHMETIC


def same(answer: str, known: str) -> bool:
    """Whether two answers are one: as text, or as a number written otherwise; 2/4 is not 1/2 in lowest terms."""
    a, b = (_plain(text) for text in (answer, known))
    return a == b or (_is_number(a) and _is_number(b) and Decimal(a) == Decimal(b))


def _plain(text: str) -> str:
    bare = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text.strip().casefold().translate(arithmetic.SIGNS))
    return re.sub(r"^[\s.,:;!?*`]+(?=\S)(?!\d)|[\s.,:;!?*`%]+$", "", " ".join(bare.split()))


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"-?(?:\d+(?:\.\d+)?|\.\d+)", text))
