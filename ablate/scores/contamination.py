"""Items that stand in the training text of a run: found by their words, and kept with the place as evidence.

    search({"stories": items}, corpus)       {"stories": [Found("stories", "weekdays/1000000005", "qa", ...)]}

Words are compared without case, punctuation and line breaks, in whatever form of Unicode they are written. What is
looked for is the context of an item with its right choice, and the item is contaminated where one training document
holds

    half of the 13-grams that no other item of the task has, and five of them if it has as many; or,
    of a context of less than 26 words, all of it, and the right choice behind it: at once, or up to 50 words later
    where the context is a question

What several items share (a template, a passage that all ask about) contaminates none of them: a question about a text
that is trained on is asked, unless the question stands there too. Less than five words are never contaminated, for
"3 + 4 = 7" stands everywhere. Nothing is taken out of the training text.
"""

import bisect
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

from ablate.data.heldout import texts_of
from ablate.data.tokens import Corpus
from ablate.run import whole
from ablate.run.progress import Progress
from ablate.scores.items import Item, digest
from ablate.scores.ngrams import WORD, Gram, Index, grams, normal, words_of

RULE = 2  # raise it when other items are found; what was kept under another number is searched for again
GRAM = 13  # words, as in GPT-3 (arXiv 2005.14165)
SHARE, LEAST_GRAMS = 0.5, 5  # of an item's own 13-grams
SHORT = 2 * GRAM  # words of a context below which it is looked for as a whole too
LEAST_WORDS = 5
LEAST_CONTEXT = 4  # words of a context that an answer is looked for behind
NEAR = 50  # words from a question to its answer
SPAN = 300  # characters of evidence
SILENT = 50_000_000  # bytes of text that are searched without a bar: some ten seconds
TEMPLATE = re.compile(r"^Question: |\s*Answer:$")  # put around questions by `scores.tasks`


@dataclass(frozen=True)
class Found:
    """Where an item stands in training text."""

    task: str
    item: str
    domain: str
    span: str  # the place, as it stands there
    share: float  # of the item's own n-grams that stand there; 1 of a short item


class Traced(NamedTuple):
    """An item in numbers of words."""

    task: str
    key: str
    own: frozenset[Gram]  # 13-grams of no other item
    context: Gram  # empty where the 13-grams are enough
    right: Gram
    near: int  # words that may stand between these two


def search(tasks: Mapping[str, Sequence[Item]], corpus: Corpus, progress: bool = False) -> dict[str, list[Found]]:
    """What of each task stands in the training text, which is read once for all; never for what was searched before."""
    paths = {task: corpus.folder / f"contamination-{digest(items)[:16]}.json" for task, items in tasks.items()}
    known = {task: whole.read_if(path, {"rule": None}) for task, path in paths.items()}
    missing = {task: items for task, items in tasks.items() if known[task]["rule"] != RULE}
    if missing:
        trace = Trace(missing)
        _read(trace, corpus, progress)
        for task in missing:
            found = [asdict(one) for _, one in sorted(trace.found.items()) if one.task == task]
            known[task] = {"rule": RULE, "fingerprint": corpus.fingerprint, "found": found}
            whole.write(paths[task], known[task])
    return {task: [Found(**one) for one in known[task]["found"]] for task in tasks}


def _read(trace: "Trace", corpus: Corpus, progress: bool) -> None:
    total = sum(corpus.manifest["domains"][domain]["train"]["bytes"] for domain in corpus.domains)
    done = 0
    with Progress(total, progress and total > SILENT, "byte") as bar:
        for domain in corpus.domains:
            for texts in texts_of(corpus, domain, "train"):
                bar.at(done, f"searching {domain} for items of tasks")
                trace.read(domain, texts)
                done += sum(len(text.encode()) for text in texts)


