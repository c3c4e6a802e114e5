"""Level 5: text made of documents: questions with their answers, or reasoning made explicit.

What is made is a document of its own. It has the source of the document that it was made of, and so is on the same side
of the split, and names that one as its parent. The parent goes, unless `corpus.teacher.parents`.

    endpoint    questions and answers, by a teacher
    reasoning   the text once more with its steps and terms explained, by a teacher
    template    questions by rule (`corpus.template`): no model is needed
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from ablate.corpus import prompts, template
from ablate.corpus.chunks import Asked
from ablate.corpus.document import Document
from ablate.corpus.endpoint import Endpoint, costs
from ablate.corpus.guards import talk
from ablate.corpus.replies import Reply
from ablate.corpus.step import Measured, Result, Step
from ablate.run.corpus import Teacher
from ablate.run.parts import require_member

LEVEL = 5
INHERITED = ("url", "licence", "language", "domain")
MARKS = " *_#\n"
# Pairs as teachers write them: **Question 1:** ... / **Answer:** ...
ASKED, ANSWERED = (rf"^[\W\d]*(?:{word}|{word[0]})\W*\d*\W*:" for word in ("Question", "Answer"))
PAIR = re.compile(rf"{ASKED}(.*?){ANSWERED}(.*?)(?={ASKED}|\Z)", re.IGNORECASE | re.MULTILINE | re.DOTALL)


def steps(teacher: Teacher, endpoint: Endpoint | None) -> list[Step]:
    """What level 5 does to a domain; `endpoint` may be None for a maker that needs none."""
    require_member("corpus.teacher.maker", teacher.maker, MAKERS)
    return [MAKERS[teacher.maker](teacher, endpoint)]


def needs_endpoint(teacher: Teacher) -> bool:
    require_member("corpus.teacher.maker", teacher.maker, MAKERS)
    return issubclass(MAKERS[teacher.maker], Written)


class Made(NamedTuple):
    """Of one document: a text, or none, and what is to be counted."""

    text: str
    noted: dict[str, float]


class Template:
    """Questions by rule."""

    name, rounds = "complete.template", 0

    def __init__(self, teacher: Teacher, endpoint: Endpoint | None) -> None:
        self.parents = teacher.parents

    def key(self) -> dict[str, Any]:
        return {"name": self.name, "version": template.VERSION, "parents": self.parents}

    def look(self, round: int, documents: Sequence[Document], told: Any) -> Any:
        raise AssertionError("no round")

    def decide(self, round: int, notes: Sequence[Any], told: Any) -> Any:
        raise AssertionError("no round")

    def apply(self, documents: Sequence[Document], told: Any, first: int) -> list[Result]:
        return [completed(document, self._made(document), self) for document in documents]

    def _made(self, document: Document) -> Made:
        questions = template.questions(document.text)
        kinds = Counter(f"complete.{one.kind}" for one in questions)
        return Made("\n\n".join(one.text for one in questions), dict(kinds))


class Written(Asked):
    """By a teacher: subclasses say what is read out of a reply."""

    told = ""

    def __init__(self, teacher: Teacher, endpoint: Endpoint | None) -> None:
        assert endpoint, "this maker asks a teacher"
        super().__init__(endpoint, self.told)
        self.parents = teacher.parents

    def key(self) -> dict[str, Any]:
        return super().key() | {"parents": self.parents}

    def apply(self, documents: Sequence[Document], told: Any, first: int) -> list[Result]:
        replies = [[reply for _, reply in pieces if reply] for pieces in self.replies(documents, told)]
        return [completed(*pair, self) for pair in zip(documents, map(self._made, replies), strict=True)]

    def _made(self, replies: list[Reply]) -> Made:
        texts, counts = list[str](), Counter[str]()
        for reply in replies:
            found = self.read(reply)
            texts += found
            counts["complete.made"] += len(found)
            if not found:
                counts[f"complete.without.{reply.wrong or 'unread'}"] += 1
        return Made("\n\n".join(texts), counts | costs(replies))

    def read(self, reply: Reply) -> list[str]:
        raise NotImplementedError


class Questions(Written):
    name, told = "complete.questions", prompts.QUESTIONS

    def read(self, reply: Reply) -> list[str]:
        """The pairs in it, each once; of a reply that is cut, the last may be half a pair."""
        pairs = [tuple(" ".join(part.strip(" *\n").split(" ")) for part in pair) for pair in PAIR.findall(reply.text)]
        whole = pairs[:-1] if reply.wrong == "cut" else pairs
        return list(
            dict.fromkeys(f"Question: {asked}\nAnswer: {answer}" for asked, answer in whole if asked and answer)
        )


class Reasoning(Written):
    name, told = "complete.reasoning", prompts.REASONING

    def read(self, reply: Reply) -> list[str]:
        return [] if reply.wrong or talk("", reply.text) else [reply.text.strip()]


MAKERS: dict[str, type[Template | Written]] = {"endpoint": Questions, "reasoning": Reasoning, "template": Template}


def completed(document: Document, made: Made, step: Template | Written) -> Result:
    """The document that was made, with its parent where that stays."""
    stays = [document] if step.parents else []
    if made.text:
        return Result([*stays, child(document, made.text, step.key())], noted=made.noted)
    gone = None if stays else Measured("complete.nothing", 0, -1)
    return Result(stays, removed=gone, noted=made.noted)


def child(parent: Document, text: str, key: dict[str, Any]) -> Document:
    """Named after its parent, the step and its text."""
    own = json.dumps([parent.meta["id"], key, text], sort_keys=True)
    meta = {name: parent.meta[name] for name in INHERITED if name in parent.meta}
    name = hashlib.sha256(own.encode()).hexdigest()[:32]
    return Document(text, parent.source, meta | {"id": name, "level": LEVEL, "parents": [parent.meta["id"]]})
