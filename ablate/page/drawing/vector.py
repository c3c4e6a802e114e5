"""A matplotlib figure as part of a page: SVG that takes its colours from the page, drawn once for light and dark.

    inline(figures.losses(evidence, LIGHT), "losses")       '<svg viewBox=... style="fill: var(--fig-ink)" ...'

The figure is drawn in the colours of light paper; each of them becomes a variable, to which the page gives the colour
of light or of dark paper. Text stays text: it can be searched, and is sharp at any size.
"""

import io
import re
from dataclasses import fields

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from ablate.page.drawing.style import LIGHT, Style

FONT = "Liberation Sans, Arial, Helvetica, sans-serif"  # of equal widths, as laid out


def named(style: Style) -> dict[str, str]:
    """{name: colour} of all that figures are drawn in; the same names for both papers."""
    colours: dict[str, str] = {}
    for field in fields(style):
        value = getattr(style, field.name)
        if isinstance(value, str):
            colours[field.name] = value
        elif isinstance(value, dict):
            colours |= value
        else:
            colours |= {f"{field.name}{i}": colour for i, colour in enumerate(value)}
    return colours


def inline(figure: Figure, name: str) -> Markup:
    """The SVG of a figure drawn with `LIGHT`; `name` keeps the ids of several figures on a page apart."""
    buffer = io.StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):  # the same bytes every time
        figure.savefig(buffer, format="svg", metadata=metadata)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1))
    text = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r"\n\s*", "\n", re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S))
    variables = {colour: f"var(--fig-{name})" for name, colour in reversed(named(LIGHT).items())}
    return Markup(re.sub("#[0-9a-f]{6}", lambda found: variables.get(found[0], found[0]), text))
