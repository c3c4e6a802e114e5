"""A gate from its rows: what the incumbent is, what waits, and that stakes are neither lost nor found."""

from typing import Any

import pytest

from ablate.verdict.ideas import merged, read

BEGUN = {"kind": "begun", "base": ["size=nano", "tokens=1e6"], "unit": "bits per byte"}
BEGUN |= {"metric": "macro", "alpha": 0.05, "ideas": 100, "effect": 2.0}
BASE = ("size=nano", "tokens=1e6")


def opened(number: int, stake: float, change: str = "tokens=2e6", incumbent: tuple[str, ...] = BASE) -> dict[str, Any]:
    told = {"kind": "opened", "number": number, "change": [change], "incumbent": list(incumbent), "stake": stake}
    return told | {"seed": 1000 * number, "part": number, "fresh": True, "study": f"gate-{number:03}"}


def judged(number: int, word: str, wealth: float, again: tuple[float, ...] = ()) -> dict[str, Any]:
    told = {"kind": "judged", "number": number, "word": word, "wealth": wealth, "again": list(again)}
    return told | {"reason": "", "pairs": 3, "mean": -0.1}


def test_a_gate_without_ideas():
    seen = read([BEGUN])
    assert (seen.incumbent, seen.pot, seen.next_number) == (BASE, 0.05, 1)
    assert seen.next_stake == pytest.approx(0.05 / 101)


def test_a_keep_joins_the_incumbent_and_gives_its_stake_back():
    seen = read([BEGUN, opened(1, 0.0005), judged(1, "keep", 2500.0, (-0.1, -0.2))])
    assert seen.incumbent == ("size=nano", "tokens=2e6")
    assert seen.pot == pytest.approx(0.05)
    assert seen.kept(("tokens=2e6",)) is seen.ideas[0]
    assert seen.ideas[0].again == (-0.1, -0.2)


def test_a_discard_gives_back_what_is_left():
    seen = read([BEGUN, opened(1, 0.0005), judged(1, "discard", 0.2)])
    assert seen.incumbent == BASE
    assert seen.pot == pytest.approx(0.05 - 0.8 * 0.0005)
    assert seen.open(("tokens=2e6",)) is None


def test_what_is_undecided_waits_with_its_stake_until_another_is_kept():
    rows = [BEGUN, opened(1, 0.0005), judged(1, "retest", 5.0), opened(2, 0.0004, "size=micro")]
    seen = read(rows)
    assert (seen.pot, seen.ideas[0].retests) == (pytest.approx(0.05 - 0.0009), 1)
    assert [seen.open((change,)) for change in ("tokens=2e6", "size=micro")] == seen.ideas
    seen = read([*rows, judged(2, "keep", 3000.0)])
    assert seen.open(("tokens=2e6",)) is None
    assert seen.pot == pytest.approx(0.05 - 0.0005)


def test_what_was_refused_stakes_nothing():
    seen = read([BEGUN, {"kind": "refused", "change": ["seed=5"], "reason": "another seed is no change"}])
    assert (seen.pot, seen.ideas, len(seen.events)) == (0.05, [], 1)


def test_of_a_key_that_is_said_again_the_last_counts():
    words = ("size=nano", "optimizer.lr=1")
    assert merged(words, ("optimizer.lr=2", "+x=3")) == ("size=nano", "optimizer.lr=2", "+x=3")
