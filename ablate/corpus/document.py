"""A document: a text, the source it was taken from, and what is known of it.

What `meta` may hold, every value plain JSON:

    id        names the document: 32 hex digits of sha256(source, text), or of its parents and the step that made it
    format    what `text` is written in: text (the default), html, pdf, man, code, markdown, rst
    url  licence  language  domain
    level     the level that made it, 0 to 5
    parents   ids of the documents that it was made of
    scores    {classifier: 0.83}
"""

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from typing import Any, NamedTuple

# Newlines and tabs are text. Other control characters, byte-order marks and halves of surrogate
# pairs (legal in JSON, not in UTF-8) are not.
_ODD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")
_NEWLINES = re.compile("\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")  # with breaks of pages, groups and records
_TERMINAL = re.compile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\n\x07\x1b]*(?:\x07|\x1b\\\\)|[()#%][0-~]|[78=>cDEHM])")
_OVERSTRUCK = re.compile("[^\n]\x08")  # bold and underlined letters of a printer
# Of windows-1252 read as latin-1, where ISO has controls that nobody uses: what browsers take them for
_QUOTES = {code: mark for code in range(0x80, 0xA0) if (mark := bytes([code]).decode("cp1252", "ignore"))}
_BLANK_LINES = re.compile(r"(?:[^\S\n]*\n)+")

BINARY = {"pdf"}  # formats whose text is bytes, a character each (latin-1)
NOTHING: Mapping[str, Any] = {}


class Document(NamedTuple):
    text: str
    source: str  # what it was taken from, such as "numpy:linalg/_linalg.py"; the unit of the split
    meta: Mapping[str, Any] = NOTHING

    @property
    def bytes(self) -> int:
        """Length of the text in UTF-8."""
        return len(self.text.encode())


def order_key(name: str) -> bytes:
    """Sorts names into an order that is fixed and has nothing to do with their meaning."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()


def identity(source: str, text: str) -> str:
    """The id of a document that was read, not made."""
    return hashlib.sha256(f"{source}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def plain(text: str) -> str:
    """NFC, newlines as one character, no control characters."""
    if _ODD.search(text):
        text = _OVERSTRUCK.sub("", _TERMINAL.sub("", _NEWLINES.sub("\n", text)))
        text = _ODD.sub("", text.replace("\x1f", " ").translate(_QUOTES))
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def without_blank_lines(text: str) -> str:
    """Without those that it begins with."""
    return text[blank.end() :] if (blank := _BLANK_LINES.match(text)) else text


def clean(text: str) -> str:
    """The text plain, with no space around but the first line's indentation."""
    return without_blank_lines(plain(text).rstrip())


def cleaned_text(document: Document) -> str:
    """Its text, clean; bytes as they are."""
    return document.text if document.meta.get("format") in BINARY else clean(document.text)
