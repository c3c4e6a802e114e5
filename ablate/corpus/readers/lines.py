"""JSON: a row a line (.jsonl, .ndjson), or a file that is a row or an array of rows (.json)."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import IO, Any

from ablate.corpus.document import Document
from ablate.corpus.readers.file import File
from ablate.corpus.readers.rows import Columns, Rows

MARK = re.compile(r"[^ \t\r\n]|$")
CHUNK = 1 << 20  # bytes of a .json file that are read at once, or as many as the window holds
NEAR_END = 16  # characters: a decoder that stops there, or in a string, may stop for want of more


def read_lines(file: File, columns: Columns) -> Iterator[Document]:
    rows = Rows(file, columns)
    with file.opened() as stream:
        for file.number, line in enumerate(stream, start=1):
            text = line.decode("utf-8-sig" if file.number == 1 else "utf-8")  # a mark can only stand at the beginning
            if text.strip():
                yield rows.document(json.loads(text))


def read_json(file: File, columns: Columns) -> Iterator[Document]:
    """Rows of an array, a row alone, or rows one after the other, which often have this ending too."""
    file.unit, rows = "row", Rows(file, columns)
    with file.opened() as stream:
        for value in _values(file, _Window(stream)):
            yield rows.document(value)


def _values(file: File, window: "_Window") -> Iterator[Any]:
    array = window.next() == "["
    window.at += array
    while window.next() not in ("", "]"):
        file.number += 1
        yield window.value()
        if array and window.next() == ",":
            window.at += 1
            if window.next() in ("]", ""):
                raise window.broken("a value is missing")
        elif array and window.next() != "]":
            raise window.broken("a comma or the end of the array is missing")
    if array and not window.next():
        raise window.broken("the end of the array is missing")
    window.at += array
    if window.next():
        raise window.broken("more follows the end")


class _Window:
    """The part of a stream of JSON that holds the next value: no more is in memory."""

    def __init__(self, stream: IO[bytes]):
        self.stream, self.text, self.at = stream, "", 0
        self.decoder, self.utf8 = json.JSONDecoder(), codecs.getincrementaldecoder("utf-8-sig")()

    def next(self) -> str:
        """The character that comes next, blanks aside; nothing at the end."""
        while (mark := MARK.search(self.text, self.at)) is None or not mark[0]:
            self.at = len(self.text)
            if not self._more():
                return ""
        self.at = mark.start()
        return mark[0]

    def value(self) -> Any:
        while True:
            try:
                value, self.at = self.decoder.raw_decode(self.text, self.at)
                return value
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos > len(self.text) - NEAR_END
                if not cut or not self._more():
                    raise

    def broken(self, what: str) -> json.JSONDecodeError:
        return json.JSONDecodeError(what, self.text, self.at)

    def _more(self) -> bool:
        read = self.stream.read(max(CHUNK, len(self.text)))
        self.text = self.text[self.at :] + self.utf8.decode(read, final=not read)
        self.at = 0
        return bool(read)
