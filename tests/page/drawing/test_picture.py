"""The picture of a plan: equal lines once, what is shared once, and borders of stages where they are."""

import numpy as np
import pytest

from ablate.page.drawing.picture import Track, timeline, write

DOMAINS = ["code", "qa"]
STEPS = 20


def track(end: float, stages: tuple[int, ...] = ()) -> Track:
    """A rate of 1 that goes to `end` in the last quarter."""
    rate = np.where(np.arange(STEPS) < 15, 1.0, end)
    return Track(
        tokens=np.arange(STEPS + 1) * 100,
        rate=rate,
        length=np.full(STEPS, 10),
        batch=np.full(STEPS, 100),
        shares=np.full((STEPS, 2), 0.5),
        stages=np.array(stages),
    )


def lines(ax) -> list[np.ndarray]:
    """The x values of what is drawn over tokens, borders left out."""
    return [np.asarray(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) > 2]


def test_arms_that_do_the_same_are_one_line():
    figure = timeline({"a": track(0.5), "b": track(0.5)}, DOMAINS)
    assert [len(lines(ax)) for ax in figure.axes[:5]] == [1] * 5


def test_what_is_shared_is_drawn_once():
    rate = timeline({"a": track(0.5), "b": track(0.2), "c": track(0.1)}, DOMAINS).axes[0]
    *own, shared = lines(rate)
    assert [x[0] for x in own] == [1500] * 3
    assert (shared[0], shared[-1]) == (0, 1500)


def test_stages_have_borders():
    figure = timeline({"a": track(0.5, (700,))}, DOMAINS)
    for ax in figure.axes[:5]:
        assert [700, 700] in [np.asarray(line.get_xdata()).tolist() for line in ax.lines]


@pytest.mark.parametrize("arms", [4, 70])
def test_few_and_many_arms(tmp_path, arms):
    tracks = {f"arm {n}": track(n / arms) for n in range(arms)}
    assert write(tracks, DOMAINS, tmp_path / "s" / "plan.png").stat().st_size > 10_000
    texts = [text.get_text() for text in timeline(tracks, DOMAINS).axes[0].texts]
    assert texts == ([f"arm {n}" for n in range(4)] if arms == 4 else ["70 different lines"])
