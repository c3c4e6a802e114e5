"""A matplotlib figure as part of a page: SVG that takes its colours from the page, drawn once for light and dark.

    inline(figures.losses(evidence, LIGHT), "losses")       '<svg viewBox=... style="fill: var(--fig-ink)" ...'
    both(figures.losses(evidence, LIGHT), folder / "losses.png")     the same, and the file

The figure is drawn in the colours of light paper; each of them becomes a variable, to which the page gives the colour
of light or of dark paper. Text stays text: it can be searched, and is sharp at any size.
"""

import hashlib
import io
import re
from dataclasses import fields
from pathlib import Path

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from ablate.page.drawing.style import DRAWING, LIGHT, Style, png
from ablate.run.files import write_atomically

DPI = 170  # of the PNG
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


def both(figure: Figure, path: Path) -> Markup:
    """The SVG of a figure, which is written to `path` as a PNG too, unless that one shows the same drawing."""
    svg = inline(figure, path.stem)
    drawing = hashlib.blake2b(f"{svg} {DPI}".encode(), digest_size=8).hexdigest()
    if not _shows(path, drawing):
        figure.set_layout_engine("none")  # the places are found
        write_atomically(path, png(figure, dpi=DPI, drawing=drawing))
    return svg


def _shows(path: Path, drawing: str) -> bool:
    """Whether a PNG is whole and says that it was made of this drawing."""
    try:
        with Image.open(path) as image:
            said = image.info.get(DRAWING)
            image.verify()
    except (OSError, SyntaxError):  # gone, damaged, or no picture
        return False
    return said == drawing


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
