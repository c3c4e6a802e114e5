"""Where the pages are made from: the templates beside this file, and the colours of light and dark paper.

Every page begins with `head.html`, which takes its `title`.
"""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ablate.page.drawing import vector
from ablate.page.drawing.style import DARK, LIGHT


def environment() -> Environment:
    """Without filters, which each page adds. Text of an HTML page is escaped, that of Markdown is not."""
    jinja = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=lambda name: name is not None and name.endswith("html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    jinja.globals["papers"] = {"light": vector.named(LIGHT), "dark": vector.named(DARK)}  # pyrefly: ignore
    return jinja