class Trace:
    """Which items stand in text that is read: of each, the document that holds most of it."""

    def __init__(self, tasks: Mapping[str, Sequence[Item]]) -> None:
        self.found: dict[int, Found] = {}
        self.words: dict[str, int] = {}  # by number, from 1; 0 is a word of no item
        self.traced = [each for task, items in tasks.items() for each in _traced(task, items, self.words)]
        own: dict[Gram, list[int]] = defaultdict(list)
        contexts: dict[int, dict[Gram, list[int]]] = defaultdict(lambda: defaultdict(list))
        for number, each in enumerate(self.traced):
            for run in each.own:
                own[run].append(number)
            if each.context:
                contexts[len(each.context)][each.context].append(number)
        self.own = [Index(own)] if own else []
        self.contexts = [Index(contexts[length]) for length in sorted(contexts)]

    def read(self, domain: str, texts: Sequence[str]) -> None:
        """Some documents of a domain."""
        numbered, begins = [], [0]
        for text in texts:
            numbered += [self.words.get(word, 0) for word in words_of(text)] + [0]  # 0: no run crosses an end
            begins.append(len(numbered))
        self._read_grams(domain, texts, np.array(numbered), begins)
        self._read_contexts(domain, texts, np.array(numbered), begins)

    def _read_grams(self, domain: str, texts: Sequence[str], words_N: np.ndarray, begins: list[int]) -> None:
        parts: dict[tuple[int, int], dict[Gram, int]] = defaultdict(dict)  # by document and item
        for start, run, numbers in _runs(self.own, words_N):
            document = bisect.bisect_right(begins, start) - 1
            for number in numbers:
                parts[document, number][run] = start - begins[document]
        for (document, number), places in parts.items():
            least, share = min(LEAST_GRAMS, len(self.traced[number].own)), len(places) / len(self.traced[number].own)
            if share >= SHARE and len(places) >= least:
                begin, end = min(places.values()), max(places.values()) + GRAM
                self._note(number, domain, texts[document], begin, end, share)

    def _read_contexts(self, domain: str, texts: Sequence[str], words_N: np.ndarray, begins: list[int]) -> None:
        for start, _, numbers in _runs(self.contexts, words_N):
            document = bisect.bisect_right(begins, start) - 1
            begin, stop = begins[document], begins[document + 1]
            for number in numbers:
                if end := _after(words_N[start:stop].tolist(), self.traced[number]):
                    self._note(number, domain, texts[document], start - begin, start + end - begin, 1.0)

    def _note(self, number: int, domain: str, text: str, begin: int, end: int, share: float) -> None:
        if number not in self.found or share > self.found[number].share:
            text = normal(text)
            places = list(WORD.finditer(text.lower()))
            span = text[places[begin].start() : places[end - 1].end()]
            self.found[number] = Found(*self.traced[number][:2], domain, span[:SPAN], round(share, 3))


def _runs(indices: Sequence[Index], words_N: np.ndarray) -> Iterator[tuple[int, Gram, list[int]]]:
    return ((start, run, index.runs[run]) for index in indices for start, run in index.find(words_N))


def _after(words: list[int], each: Traced) -> int:
    """The end of the right choice behind the context that `words` begin with; 0 where it does not follow."""
    end, right = len(each.context), list(each.right)
    for place in range(end, min(end + each.near, len(words) - len(right)) + 1):
        if words[place : place + len(right)] == right:
            return place + len(right)
    return 0


def _traced(task: str, items: Sequence[Item], words: dict[str, int]) -> Iterator[Traced]:
    """Words are numbered as they come, from 1."""

    def numbers(text: str) -> Gram:
        return tuple(words.setdefault(word, len(words) + 1) for word in words_of(text))

    parts = [(numbers(TEMPLATE.sub("", item.context)), numbers(item.choices[item.gold])) for item in items]
    of_items = [grams(context + right, GRAM) for context, right in parts]
    shared = Counter(gram for of_item in of_items for gram in of_item)
    for item, (context, right), of_item in zip(items, parts, of_items, strict=True):
        own = frozenset(gram for gram in of_item if shared[gram] == 1) or of_item  # of an item that stands twice: all
        yield Traced(task, item.key, own, *_short(context, right, item.context.endswith(("?", ":"))))


def _short(context: Gram, right: Gram, asks: bool) -> tuple[Gram, Gram, int]:
    """A context to be looked for as a whole, with the right choice behind it; or both as one where it is tiny."""
    whole = context + right
    if len(context) >= SHORT or not right or len(whole) < LEAST_WORDS:
        return (), (), 0
    if len(context) < LEAST_CONTEXT:
        return (whole, (), 0) if len(whole) < GRAM else ((), (), 0)
    return context, right, NEAR if asks else 0
