"""The rest of a sentence of held-out text, right and with one thing wrong, as in BLiMP (arXiv 1912.00582).

Every form is right as often as it is wrong ("is" against "are" as often as "are" against "is"), and the commoner of two
numbers as often as the rarer: which form is common says nothing. Words in another order are as common as before.
"""

import dataclasses
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ablate.run.evaluate import Task
from ablate.run.fields import strict
from ablate.run.parts import require_member
from ablate.scores.items import Item
from ablate.scores.tasks.making import Place, Text, before, item, ordered, places
from ablate.scores.tasks.rules import RULES, Change

NUMBER = re.compile(r"\b\d+\b")
END = re.compile(r"[.!?](?=\s|$)|\n\s*\n|$")
END_OF_LINE = re.compile(r"$", re.MULTILINE)
LONGEST_REST = 200  # characters
LEAST_CONTEXT = 2


@strict
class Options:
    """What may be wrong."""

    rules: list[str] = dataclasses.field(
        default_factory=list
    )  # of `tasks.rules.RULES`, asked in equal parts; empty: all


class Pair(NamedTuple):
    name: str
    source: str
    context: str
    right: str
    wrong: str
    forms: tuple[str, str] | None  # the right one and the wrong one, where one may be commoner


def check(key: str, task: Task, options: Options) -> None:
    for rule in options.rules:
        require_member(f"{key}.options.rules", rule, RULES)


def make(task: Task, options: Options, text: Text, wanted: int) -> list[Item]:
    documents = [place for domain in task.domains or text.domains for place in places(task, text, domain)]
    numbers = Counter(number for place in documents for number in NUMBER.findall(place.document.text))
    of_rules = [_balanced(_pairs(documents, rule, numbers), task.seed) for rule in options.rules or RULES]
    in_turn = (pair for pairs in itertools.zip_longest(*of_rules) for pair in pairs if pair)
    return [item(p.name, p.source, p.context, p.right, [p.wrong]) for p in itertools.islice(in_turn, wanted)]


def _pairs(documents: Iterable[Place], rule: str, numbers: Counter[str]) -> Iterator[Pair]:
    """One of a sentence at most; a text that stands twice counts once."""
    seen = set()
    for place in documents:
        whole, done = place.document.text, 0
        for change in sorted(RULES[rule](whole)):
            end = (END_OF_LINE if rule == "brackets" else END).search(whole, change.start + len(change.right))
            stop = end.end() if end else len(whole)
            context = before(whole, change.start)
            if change.start < done or stop - change.start > LONGEST_REST or len(context.strip()) < LEAST_CONTEXT:
                continue
            rest, forms = whole[change.start + len(change.right) : stop].rstrip(), _forms(change, whole, numbers)
            name = f"{rule}/{place.name}/{change.start}"
            pair = Pair(name, place.document.source, context, change.right + rest, change.wrong + rest, forms)
            if (pair.context, pair.right) not in seen:
                seen.add((pair.context, pair.right))
                done = stop
                yield pair


def _forms(change: Change, whole: str, numbers: Counter[str]) -> tuple[str, str] | None:
    """What is balanced: the two forms, or which of two numbers is the commoner. None of words in another order."""
    if not change.exchange:
        return change.right, change.wrong
    if not change.right.isdecimal():
        return None
    own = Counter(NUMBER.findall(whole))

    def common(form: str) -> tuple[int, bool, int]:  # by threes: of few, one more or less says little
        return (numbers[form] - own[form]) // 3, int(form) % 10 == 0, -int(form)  # round and small ones are common

    return ("commoner", "rarer") if common(change.right) > common(change.wrong) else ("rarer", "commoner")


def _balanced(pairs: Iterable[Pair], seed: int) -> list[Pair]:
    """In the order of the seed; of two forms as many with the one right as with the other, one after the other."""
    by_forms: defaultdict[tuple[str, str], list[Pair]] = defaultdict(list)
    twos: list[tuple[Pair, ...]] = []
    for pair in ordered(pairs, seed):
        if pair.forms:
            by_forms[pair.forms].append(pair)
        else:
            twos.append((pair,))
    for one, other in [forms for forms in by_forms if forms < forms[::-1]]:
        twos += zip(by_forms[one, other], by_forms[other, one], strict=False)
    return [pair for two in ordered([(two[0].name, two) for two in twos], seed) for pair in two[1]]
