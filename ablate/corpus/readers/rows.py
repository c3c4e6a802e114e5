"""Rows as documents: which column holds what.

    text                  the document
    messages              a dialogue: [{role, content}, ...], written by a chat template (`corpus.chat`)
    prompt, trace, answer a worked question, of which a target is made (`corpus.targets`)
    prompt, response      a question and its answer, as they are; where no space parts them a line break does
    prompt, chosen, rejected      with data.pairs=true: a question, a better and a worse answer, parted likewise
    chosen, rejected              likewise two dialogues, equal but for what the assistant says last

Dialogues may stand beside a prompt: one of messages is before both, and so is text where they begin with an answer.
What `data.columns` names is read; else a text, or what of the others is there. Pairs of one prompt are one source.
A row with a source has it. Rows without one are each a source of their own, `<file>:<number>`, as the field takes them:
chapters of a book, which must not straddle training and held-out text, need a `source`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ablate.corpus import chat, targets, turns
from ablate.corpus.document import Document, order_key
from ablate.corpus.readers.file import File
from ablate.corpus.turns import Part
from ablate.run.parts import require_member
from ablate.run.settings import SettingsError

# What a column may hold, and what it is called where `data.columns` does not say
USUAL = {
    "text": ("text",),
    "messages": ("messages",),
    "prompt": ("prompt",),
    "response": ("response", "completion"),
    "trace": ("trace",),
    "answer": ("answer",),
    "chosen": ("chosen",),
    "rejected": ("rejected",),
    "source": ("source",),
    "url": ("url",),
    "licence": ("licence", "license"),
    "language": ("language",),
}
META = ("url", "licence", "language")
TRACED = ("prompt", "trace", "answer")
FORMS = (("text",), ("messages",), ("prompt", "response"), TRACED)  # what a row may hold, the usual first
PAIRS = (("prompt", "chosen", "rejected"), ("chosen", "rejected"))  # where documents are pairs
HELD = {what for form in (*FORMS, *PAIRS) for what in form}


class Columns(NamedTuple):
    """What `data.columns` names, the template that dialogues are written by, and the target of worked questions."""

    named: Mapping[str, str] = {}
    template: str = ""
    target: str = ""
    pairs: bool = False

    @property
    def forms(self) -> tuple[tuple[str, ...], ...]:
        """What a row can be, the usual first."""
        if self.pairs:
            return PAIRS
        content = HELD & set(self.named)
        return (TRACED,) if self.target else tuple(form for form in FORMS if content <= set(form))

    def written(self) -> dict[str, str]:
        """The text of the template that dialogues are written by, if it is not the usual one."""
        return {"template": chat.template(self.template)} if self.template else {}

    @classmethod
    def of(cls, named: Mapping[str, str], template: str = "", pairs: bool = False) -> "Columns":
        """Raises SettingsError for what no column can hold."""
        for what, name in named.items():
            require_member("data.columns", what, USUAL)
            if not name:
                raise SettingsError(f"data.columns.{what}={name!r}: must be the name of a column")
        columns = cls(named, template, pairs=pairs)
        if wrong := (HELD - {what for form in (PAIRS if pairs else FORMS) for what in form}) & set(named):
            allowed = "rows of prompt, chosen and rejected" if pairs else "pairs, which need data.pairs=true"
            raise SettingsError(f"data.columns.{min(wrong)}={named[min(wrong)]}: data.pairs={pairs} is for {allowed}")
        if not columns.forms:
            names = " and ".join(what for what in named if what in HELD)
            raise SettingsError(f"data.columns: names {names}, of which a row can be one; leave out the others")
        return columns

    def among(self, file: File, there: Sequence[str]) -> dict[str, str]:
        """Which of the columns that are there hold what: {text: content, url: url}.

        Raises UserError for one that must be there and is not, or is there twice.
        """
        usual = {what: next((name for name in names if name in there), "") for what, names in USUAL.items()}
        known = {what: name for what, name in usual.items() if name} | dict(self.named)
        form = self._form(known)
        found = {what: name for what, name in known.items() if what in form or what not in HELD}
        for what, name in (dict.fromkeys(form, "") | found).items():
            name = name or usual[what] or USUAL[what][0]
            if name not in there:
                key = (
                    f"data.columns.{what}={name}"
                    if what in self.named
                    else f"name the right one by data.columns.{what}"
                )
                raise file.fault(f"no column {name!r} (it has {', '.join(map(str, there)) or 'none'}); {key}")
            if there.count(name) > 1:
                raise file.fault(f"two columns are called {name!r}")
        return found

    def _form(self, known: Mapping[str, str]) -> tuple[str, ...]:
        """What makes a document of a row: what is named, or the first of which all is there."""
        forms = self.forms
        return next((form for form in forms if set(form) <= set(known)), forms[0])


class Rows:
    """Makes documents of the rows of one file. Raises UserError that names the file and the row."""

    def __init__(self, file: File, columns: Columns):
        self.file, self.columns = file, columns
        self.there: tuple[str, ...] | None = None

    def document(self, row: Any) -> Document:
        """Of the row that `file.number` counts."""
        if not isinstance(row, dict):
            raise self.file.fault(f"must be a row of columns, not {type(row).__name__}")
        there = tuple(row)
        if there != self.there:
            self.there, self.found = there, self.columns.among(self.file, there)
        meta = {what: said for what in META if (said := _plain(row.get(self.found.get(what))))}
        if self.columns.pairs:
            asked, both = self._pair(row)
            named = self._source(row)  # without one, what is asked, in whatever file
            source = self.file.source(named, "") if named else f"asked:{order_key(asked).hex()[:16]}"
            return turns.pair_of(*both, source=source, meta=meta)
        source = self.file.source(self._source(row), self._alone(row))
        if "text" in self.found:
            return Document(self._text(row, "text"), source, meta)
        if "trace" in self.found:
            worked = targets.Worked(*(self._text(row, what) for what in TRACED))
            return targets.document(self.columns.target or targets.WHOLE, worked, source, meta)
        return turns.document(self._parts(row), source, meta)

    def _alone(self, row: Mapping[str, Any]) -> str | int:
        """What names the source of a row that names none: its number, and of a row that has none what it says first."""
        if self.file.number:
            return self.file.number
        first = next(what for what in ("text", "prompt", "messages") if what in self.found)
        said = json.dumps(row[self.found[first]], default=str) if first == "messages" else self._text(row, first)
        return order_key(said).hex()

    def _pair(self, row: Mapping[str, Any]) -> tuple[str, list[list[Part]]]:
        """What is asked, and both answers behind it."""
        better, worse = (row[self.found[what]] for what in PAIRS[1])
        if isinstance(better, list) and isinstance(worse, list):
            before = self._before(row)
            try:
                both = chat.pair(before + better, before + worse, chat.template(self.columns.template))
            except ValueError as error:
                raise self.file.fault(str(error)) from None
            return json.dumps([[said["role"], said["content"]] for said in (before + better)[:-1]]), both
        if "prompt" not in self.found:
            raise self.file.fault(
                f"no column 'prompt' (it has {', '.join(map(str, row))}), which must hold what was asked where chosen "
                "and rejected are text; name the right one by data.columns.prompt"
            )
        prompt, *answers = (self._text(row, what) for what in PAIRS[0])
        return prompt, [turns.pair(prompt, answer) for answer in answers]

    def _before(self, row: Mapping[str, Any]) -> list[Any]:
        """Messages before both dialogues of a pair."""
        prompt = row[self.found["prompt"]] if "prompt" in self.found else []
        if isinstance(prompt, list):
            return prompt
        first = next(iter(row[self.found["chosen"]]), None)
        answers = isinstance(first, dict) and first.get("role") == "assistant"
        return [{"role": "user", "content": prompt}] if answers else []

    def _parts(self, row: Mapping[str, Any]) -> list[Part]:
        if "messages" in self.found:
            try:
                return chat.parts(row[self.found["messages"]], chat.template(self.columns.template))
            except ValueError as error:
                raise self.file.fault(f"column {self.found['messages']!r}: {error}") from None
        return turns.pair(self._text(row, "prompt"), self._text(row, "response"))

    def _text(self, row: Mapping[str, Any], what: str) -> str:
        name = self.found[what]
        if not isinstance(row[name], str):
            raise self.file.fault(f"column {name!r} must be a string, not {type(row[name]).__name__}")
        return row[name]

    def _source(self, row: Mapping[str, Any]) -> str:
        name = self.found.get("source")
        source = row[name] if name else None
        if source is not None and (isinstance(source, bool) or not isinstance(source, str | int)):
            raise self.file.fault(f"column {name!r} must be a string, not {type(source).__name__}")
        return "" if source is None else _utf8(str(source))


def _plain(value: Any) -> str:
    """A url, licence or language as text; several of them with commas."""
    return _utf8(", ".join(map(str, value)) if isinstance(value, list) else str(value or ""))


def _utf8(text: str) -> str:
    """JSON can hold halves of surrogate pairs, which UTF-8 cannot."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
