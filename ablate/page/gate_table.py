"""The table of a gate: every idea, its word, and what is left to bet."""

from rich.console import Console
from rich.text import Text

from ablate.page.tables import table
from ablate.verdict.ideas import Idea, Refused, Stream
from ablate.verdict.statistics.paired import interval

COLOURS = {"keep": "green", "discard": "red", "retest": "yellow"}
WORDS = {"": "not judged yet"}


def show(name: str, seen: Stream, console: Console) -> None:
    """Print the ideas in their order, the incumbent, and the promise."""
    out = table(">idea", "change", "word", ">pairs", ">difference", "on fresh pairs")
    for one in seen.events:
        if isinstance(one, Refused):
            out.add_row("", " ".join(one.change), Text("discard", COLOURS["discard"]), "0", "", one.reason)
        else:
            word = Text(WORDS.get(one.word, one.word), COLOURS.get(one.word, "dim"))
            mean = "" if one.mean is None else f"{one.mean:+.4f}"
            out.add_row(str(one.number), " ".join(one.change), word, str(one.pairs), mean, _fresh(one))
    if seen.events:
        console.print(out, "", sep="\n")
    rule = seen.rule
    console.print(f"gate       {name}, differences in {seen.unit}")
    console.print(f"incumbent  {' '.join(seen.incumbent) or 'the defaults'}", markup=False)
    console.print(
        f"pot        {seen.pot:.4g} of {rule.alpha:g}; the next idea is kept at {1 / seen.next_stake:,.0f} to one"
    )
    console.print(f"promise    the probability of any false keep, ever, is at most {rule.alpha:g}")


def _fresh(idea: Idea) -> str:
    """The mean and the interval (95 %) of the pairs that had no part in the word, or why there is a word."""
    if len(idea.again) < 2:
        return idea.reason
    low, high = interval(idea.again, 0.05)
    return f"{sum(idea.again) / len(idea.again):+.4f} [{low:+.4f}, {high:+.4f}]"
