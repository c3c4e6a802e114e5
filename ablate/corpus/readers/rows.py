"""Rows as documents: which column holds what.

A row with a source has it. Rows without one are each a source of their own, `<file>:<number>`, as the field takes them:
chapters of a book, which must not straddle training and held-out text, need a `source`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ablate.corpus.document import Document
from ablate.corpus.readers.file import File
from ablate.run.parts import require_member
from ablate.run.settings import SettingsError

# What a column may hold, and what it is called where `data.columns` does not say
USUAL = {
    "text": ("text",),
    "source": ("source",),
    "url": ("url",),
    "licence": ("licence", "license"),
    "language": ("language",),
}
META = ("url", "licence", "language")


class Columns(NamedTuple):
    """What `data.columns` names."""

    named: Mapping[str, str] = {}

    @classmethod
    def of(cls, named: Mapping[str, str]) -> "Columns":
        """Raises SettingsError for what no column can hold."""
        for what, name in named.items():
            require_member("data.columns", what, USUAL)
            if not name:
                raise SettingsError(f"data.columns.{what}={name!r}: must be the name of a column")
        return cls(named)

    def among(self, file: File, there: Sequence[str]) -> dict[str, str]:
        """Which of the columns that are there hold what: {text: content, url: url}.

        Raises UserError for one that must be there and is not, or is there twice.
        """
        usual = {what: next((name for name in names if name in there), "") for what, names in USUAL.items()}
        found = {what: name for what, name in usual.items() if name} | {"text": "text"} | dict(self.named)
        for what, name in found.items():
            if name not in there:
                key = f"data.columns.{what}={name}" if what in self.named else "name the right one by data.columns.text"
                raise file.fault(f"no column {name!r} (it has {', '.join(map(str, there)) or 'none'}); {key}")
            if there.count(name) > 1:
                raise file.fault(f"two columns are called {name!r}")
        return found


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
        text = self._text(row)
        meta = {what: said for what in META if (said := _plain(row.get(self.found.get(what))))}
        return Document(text, self._source(row) or f"{self.file.name}:{self.file.number}", meta)

    def _text(self, row: Mapping[str, Any]) -> str:
        name = self.found["text"]
        if not isinstance(row[name], str):
            raise self.file.fault(f"column {name!r} must be a string, not {type(row[name]).__name__}")
        return row[name]

    def _source(self, row: Mapping[str, Any]) -> str:
        name = self.found.get("source")
        source = row[name] if name else None
        if source is not None and (isinstance(source, bool) or not isinstance(source, str | int)):
            raise self.file.fault(f"column {name!r} must be a string, not {type(source).__name__}")
        return "" if source is None else _utf8(str(source))


def described(row: Mapping[str, Any], named: Mapping[str, str]) -> dict[str, str]:
    """What a row says of its text in columns of the usual names, or of those that are named."""
    names = {what: (named[what],) if what in named else USUAL[what] for what in META}
    found = {what: _plain(next((row[name] for name in names[what] if name in row), "")) for what in META}
    return {what: said for what, said in found.items() if said}


def _plain(value: Any) -> str:
    """A url, licence or language as text; several of them with commas."""
    return _utf8(", ".join(map(str, value)) if isinstance(value, list) else str(value or ""))


def _utf8(text: str) -> str:
    """JSON can hold halves of surrogate pairs, which UTF-8 cannot."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
