"""Pairs of made-up words, and the first word of one of them again: the second is to be recalled.

    bako: mute      MQAR (arXiv 2312.04927) as text. Attention looks it up; a state of fixed size has to hold all pairs,
    lidu: sova      and so fewer and fewer of them as `pairs` grows.
    ...
    bako:

All words have four letters and none stands twice, so only the text above can tell.
"""

import random
from typing import Annotated

from pydantic import Field

from ablate.run.evaluate import Task
from ablate.run.fields import strict
from ablate.scores.items import Item
from ablate.scores.tasks.making import Text, item

WRONG = 3
SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
WORDS = [first + second for first in SYLLABLES for second in SYLLABLES if first != second]


@strict
class Options:
    """How much is to be held."""

    pairs: Annotated[int, Field(ge=4, le=1000)] = 8  # that stand before the question


def make(task: Task, options: Options, text: Text, wanted: int) -> list[Item]:
    return [_recall(f"{options.pairs}/{task.seed}/{number}", options.pairs) for number in range(wanted)]


def _recall(key: str, pairs: int) -> Item:
    rng = random.Random(f"recall {key}")
    words = rng.sample(WORDS, 2 * pairs)
    asked, others = words[:pairs], words[pairs:]
    told = "\n".join(f"{first}: {second}" for first, second in zip(asked, others, strict=True))
    right, *wrong = rng.sample(range(pairs), 1 + WRONG)
    return item(key, key, f"{told}\n{asked[right]}: ", others[right], [others[number] for number in wrong])
