"""A replay in a terminal of 80 columns: every number whole, rows cut, and nothing that a terminal obeys."""

import io

import pytest
from rich.console import Console

from ablate.page import replayed
from ablate.run.replay import Comparison, Measure, Replay, Row, Shares

NAMES = ("loss", "gradient norm", "[bold]general", "code")


def compared(strength: float) -> Comparison:
    measures = [Measure(name=name, one=5.1234, other=0.00123, z=-18.34) for name in NAMES]
    return Comparison(measures=measures, strength=strength)


def shown(batch: float, before: float, state: float) -> str:
    row = Row(domain="[bold]general", start=123_456_789, nats=6.2, odd=0.2, repeated=1.0, text="日本 [red]text " * 9)
    found = Replay(
        step=123_456,
        healthy=123_436,
        neighbours=32,
        before=compared(before),
        batch=compared(batch),
        state=compared(state),
        rate=(123_440, 1.0),
        rows=[row] * 9,
        shares=(Shares(odd=0.2, repeated=1.0), Shares(odd=0.0, repeated=0.0)),
        grad_norm=1.0,
        float32=[],
    )
    text = io.StringIO()
    replayed.show(found, "a32-s0-12345678", Console(file=text, width=80, highlight=False), 3)
    return text.getvalue()


def test_numbers_are_whole_and_rows_are_cut():
    text = shown(20.0, 21.5, 1.0)
    assert max(map(len, text.splitlines())) <= 80
    assert "a32-s0-12345678, step 123456: batch\n" in text
    assert text.count("[bold]general") == 4
    assert text.count("5.123 ") == text.count("0.00123 ") == 2 * len(NAMES)
    assert text.count("-18.3") == 3 * len(NAMES)
    [sums] = [line.split() for line in text.splitlines() if line.startswith("sum")]
    assert sums == ["sum", "+21.5", "+20.0", "+1.0"]
    rows = [line for line in text.splitlines() if "123456789" in line]
    assert len(rows) == 3
    assert all(line.endswith("…") and "日本 [red]text" in line for line in rows)


@pytest.mark.parametrize(
    ("strengths", "said"),
    [
        ((9, 9, 1), "It was the batch: "),
        ((9, 1, 1), "It was neither: "),
        ((1, 1, 9), "It was the state: "),
        ((9, 9, 9), "It was both: the batch stands out on healthy weights too"),
        ((1, 9, 1), "It was both: the batch stands out on the weights just before"),
    ],
)
def test_each_word_has_its_sentence(strengths, said):
    assert said in " ".join(shown(*strengths).split())
