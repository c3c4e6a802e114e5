"""Tables in a terminal, all of one look: no lines, quiet headings, text that folds, numbers that never break.

table("arm", ">tokens", "state")     columns; `>` before a heading: of numbers
facts([("state", "finished")])       a name and a text in each row
lines("+0.0213", "3 seeds")          one cell, quiet from its second line on
"""

from collections.abc import Iterable
from typing import Any

from rich.table import Table
from rich.text import Text

# Of the words of a verdict
COLOURS = {"better": "green", "worse": "red", "equivalent": "blue", "inconclusive": "yellow"}


def table(*headings: str, **how: Any) -> Table:
    """An empty table; `how`: more that rich knows of tables."""
    out = Table(box=None, pad_edge=False, header_style="dim", title_justify="left", caption_justify="left", **how)
    for heading in headings:
        if heading.startswith(">"):
            out.add_column(Text(heading[1:]), justify="right", no_wrap=True)
        else:
            out.add_column(Text(heading), overflow="fold")
    return out


def facts(rows: Iterable[tuple[str, str | Text]]) -> Table:
    """Rows of a name and a text."""
    out = Table(box=None, pad_edge=False, show_header=False)
    out.add_column(style="dim", no_wrap=True)
    out.add_column(overflow="fold")
    for name, text in rows:
        out.add_row(name, Text(text) if isinstance(text, str) else text)
    return out


def lines(first: str, *more: str, style: str = "") -> Text:
    text = Text(first, style=style)
    for line in more:
        text.append(f"\n{line}", style="not bold dim default")
    return text
