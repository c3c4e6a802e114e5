import io

from rich.console import Console

from ablate.page import terminal
from ablate.verdict.validity.finding import Finding


def test_a_terminal_shows_what_voids_first_and_counts_what_is_too_much():
    found = [Finding("drift", f"arm {n}", n != 39, "text") for n in range(40)]
    text = io.StringIO()
    Console(file=text, width=100).print(terminal.findings(found))
    lines = text.getvalue().splitlines()
    assert "arm 39: text" in lines[0]
    assert len(lines) == terminal.SHOWN + 1
    assert "and 28 more that held" in lines[-1]
