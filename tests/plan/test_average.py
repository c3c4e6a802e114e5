import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.plan.average import shares
from ablate.run.settings import Averaging


@st.composite
def spans(draw: st.DrawFn) -> tuple[int, int]:
    """The step from which on there is an average, and steps in all; a start of 1 would read as a fraction."""
    total = draw(st.integers(3, 300))
    return draw(st.integers(2, total - 1)), total


def averaged(values: np.ndarray, share: np.ndarray) -> float:
    average = 0.0
    for value, part in zip(values, share, strict=True):
        average += part * (value - average)
    return average


@given(spans(), st.randoms(use_true_random=False))
def test_uniform_is_the_mean_from_the_start_on(span, random):
    start, total = span
    values = np.array([random.uniform(-1, 1) for _ in range(total)])
    share = shares(Averaging(kind="uniform", start=start), total)
    assert averaged(values, share) == pytest.approx(values[start:].mean())


@given(spans(), st.floats(0.01, 0.999), st.randoms(use_true_random=False))
def test_ema_weighs_what_was_before_by_decay(span, decay, random):
    start, total = span
    values = [random.uniform(-1, 1) for _ in range(total)]
    expected = values[start]
    for value in values[start + 1 :]:
        expected = decay * expected + (1 - decay) * value
    assert averaged(np.array(values), shares(Averaging(kind="ema", start=start, decay=decay), total)) == pytest.approx(
        expected
    )


@given(spans(), st.sampled_from(["uniform", "ema"]))
def test_nothing_before_the_start_and_everything_at_it(span, kind):
    start, total = span
    share = shares(Averaging(kind=kind, start=start), total)
    assert not share[:start].any()
    assert share[start] == 1
    assert ((share[start:] > 0) & (share[start:] <= 1)).all()


@given(spans(), st.integers(1, 100), st.sampled_from(["uniform", "ema", "none"]))
def test_longer_run_begins_like_a_shorter_one(span, more, kind):
    start, total = span
    averaging = Averaging(kind=kind, start=start)
    assert shares(averaging, total + more)[:total].tolist() == shares(averaging, total).tolist()


def test_none_never_averages():
    assert not shares(Averaging(start=0), 50).any()


def test_fraction_is_of_all_steps():
    assert np.flatnonzero(shares(Averaging(kind="uniform", start=0.8), 50))[0] == 40
