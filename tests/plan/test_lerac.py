import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.plan.lerac import factors
from ablate.run.optimizer import LeRaC

lowests = st.floats(1e-4, 0.9)
layers = st.integers(3, 30)


@st.composite
def spans(draw: st.DrawFn) -> tuple[int, int]:
    """The step at which all layers meet, and steps in all; a moment of 1 would read as a fraction."""
    total = draw(st.integers(2, 400))
    return draw(st.integers(2, total)), total


@given(spans(), lowests, layers)
def test_all_layers_meet_exactly_and_stay(span, lowest, layers):
    until, total = span
    factor = factors(LeRaC(lowest=lowest, until=until), layers, total)
    assert factor.shape == (total, layers)
    assert (factor[until:] == 1.0).all()
    assert (factor[:until, 1:] < 1.0).all()


@given(spans(), lowests, layers)
def test_ordered_by_layer_and_rising_by_step_before(span, lowest, layers):
    until, total = span
    factor = factors(LeRaC(lowest=lowest, until=until), layers, total)
    assert (factor[:, 0] == 1.0).all()
    assert (np.diff(factor[:until], axis=1) < 0).all()
    assert (np.diff(factor[:until, 1:], axis=0) > 0).all()
    assert factor[0, -1] == pytest.approx(lowest)


@given(spans(), lowests, layers, st.floats(1e-5, 1))
def test_is_the_exponential_of_the_paper(span, lowest, layers, eta):
    """eta_j(0) * c ** (t / k * (log_c eta - log_c eta_j(0))), with c = 10."""
    until, total = span
    rate = eta * factors(LeRaC(lowest=lowest, until=until), layers, total)
    first = rate[0]
    steps = np.arange(until)[:, None]
    assert rate[:until] == pytest.approx(first * 10 ** (steps / until * (np.log10(eta) - np.log10(first))))


@given(spans(), lowests, layers, st.integers(1, 100))
def test_longer_run_begins_like_a_shorter_one(span, lowest, layers, more):
    until, total = span
    lerac = LeRaC(lowest=lowest, until=until)
    assert factors(lerac, layers, total + more)[:total].tolist() == factors(lerac, layers, total).tolist()


def test_without_a_curriculum_all_are_one_and_no_memory_is_taken():
    factor = factors(LeRaC(), 34, 10**9)
    assert factor.shape == (10**9, 34)
    assert factor.strides == (0, 0)
    assert factor[12345].tolist() == [1.0] * 34
