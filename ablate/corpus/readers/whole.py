"""Files that are one document each: text, code, manual pages, HTML, PDF."""

import codecs
import re
from collections.abc import Callable, Iterator

from ablate.corpus.document import Document
from ablate.corpus.readers.file import File
from ablate.corpus.readers.rows import Columns

# Where HTML says how it is encoded: within its first 1024 bytes (html.spec.whatwg.org, 13.2.3.2)
DECLARED = re.compile(rb"""<(?:meta|\?xml)[^>]*?(?:charset|encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
DECLARED_BYTES = 1024
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def text(format: str = "") -> Callable[[File, Columns], Iterator[Document]]:
    """A reader of files that are UTF-8."""

    def read(file: File, columns: Columns) -> Iterator[Document]:
        yield Document(file.text(), file.name, {"format": format} if format else {})

    return read


def read_html(file: File, columns: Columns) -> Iterator[Document]:
    with file.opened() as stream:
        yield Document(decoded(stream.read()), file.name, {"format": "html"})


def read_pdf(file: File, columns: Columns) -> Iterator[Document]:
    """Its bytes, a character each: there is no text before level 1."""
    with file.opened() as stream:
        yield Document(stream.read().decode("latin-1"), file.name, {"format": "pdf"})


def decoded(content: bytes, told: str | None = None) -> str:
    """HTML as text, as browsers take it: by its mark, as UTF-8 if it is, as it says itself or HTTP tells, or else as
    windows-1252, whose few undefined bytes become U+FFFD."""
    for mark, encoding in MARKS.items():
        if content.startswith(mark):
            return content.decode(encoding, errors="replace")
    declared = DECLARED.search(content, 0, DECLARED_BYTES)
    for encoding in ("utf-8", told, declared and declared[1].decode(), "windows-1252"):
        try:
            if encoding and codecs.lookup(encoding):
                return content.decode(encoding, errors="replace" if encoding == "windows-1252" else "strict")
        except (LookupError, ValueError):
            continue
    raise AssertionError  # windows-1252 with replacements fits all
