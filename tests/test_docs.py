"""DECISIONS and docs/: short sentences, and links that lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "DECISIONS.md", *sorted((ROOT / "docs").glob("*.md"))]
SENTENCE_WORDS = 35

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def prose(text: str) -> str:
    """The text without blocks of code, and with headings and items of lists as paragraphs of their own."""
    text = re.sub(r"^```.*?^```$", "\n", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^ {4}.*$", "\n", text, flags=re.MULTILINE)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"^(?:#+|\s*[-*]|\d+\.) (.*)$", r"\n\n\1\n", text, flags=re.MULTILINE)


def sentences(text: str) -> list[str]:
    """Each ends with a mark and a space, with its paragraph, or with its cell of a table."""
    parts = re.split(r"(?<=[.!?])[\"')*`]*\s|\n\s*\n|\|", prose(text))
    return [" ".join(part.split()) for part in parts if re.search(r"\w", part)]


def words(text: str) -> int:
    return len([word for word in text.split() if re.search(r"\w", word)])


def test_sentences_are_told_apart():
    text = "# Head\nOne **two.** Three (`a.b`) four: five\n\n- six\n- seven\n\n"
    text += "| eight | nine |\n|---|---|\n\n```sh\nten. ten\n```\n"
    assert [words(one) for one in sentences(text)] == [1, 2, 4, 1, 1, 1, 1]


@each_page
def test_no_sentence_is_longer_than_a_breath(page):
    long = {one: words(one) for one in sentences(page.read_text(encoding="utf-8")) if words(one) > SENTENCE_WORDS}
    assert not long


@each_page
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert "://" in target or (page.parent / target).exists(), target
