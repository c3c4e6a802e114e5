"""The page of prepared text: examples first, evidence marked, nothing that a document says is taken for HTML."""

import re

import pytest
from corpus.steps import Short, Twins, Upper, written

from ablate.corpus import flow, parts
from ablate.corpus.flow import How
from ablate.page import corpus as page
from ablate.run.corpus import Prepare

TEXTS = ["<script>alert(1)</script>", "two words", *(" ".join(["word"] * n) for n in (3, 3, 4, 9, 12))]


@pytest.fixture
def folders(tmp_path):
    first = flow.run(written(tmp_path / "in", TEXTS), tmp_path / "web-l1", [Upper()], How("web", 1, Prepare()))
    steps = [Short(), Twins()]
    return [first, flow.run(parts.paths_of(first), tmp_path / "web-l2", steps, How("web", 2, Prepare(), most=1.0))]


def test_the_page_shows_what_went_and_what_nearly_went(tmp_path, folders):
    path = page.write(tmp_path / "page" / "index.html", "Text of a study", {"web": folders, "raw": []})
    html = path.read_text(encoding="utf-8")
    assert html.index("Went, nearest to the bound") < html.index("Where the text went")
    assert "<mark>TWO</mark> WORDS" in html
    assert "Stayed, nearest to the bound" in html
    assert "<script>" not in html.lower().replace("<mark>&lt;script&gt;", "")
    assert "Taken as it is read" in html
    assert not re.search(r"(?:src|href)=|url\(|@import", html)
    assert page.write(tmp_path / "again.html", "Text of a study", {"web": folders, "raw": []}).read_text() == html


def test_the_page_of_one_rule_has_no_other(tmp_path, folders):
    html = page.write(tmp_path / "page.html", "Text", {"web": folders}, only="twins").read_text()
    assert "<b>twins</b>" in html
    assert "<b>short.words</b>" not in html


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1234, "1.23 kB"), (-5.5e6, "−5.5 MB"), (2e9, "2 GB")]
)
def test_sizes(size, text):
    assert page.size_text(size) == text
