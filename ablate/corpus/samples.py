"""What a teacher wrote for questions: judged, counted, and written as rows to train on.

    {"prompt", "trace", "answer", "right", "teacher", "seed", "id", "source", "kind"}    a row of traces
    {"prompt", "chosen", "rejected", "source", "id"}                                     a pair: a right and a wrong one

A prompt's samples share its source, so that none of them is held out while another is trained on. Several prompts may
have one source, such as a book.
"""

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from ablate.corpus import checker
from ablate.corpus.document import identity

REPEATED = "repeated"  # why a sample is not kept, besides what the reply and the checker say
FORM = re.compile(
    r"(?:\s*Steps:)?(?P<trace>.*?)(?:\n\s*|^\s*|(?<=[.!?]) +)(?:Answer:|####)(?P<answer>[^\n]*).*", re.DOTALL
)


class Sample(NamedTuple):
    """What a teacher wrote for a prompt."""

    source: str
    kind: str
    asked: str
    known: str
    number: int  # of the samples of this prompt, from 0
    text: str
    wrong: str = ""  # why the reply is none: cut, empty, garbled, refused

    @property
    def prompt(self) -> tuple[str, str]:
        """What all samples of a prompt have in common."""
        return self.source, self.asked

    @property
    def parsed(self) -> tuple[str, str]:
        """The trace and the answer; without a label, all of it is a trace."""
        match = FORM.fullmatch(self.text)
        return (match["trace"].strip(), match["answer"].strip()) if match else (self.text.strip(), "")


class Judged(NamedTuple):
    sample: Sample
    why: str  # it is not kept; nothing if it is

    @property
    def right(self) -> bool:
        """Whether it is right, be it for the first time or again."""
        return self.why in ("", REPEATED)

    def row(self, teacher: str, seed: int) -> dict[str, Any]:
        one, (trace, answer) = self.sample, self.sample.parsed
        key = identity(one.source, f"{one.asked}\0{teacher} {seed} {one.number}")
        row = {"prompt": one.asked, "trace": trace, "answer": answer, "right": not self.why, "teacher": teacher}
        row |= {"seed": seed, "id": key, "source": one.source, "kind": one.kind}
        return row | ({"why": self.why} if self.why else {})


def judged(samples: Iterable[Sample]) -> list[Judged]:
    """Each sample, and why it is not right; of equal ones of a prompt the first counts."""
    found, seen = [], set[tuple[str, ...]]()
    for sample in samples:
        trace, answer = sample.parsed
        why = sample.wrong or checker.wrong(trace, answer, sample.known)
        told = (*sample.prompt, sample.text.strip())
        found.append(Judged(sample, why or (REPEATED if told in seen else "")))
        seen.add(told)
    return found


def pairs(found: Sequence[Judged], teacher: str) -> Iterator[dict[str, Any]]:
    """Of each prompt, right samples beside wrong ones, as many as there are of both; none that is no whole reply."""
    of_prompt = defaultdict[tuple[str, str], tuple[list[Sample], list[Sample]]](lambda: ([], []))
    for one in found:
        if not one.sample.wrong and one.why != REPEATED:
            of_prompt[one.sample.prompt][bool(one.why)].append(one.sample)
    for (source, asked), (right, wrong) in of_prompt.items():
        different = {sample.text.strip(): sample for sample in wrong}.values()
        for number, (good, bad) in enumerate(zip(right, different, strict=False)):
            key = identity(source, f"{asked}\0{teacher} pair {number}")
            texts = {"chosen": good.text.strip(), "rejected": bad.text.strip()}
            yield {"prompt": f"Question: {asked}\n", **texts, "source": source, "id": key}


def counted(found: Sequence[Judged]) -> dict[str, Counter[str]]:
    """By kind, how many samples are right (an empty reason), and how many not, by the reason; the kinds by name."""
    by_kind = sorted(found, key=lambda one: one.sample.kind)
    return {
        kind: Counter(one.why for one in group)
        for kind, group in itertools.groupby(by_kind, key=lambda one: one.sample.kind)
    }
