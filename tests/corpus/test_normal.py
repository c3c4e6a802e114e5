"""Level 1: text of every format, what has none is removed with a reason, and a second time changes nothing."""

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import pypdf
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from ablate.corpus import extra
from ablate.corpus.document import Document, clean
from ablate.corpus.normal import HTML, Normalise, joined, mended
from ablate.corpus.readers.table import read
from ablate.corpus.step import Result
from ablate.run.settings import UserError

PAGES = sorted(path for path in Path("/usr/share/doc").rglob("*.html") if path.is_file())


def normalised(text: str, format: str = "", html: str = "whole") -> Result:
    [result] = Normalise(html).apply(
        [Document(text, "s", {"id": "0", **({"format": format} if format else {})})], None, 0
    )
    return result


def text_of(text: str, format: str = "", html: str = "whole") -> str:
    [document] = normalised(text, format, html).documents
    return document.text


def pdf(*pages: Sequence[str], password: str = "") -> str:
    """Pages of lines, as a reader of files gives them."""
    writer = pypdf.PdfWriter()
    for lines in pages:
        page = writer.add_blank_page(300, 300)
        font = DictionaryObject(
            {NameObject("/Type"): NameObject("/Font"), NameObject("/Subtype"): NameObject("/Type1")}
        )
        font[NameObject("/BaseFont")] = NameObject("/Helvetica")
        fonts = DictionaryObject({NameObject("/F1"): writer._add_object(font)})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        stream = DecodedStreamObject()
        shown = "".join(f"({line}) Tj 0 -14 Td " for line in lines)
        stream.set_data(f"BT /F1 12 Tf 20 280 Td {shown} ET".encode("latin-1"))
        page[NameObject("/Contents")] = writer._add_object(stream)
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue().decode("latin-1")


PAGE = """<html><head><title>T</title><script>no()</script><style>p {}</style></head><body><nav><a href=x>Home</a></nav>
<h1>Head</h1><p>one <b>two</b>
three<br>four</p><pre>def f():
    return 1
</pre><ul><li>a<li>b</ul><table><tr><th>x<th>y<tr><td>1<td>2</table>
<p>&eacute;&amp;<img alt="a picture"></p></body></html>"""


def test_html_is_all_that_is_visible():
    text = "Home\n\nHead\n\none two three\nfour\n\ndef f():\n    return 1\n"
    text += "  \u2022 a\n  \u2022 b\nx\t\ty\n1\t\t2\n\n\u00e9&"
    assert text_of(PAGE, "html") == text
    assert "Home" not in text_of(PAGE, "html", "main")
    assert "Head" in text_of(PAGE, "html", "main")


def test_of_figures_only_the_picture_goes():
    page = "<p>a<figure><img alt=pic><pre>f(x)</pre><table><tr><td>1<td>2</table><figcaption>Listing</figure>"
    assert text_of(page, "html") == "a\n\nf(x)\n1\t\t2\nListing"
    assert "f(x)" in text_of(f"<article>{page}</article>", "html", "main")


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<details><summary>Title</summary>body</details>", "Title\nbody"),
        ("<fieldset><legend>Title</legend>body</fieldset>", "Title\nbody"),
        ("<dialog>one</dialog>two<menu>three</menu>four", "one\ntwo\nthree\nfour"),
        *(
            (f"<div>one<{name}>no</{name}>two</div>", "one two")
            for name in ("button", "Video", "object", "iframe", "textarea", "noscript", "svg", "label")
        ),
        ("<div>one<select><option>no<option>no</select>two", "one two"),
    ],
)
def test_no_words_run_together(page, text):
    assert text_of(page, "html") == text


def test_what_is_text_now_has_no_format_and_keeps_its_name():
    result = normalised(PAGE, "html")
    assert result.documents[0].meta == {"id": "0"}
    assert result.noted == {"html": 1}


