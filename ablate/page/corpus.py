"""One page that says what became of text on its way through the levels: what each rule removed, and what it nearly did.

It needs nothing but itself and no script, for light and dark paper, on a screen of any width. It follows from the
folders of the levels alone (`corpus.report`), so writing it again changes nothing unless they have changed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment
from markupsafe import Markup, escape

from ablate.corpus import report
from ablate.corpus.report import Bar, Example, Rule
from ablate.page.templates import environment
from ablate.run.files import make_folder, write_atomically

SHOWN = 3  # examples of each sort, of each rule
MARKED = 40  # places of the evidence that are marked in a text


class Domain(NamedTuple):
    name: str
    bars: Sequence[Bar]
    rules: Sequence[Rule]
    costs: Mapping[str, float]
    noted: Mapping[str, float]

    @property
    def largest(self) -> int:
        """Bytes that fill the width of its waterfall."""
        return max(1, *(max(bar.before, bar.after) for bar in self.bars))


def write(path: Path, title: str, folders: Mapping[str, Sequence[Path]], only: str = "") -> Path:
    """Write the page of some domains, whose folders stand in the order of their levels; returns its path.

    `only`: the rules whose names begin so.
    """
    domains = [
        Domain(name, report.waterfall(some), report.rules(some, SHOWN, only), report.costs(some), report.noted(some))
        for name, some in folders.items()
    ]
    make_folder(path.parent)
    html = _jinja().get_template("corpus.html").render(title=title, domains=domains, only=only)
    write_atomically(path, html)
    return path


def _jinja() -> Environment:
    jinja = environment()
    jinja.filters |= {"size": size_text, "count": "{:,.0f}".format, "marked": _marked, "number": _number}
    return jinja


def size_text(size: float) -> str:
    """1234567 -> 1.23 MB"""
    for unit, least in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(size) >= least:
            return f"{size / least:.3g} {unit}".replace("-", "−")
    return f"{size:.0f} bytes".replace("-", "−")


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _marked(example: Example) -> Markup:
    """The text with the evidence marked, where it is in it."""
    if not example.evidence or example.evidence not in example.text:
        return escape(example.text)
    pieces = example.text.split(example.evidence, MARKED)
    return (Markup("<mark>") + example.evidence + Markup("</mark>")).join(map(escape, pieces))
