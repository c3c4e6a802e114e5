"""Questions inside one run as a table, for a terminal: a line for each number of repetitions, with words one by one."""

from collections import Counter
from typing import get_args

from rich.table import Table
from rich.text import Text

from ablate.page.tables import COLOURS, lines, table
from ablate.verdict.compare import bounds
from ablate.verdict.interventions import Interventions
from ablate.verdict.statistics.paired import Word


def shown(found: Interventions) -> Table:
    title = f"{found.task} in the runs of {found.arm}"
    out = table("text read", ">answers", ">difference", ">p adj.", "together", "one by one", title=title)
    for times, told in found.judged.by_times.items():
        words = found.words(times)
        mean = lines(f"{told.mean:+.4f}", bounds(told.interval))
        word = Text(told.word, style=COLOURS[told.word])
        out.add_row(heading(times), str(words.total()), mean, f"{told.p_adjusted:.2g}", word, tally(words))
    out.caption = note(found)
    return out


def heading(times: int) -> str:
    return "once" if times == 1 else f"{times} times"


def tally(words: Counter[str]) -> str:
    """`14 better, 1 inconclusive`"""
    return ", ".join(f"{words[word]} {word}" for word in get_args(Word) if words[word])


def note(found: Interventions) -> str:
    runs = len(found.drift)
    moved = f"{sum(found.drift.values()) / runs:+.4f}"
    beside = f"bits per byte of answers, beside the {found.left_alone} that were left alone in {runs} runs"
    return f"{beside}: these moved by {moved}; what those of its form moved by is taken off each; two families"