def test_pages_of_a_pdf_are_paragraphs_and_divided_words_are_joined():
    text = text_of(pdf(["The exam-", "ple of a well-", "known word, well-known", "3-"], ["4 Next page"]), "pdf")
    assert text == "The example of a well-known word, well-known\n3-\n\n4 Next page"


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("exam-\nple", "example"),
        ("exam\u00ad\nple", "example"),
        ("Jean-\nPaul", "Jean-\nPaul"),
        ("1-\n2", "1-\n2"),
        ("a -\nb", "a -\nb"),
        ("\u00fcber-\n\u00e4ltere", "\u00fcber\u00e4ltere"),
    ],
)
def test_joined(text, right):
    assert joined(text) == right


@pytest.mark.parametrize(
    ("text", "format", "reason"),
    [
        (pdf([], []), "pdf", "no text on 2 pages: a scan?"),
        (pdf(["secret"], password="x"), "pdf", "encrypted"),
        (pdf(["cut short"])[:200], "pdf", "broken"),
        ("%PDF-1.4 nonsense", "pdf", "broken"),
        ("", "pdf", "broken"),
        ("<script>all()</script>", "html", "there is no text in it"),
        (".so man1/other.1\n", "man", "there is no text in it"),
    ],
)
def test_what_has_no_text_is_removed_with_a_reason(text, format, reason):
    result = normalised(text, format)
    assert result.documents == []
    assert result.removed
    assert result.removed.rule == f"normalise.{format}"
    assert result.removed.evidence.startswith(reason)
    assert result.removed.value > result.removed.bound


def test_a_file_that_needs_a_missing_package_is_not_taken_for_broken(monkeypatch):
    def decrypt(*_: object) -> None:
        raise pypdf.errors.DependencyError("cryptography>=3.1 is required for AES algorithm")

    monkeypatch.setattr(pypdf.PdfReader, "decrypt", decrypt)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(UserError, match=r"^cryptography is missing: .* `pip install 'ablate\[corpus\]'"):
        normalised(pdf(["secret"], password="x"), "pdf")


def test_an_empty_password_is_none():
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf(["open"]).encode("latin-1")))
    writer.encrypt("", "owner", algorithm="RC4-128")
    file = io.BytesIO()
    writer.write(file)
    assert text_of(file.getvalue().decode("latin-1"), "pdf") == "open"


@pytest.mark.parametrize(
    "text",
    [
        "na\u00efve caf\u00e9",
        "\u00dcber \u201equotes\u201c \u2013 1\u20132",
        "\u4e2d\u6587\u00e3\u0080",
        "\u041f\u0440\u0438\u0432\u0435\u0442 \u00ab\u0445\u00bb",
    ],
)
def test_text_of_any_language_stays(text):
    assert mended(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "na\u00efve caf\u00e9",
        "\u00dcber \u201equotes\u201c",
        "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440",
        "\u201cit\u2019s so \u2014",
    ],
)
@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_text_that_was_decoded_wrongly_is_mended(text, encoding):
    wrong = clean(text.encode().decode(encoding, errors="replace"))
    line = "Nothing is wrong here: \u00e9\u4e2d\n"
    if "\ufffd" not in wrong:
        assert mended(line + wrong + "\n" + line) == line + text + "\n" + line
        assert normalised(wrong).noted == {"repaired": 1}
    assert normalised(wrong, "code").documents[0].text == wrong


@given(st.text(st.characters(max_codepoint=0x2FF)))
def test_level_1_of_level_1_is_level_1(text):
    once = text_of(clean(text) or "x")
    assert text_of(once) == once


@pytest.mark.skipif(not PAGES, reason="needs html below /usr/share/doc")
def test_installed_pages_have_text_that_stays():
    for path in PAGES[::30]:
        [document] = read(path)
        result = normalised(clean(document.text), "html")
        assert result.removed or text_of(result.documents[0].text) == result.documents[0].text


def test_the_key_names_what_writes_the_text():
    key = Normalise().key()
    assert set(key["libraries"]) == {"ftfy", "pypdf", "resiliparse"}
    assert Normalise("trafilatura").key() != key != Normalise("main").key()


def test_a_missing_package_is_one_line(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(extra.importlib, "import_module", missing)
    for html, package in {"whole": "resiliparse", "trafilatura": "trafilatura"}.items():
        with pytest.raises(UserError, match=rf"^{package} is missing: this text needs it; run `pip install"):
            normalised(PAGE, "html", html)
    assert set(HTML) == {"whole", "main", "trafilatura"}
