"""Documents of several parts, of which some are to be learnt: a question and its answer, a dialogue.

    Document("Question: 2 + 2?\\nAnswer: 4", source, {"parts": [["prompt", 24], ["response", 2]]})

`text` is whole, as the model reads it; `meta["parts"]` says who wrote which characters of it, one after the other. A
document is cut into tokens part by part, so that a prompt is cut as it will be when it stands alone.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from ablate.corpus.document import Document, cleaned_text, plain, without_blank_lines
from ablate.run.settings import SettingsError, UserError

PARTS = "parts"
ANSWERS, ALL = "answers", "all"
BETTER, WORSE = "chosen", "rejected"  # roles of the second and the fourth part of a pair
ANSWERING = ("response", "assistant")  # who writes answers: of rows of prompt and response, and of dialogues


class Part(NamedTuple):
    role: str
    text: str


def document(parts: Iterable[Part], source: str, meta: Mapping[str, Any]) -> Document:
    """The document of these parts, clean; parts that are then empty are left out."""
    return _of(_cleaned(parts), source, meta)


def pair(prompt: str, response: str) -> list[Part]:
    """A question and its answer; a line break parts them unless a space does."""
    apart = not prompt or not response or prompt[-1].isspace() or response[0].isspace()
    return [Part("prompt", prompt if apart else f"{prompt}\n"), Part("response", response)]


def pair_of(better: Iterable[Part], worse: Iterable[Part], source: str, meta: Mapping[str, Any]) -> Document:
    """A question with a better and a worse answer, each as question and answer; what is empty of it is left out."""
    found = list[Part]()
    for asked_and_said, role in ((better, BETTER), (worse, WORSE)):
        asked, said = asked_and_said
        found += _cleaned([asked, said._replace(role=role)])
    return _of(found, source, meta)


def has_parts(document: Document) -> bool:
    return PARTS in document.meta


def parts_of(document: Document, domain: str) -> list[Part]:
    """The parts of a document. Raises UserError where they are not its text any more."""
    found, begin = [], 0
    for role, size in document.meta[PARTS]:
        found.append(Part(role, document.text[begin : begin + size]))
        begin += size
    if begin != len(document.text):
        raise UserError(
            f"domain {domain}: a step of data.level changed documents of which a part counts, and it is not known any "
            "more which; leave that step out (corpus.rules, corpus.skip), or the level at 0"
        )
    return found


def cleaned(document: Document) -> Document:
    """The document with its text as `document.clean` has it, whole or part by part."""
    if not has_parts(document):
        return document._replace(text=cleaned_text(document))
    kept = _cleaned(parts_of(document, document.source))
    return _of(kept, document.source, document.meta)


def counting(key: str, what: str) -> Collection[str] | None:
    """The roles whose tokens count; None: all. `what`: answers, all, or roles with a + between them."""
    if what == ALL:
        return None
    roles = ANSWERING if what == ANSWERS else tuple(what.split("+"))
    if not all(roles):
        raise SettingsError(f"{key}={what}: must be {ANSWERS}, {ALL}, or roles as in user+assistant")
    return roles


def _of(parts: list[Part], source: str, meta: Mapping[str, Any]) -> Document:
    sizes = [[part.role, len(part.text)] for part in parts]
    return Document("".join(part.text for part in parts), source, {**meta, PARTS: sizes})


def _cleaned(parts: Iterable[Part]) -> list[Part]:
    """Each without odd characters; without space before the first and behind the last."""
    kept = [part._replace(text=plain(part.text)) for part in parts]
    while kept and not kept[-1].text.strip():
        kept.pop()
    while kept and not kept[0].text.strip():
        kept.pop(0)
    if kept:
        kept[0] = kept[0]._replace(text=without_blank_lines(kept[0].text))
        kept[-1] = kept[-1]._replace(text=kept[-1].text.rstrip())
    return [part for part in kept if part.text]
