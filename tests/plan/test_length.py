import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.plan.length import multiples, row_counts, row_lengths
from ablate.plan.timeline import timeline
from ablate.run.settings import Length, Ramp, Settings


@st.composite
def curricula(draw: st.DrawFn) -> tuple[list[int], list[int], int]:
    """Lengths (powers of two up to 1024, in any order), the steps they begin at, steps in all."""
    total = draw(st.integers(3, 300))
    later = draw(st.lists(st.integers(2, total - 1), max_size=5, unique=True))
    starts = [0, *sorted(later)]
    lengths = draw(st.lists(st.sampled_from([64, 128, 256, 512, 1024]), min_size=len(starts), max_size=len(starts)))
    return lengths, starts, total


@given(curricula())
def test_length_changes_exactly_at_the_starts(curriculum):
    lengths, starts, total = curriculum
    ends = [*starts[1:], total]
    expected = [length for length, start, end in zip(lengths, starts, ends, strict=True) for _ in range(start, end)]
    assert row_lengths(Length(lengths=lengths, starts=starts), total).tolist() == expected


@given(curricula())
def test_every_step_has_the_same_tokens(curriculum):
    lengths, starts, total = curriculum
    length = Length(lengths=lengths, starts=starts)
    assert set(row_counts(length, 4096, total) * row_lengths(length, total)) == {4096}


@given(curricula())
def test_every_step_has_the_same_rows_if_asked(curriculum):
    lengths, starts, total = curriculum
    length = Length(lengths=lengths, starts=starts, constant="rows")
    assert set(row_counts(length, 4096, total).tolist()) == {4096 // lengths[-1]}
    assert row_lengths(length, total).tolist() == row_lengths(Length(lengths=lengths, starts=starts), total).tolist()


def test_fractions_and_counts_say_the_same():
    lengths = [256, 512, 1024]
    a, b = (row_lengths(Length(lengths=lengths, starts=starts), 200) for starts in ([0, 0.25, 0.5], [0, 50, 100]))
    assert a.tolist() == b.tolist() == [256] * 50 + [512] * 50 + [1024] * 100


def test_start_after_the_end_never_comes():
    assert set(row_lengths(Length(lengths=[256, 512], starts=[0, 1000]), 100)) == {256}


@pytest.mark.parametrize("total", [1, 7])
def test_one_length_throughout(total):
    assert row_lengths(Length(lengths=[512]), total).tolist() == [512] * total
    assert row_counts(Length(lengths=[512]), 2048, total).dtype == np.int64


@st.composite
def ramps(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Multiples in any order, and the steps of each stage: two at least, since a start of 1 reads as the whole."""
    multiples = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    return multiples, draw(st.lists(st.integers(2, 40), min_size=len(multiples), max_size=len(multiples)))


def ramped(ramp: tuple[list[int], list[int]], unit: str, length: Length, extra: int = 0) -> Settings:
    factors, steps = ramp
    read = np.cumsum([0, *(factor * count * 1024 for factor, count in zip(factors, steps, strict=True))])
    starts = np.cumsum([0, *steps])[:-1] if unit == "steps" else read[:-1] / read[-1]
    settings = Ramp(multiples=factors, starts=starts.tolist())
    return Settings(tokens=int(read[-1]) + extra, step_tokens=1024, ramp=settings, length=length)


@given(ramps(), st.sampled_from(["steps", "tokens"]), curricula())
def test_ramp_reads_the_tokens_asked_for_in_the_stages_asked_for(ramp, unit, curriculum):
    factors, steps = ramp
    settings = ramped(ramp, unit, Length(lengths=curriculum[0], starts=[0, *_within(curriculum[1][1:], sum(steps))]))
    expected = [factor for factor, count in zip(factors, steps, strict=True) for _ in range(count)]
    assert multiples(settings).tolist() == expected
    table = timeline(settings).table
    assert (table["rows"] * table["length"]).tolist() == [factor * 1024 for factor in expected]
    assert timeline(settings).tokens[-1] == settings.tokens


@given(ramps(), st.integers(0, 5 * 1024))
def test_ramp_leaves_out_less_than_a_step(ramp, extra):
    settings = ramped(ramp, "steps", Length(), extra)
    left = settings.tokens - timeline(settings).tokens[-1]
    assert left == extra % (1024 * ramp[0][-1])


def _within(starts: list[int], total: int) -> list[int]:
    """Different steps from 2 on, in order; a later one than the run has is allowed."""
    return [start + total for start in starts] if any(start >= total for start in starts) else starts
