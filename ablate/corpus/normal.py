"""Level 1: text out of html, pdf and manual pages, and code points that were decoded wrongly. Nothing is selected.

    html    all visible text, by resiliparse: menus and footers are lines for the rules of level 2. Its `main`, and
            trafilatura, choose; of Debian's pages `main` loses 15 %, of a page of news without paragraphs 97 %
    pdf     by pypdf; a page ends a paragraph, and words that a line's end divided are joined
    man     by `corpus.roff`

Other formats stay as they are written. A document of these that has no text (a scan, an encrypted file) is removed.
"""

import functools
import importlib.metadata
import io
import logging
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from ablate.corpus.document import Document, clean
from ablate.corpus.extra import needed
from ablate.corpus.roff import plain
from ablate.corpus.step import Measured, Result
from ablate.run.failures import first_line
from ablate.run.settings import UserError

VERSION = 2  # raise it when equal documents give other text
LIBRARIES = ("ftfy", "pypdf", "resiliparse", "trafilatura")  # that write text
UNREPAIRED = {"code", "pdf"}  # formats whose odd characters may be meant, or are bytes

# What resiliparse would run together with its neighbours: blocks that it does not know, and what it leaves out
_BLOCK = re.compile(r"<(?=/?(?:summary|legend|dialog|menu|listing)\b)", re.IGNORECASE)
_LEFT_OUT = re.compile(r"<(?=(?:button|label|select|textarea|noscript|iframe|object|video|audio|svg)\b)", re.IGNORECASE)
# What people do not read. Without `alt_texts` all of a figure goes: its code, its table, its caption
_UNREAD = ["img", "area", "object", "video", "audio", "svg"]

# A letter, a hyphen at the end of a line, a small letter: soft hyphens stand nowhere else
_DIVIDED = re.compile(r"(\w+)([-\u00ad\u2010])\n(\w+)")
# Han, kana and Hangul: in such text ftfy takes rare characters for damage
_EAST_ASIAN = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")


class NoText(Exception):
    """Why a document has none."""


def whole(text: str) -> str:
    return _resiliparse(text)


def main(text: str) -> str:
    """What is not menus, footers, adverts: by the names of elements and classes."""
    return _resiliparse(text, main_content=True)


def _resiliparse(text: str, main_content: bool = False) -> str:
    parts = _LEFT_OUT.sub(" <", _BLOCK.sub("<br><", text))
    extract = needed("resiliparse.extract.html2text").extract_plain_text
    return extract(parts, alt_texts=True, skip_elements=_UNREAD, main_content=main_content)


def trafilatura(text: str) -> str:
    return needed("trafilatura").extract(text, favor_recall=True, include_comments=False) or ""


HTML: dict[str, Callable[[str], str]] = {"whole": whole, "main": main, "trafilatura": trafilatura}


class Normalise:
    """The step; `html`: an entry of HTML."""

    name = "normalise"
    rounds = 0

    def __init__(self, html: str = "whole"):
        self.html = html

    def key(self) -> dict[str, Any]:
        versions = {
            library: _version(library) for library in LIBRARIES if library != "trafilatura" or self.html == library
        }
        return {"name": self.name, "version": VERSION, "html": self.html, "libraries": versions}

    def look(self, round: int, documents: Sequence[Document], told: Any) -> Any:
        raise NotImplementedError  # documents are judged one by one

    def decide(self, round: int, notes: Sequence[Any], told: Any) -> Any:
        raise NotImplementedError

    def apply(self, documents: Sequence[Document], told: Any, first: int) -> list[Result]:
        return [self._result(document) for document in documents]

    def _result(self, document: Document) -> Result:
        format, meta = document.meta.get("format", ""), document.meta
        text, noted = document.text, Counter[str]()
        if format in FORMATS:
            try:
                text = clean(self._written(format, text))
            except NoText as reason:
                return Result([], Measured(f"{self.name}.{format}", 1, 0, str(reason)))
            meta, noted[format] = {name: value for name, value in meta.items() if name != "format"}, 1
        if format not in UNREPAIRED:
            repaired = mended(text)
            noted["repaired"] += repaired != text
            text = repaired
        return Result([document._replace(text=text, meta=meta)], noted={name: n for name, n in noted.items() if n})

    def _written(self, format: str, text: str) -> str:
        try:
            written = HTML[self.html](text) if format == "html" else FORMATS[format](text)
        except (UserError, NoText):
            raise
        except Exception as error:  # of parsers of what anybody wrote: each has its own, pypdf dozens
            raise NoText(f"broken: {type(error).__name__}: {first_line(error)}") from None
        if not written.strip():
            raise NoText("there is no text in it")
        return written


def of_pdf(text: str) -> str:
    pypdf = needed("pypdf")
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # every oddity is a warning; text or none is the result
    try:
        reader = pypdf.PdfReader(io.BytesIO(text.encode("latin-1")))
        if reader.is_encrypted and not reader.decrypt(""):
            raise NoText("encrypted")
    except pypdf.errors.DependencyError:  # of AES, which many files have that open without a password
        needed("cryptography")
        raise
    pages = [page.extract_text().strip() for page in reader.pages]
    if not any(pages):
        raise NoText(f"no text on {len(pages)} pages: a scan?")
    return joined("\n\n".join(page for page in pages if page))


def joined(text: str) -> str:
    """Words that the end of a line divided are whole again; those that have their hyphen elsewhere too keep it."""

    def word(found: re.Match[str]) -> str:
        before, hyphen, after = found.groups()
        if not (before[-1].isalpha() and after[0].islower()):
            return found[0]
        kept = hyphen != "\u00ad" and f"{before}-{after}" in text
        return f"{before}-{after}" if kept else before + after

    return _DIVIDED.sub(word, text)


def mended(text: str) -> str:
    """Lines whose UTF-8 was read as another encoding, decoded as it should have been.

    A line is left if a repair would not make it shorter and less odd, or would lose characters.
    """
    if text.isascii():
        return text
    ftfy = needed("ftfy")
    return "".join(line if line.isascii() else _mended_line(ftfy, line) for line in text.splitlines(keepends=True))


def _mended_line(ftfy: Any, line: str) -> str:
    if not ftfy.badness.is_bad(line) or _EAST_ASIAN.search(line):
        return line
    repaired = clean(ftfy.fix_encoding(line, _config())) + "\n" * line.endswith("\n")
    safe = len(repaired) < len(line) and repaired.count("\ufffd") <= line.count("\ufffd")
    return repaired if safe and ftfy.badness.badness(repaired) < ftfy.badness.badness(line) else line


@functools.cache
def _config() -> Any:
    return needed("ftfy").TextFixerConfig(replace_lossy_sequences=False, unescape_html=False)


# What makes text of a format; html has several
FORMATS: dict[str, Callable[[str], str]] = {"html": whole, "pdf": of_pdf, "man": plain}


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "none"
