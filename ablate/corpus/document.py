"""A document: a text, the source it was taken from, and what is known of it.

What `meta` may hold, every value plain JSON:

    id        names the document: 32 hex digits of sha256(source, text), or of its parents and the step that made it
    format    what `text` is written in: text (the default), html, pdf, man, code, markdown
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
_NEWLINES = re.compile("\r\n?|[\x85\u2028\u2029]")
_NOT_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\ud800-\udfff]")

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


def clean(text: str) -> str:
    """NFC, newlines as one character, no control characters, no space around."""
    text = _NOT_TEXT.sub("", _NEWLINES.sub("\n", text))
    return unicodedata.normalize("NFC", text).strip()
