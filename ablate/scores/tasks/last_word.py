"""The last word of a passage, which stands earlier in it, as in LAMBADA (arXiv 1606.06031), against three others of it.

The four are neighbours when the words of the passage are sorted by how often they stand in other documents, and the
right one is first to fourth of them by lot: a model that only knows common words is at chance.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ablate.corpus.document import order_key
from ablate.run.evaluate import Task
from ablate.run.fields import strict
from ablate.scores.items import Item
from ablate.scores.tasks.making import FEW_SOURCES, Place, Text, before, item, places, sentences

WRONG = 3
LEAST_CONTEXT = 150  # characters
LEAST_WORD = 4  # letters; shorter words are mostly grammar
WORD = re.compile(rf"[^\W\d_]{{{LEAST_WORD},}}")
LAST = re.compile(rf"(?<=[ \n])({WORD.pattern})[.!?]$")


@strict
class Options:
    """None."""


class Passage(NamedTuple):
    name: str
    source: str
    context: str
    word: str


def make(task: Task, options: Options, text: Text, wanted: int) -> list[Item]:
    documents = {domain: places(task, text, domain) for domain in text.domains}
    common = Counter(word for each in documents.values() for place in each for word in _words(place))
    found = {}
    for domain in task.domains or text.domains:
        for group in _alike(documents[domain]):
            own = Counter(word for place in group for word in _words(place))
            for each in (passage for place in group for passage in _passages(place)):
                if wrong := _others(each, common, own, task.seed):
                    found.setdefault((each.context, each.word), (each, wrong))
    drawn = sorted(found.values(), key=lambda pair: order_key(f"{task.seed} {pair[0].name}"))[:wanted]
    return [item(each.name, each.source, each.context, each.word, wrong) for each, wrong in drawn]


def _words(place: Place) -> list[str]:
    return WORD.findall(place.document.text.casefold())


def _alike(documents: list[Place]) -> Iterable[list[Place]]:
    """Documents that share words of their own: those of a source, or each by itself where sources are few."""
    few = len({place.document.source for place in documents}) < FEW_SOURCES
    groups = defaultdict(list)
    for place in documents:
        groups[place.name if few else place.document.source].append(place)
    return groups.values()


def _passages(place: Place) -> Iterator[Passage]:
    whole = place.document.text
    for sentence in sentences(whole):
        last = LAST.search(sentence[0])
        if last and sentence.start() >= LEAST_CONTEXT:
            begin = sentence.start() + last.start()
            context = before(whole, begin)
            if last[1] in WORD.findall(context):
                yield Passage(f"{place.name}/{begin}", place.document.source, context, last[1])


def _others(each: Passage, common: Counter[str], own: Counter[str], seed: int) -> list[str]:
    """Neighbours of the word in how common they are; none where it has fewer than three on a side."""
    alike = {word for word in WORD.findall(each.context) if word[0].isupper() == each.word[0].isupper()}
    others = {word for word in alike if not _same(word, each.word)}
    elsewhere = {word: common[word.casefold()] - own[word.casefold()] for word in {*others, each.word}}
    sort = sorted(elsewhere, key=lambda word: (elsewhere[word], order_key(word)))
    place = sort.index(each.word)
    if place < WRONG or place + WRONG >= len(sort):
        return []
    first = place - int.from_bytes(order_key(f"rank {seed} {each.name}")) % (WRONG + 1)
    return [word for word in sort[first : first + WRONG + 1] if word != each.word]


def _same(one: str, other: str) -> bool:
    """Forms of one word, as far as the beginning tells."""
    a, b = one.casefold(), other.casefold()
    return a.startswith(b[:LEAST_WORD]) or b.startswith(a[:LEAST_WORD])
