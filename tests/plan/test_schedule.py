import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from ablate.plan.schedule import SHAPES, rates, weight_decays
from ablate.plan.timeline import timeline
from ablate.run.parse import from_config
from ablate.run.settings import Schedule, ScheduleStage

shapes = st.sampled_from(sorted(SHAPES))
finals = st.floats(0.01, 0.9)
peaks = st.floats(1e-6, 10)


@st.composite
def schedules(draw: st.DrawFn) -> tuple[int, int, int]:
    """Steps in all, of warmup and of decay; two steps at least, since a count of 1 reads as the whole."""
    total = draw(st.integers(4, 2000))
    warmup = draw(st.integers(2, total - 2))
    return total, warmup, draw(st.integers(2, total - warmup))


@given(schedules(), shapes, finals, peaks)
def test_rises_to_the_peak_stays_falls_to_its_end(steps, shape, final, peak):
    total, warmup, decay = steps
    rate = rates(Schedule(warmup=warmup, decay=decay, shape=shape, final=final), peak, total)
    assert len(rate) == total
    assert 0 < rate[0] < peak
    assert (np.diff(rate[:warmup]) > 0).all()
    assert (rate[warmup - 1 : total - decay] == peak).all()
    assert (np.diff(rate[total - decay - 1 :]) < 0).all()
    assert rate[-1] == peak * final
    assert rate.max() == peak


@given(schedules(), shapes, finals)
def test_warmup_has_equal_steps(steps, shape, final):
    total, warmup, decay = steps
    rate = rates(Schedule(warmup=warmup, decay=decay, shape=shape, final=final), 1.0, total)
    assert np.diff(rate[:warmup], prepend=0) == pytest.approx(1 / warmup)


@given(st.integers(2, 40), st.integers(0, 20), st.integers(0, 20), shapes, finals, peaks)
def test_fractions_and_counts_say_the_same(unit, warmup, decay, shape, final, peak):
    total = 40 * unit
    as_fractions = Schedule(warmup=warmup / 40, decay=decay / 40, shape=shape, final=final)
    as_counts = Schedule(warmup=warmup * unit, decay=decay * unit, shape=shape, final=final)
    assert rates(as_fractions, peak, total).tolist() == rates(as_counts, peak, total).tolist()


@pytest.mark.parametrize(
    ("shape", "halfway"),
    [("linear", 0.58), ("cosine", 0.58), ("sqrt", 0.16 + 0.84 * (1 - 0.5**0.5)), ("exponential", 0.4)],
)
def test_halfway_down(shape, halfway):
    rate = rates(Schedule(warmup=0, decay=0.5, shape=shape, final=0.16), 1.0, 400)
    assert rate[299] == pytest.approx(halfway)


def test_cosine_starts_and_ends_flat():
    rate = rates(Schedule(warmup=0, decay=1, shape="cosine", final=0), 1.0, 1000)
    falls = -np.diff(rate)
    assert falls[0] < falls.max() / 50
    assert falls[-1] < falls.max() / 50
    assert falls.argmax() == pytest.approx(500, abs=2)


def test_linear_falls_evenly_and_exponential_by_equal_factors():
    linear, exponential = (
        rates(Schedule(warmup=0, decay=1, shape=shape, final=0.1), 1.0, 100) for shape in ("linear", "exponential")
    )
    assert np.diff(linear) == pytest.approx(-0.9 / 100)
    assert exponential[1:] / exponential[:-1] == pytest.approx(0.1 ** (1 / 100))


@given(shapes, finals, peaks, st.integers(1, 500))
def test_constant_after_warmup_without_decay(shape, final, peak, total):
    rate = rates(Schedule(warmup=0.1, decay=0, shape=shape, final=final), peak, total)
    assert (rate[round(0.1 * total) :] == peak).all()


def test_full_decay_follows_the_warmup_at_once():
    rate = rates(Schedule(warmup=0.1, decay=1, shape="cosine"), 1.0, 100)
    assert rate.argmax() == 9
    assert (np.diff(rate[9:]) < 0).all()


@given(shapes, finals, st.integers(10, 300), st.integers(10, 300))
def test_longer_run_begins_like_a_shorter_one(shape, final, plateau, more):
    """What lets runs of one warmup and different lengths share their beginning."""
    schedule = Schedule(warmup=20, decay=30, shape=shape, final=final)
    short, long = (rates(schedule, 0.003, 50 + steps) for steps in (plateau, plateau + more))
    assert short[: 20 + plateau].tolist() == long[: 20 + plateau].tolist()
    assert short[20 + plateau] < long[20 + plateau]


@given(schedules(), shapes, finals)
def test_peak_only_scales(steps, shape, final):
    total, warmup, decay = steps
    schedule = Schedule(warmup=warmup, decay=decay, shape=shape, final=final)
    assert rates(schedule, 0.25, total).tolist() == (rates(schedule, 1.0, total) / 4).tolist()


@given(st.floats(0, 1), st.floats(0, 1), shapes, finals)
def test_single_step_moves_the_weights(warmup, decay, shape, final):
    [rate] = rates(Schedule(warmup=warmup, decay=decay, shape=shape, final=final), 1.0, 1)
    assert rate in (1.0, final)


@given(st.integers(2, 100), st.integers(0, 100), shapes)
def test_warmup_of_the_whole_run_or_more_reaches_the_peak_last(total, more, shape):
    rate = rates(Schedule(warmup=total + more, decay=0.5, shape=shape), 1.0, total)
    assert rate.tolist() == ((np.arange(total) + 1) / total).tolist()


@given(schedules(), st.integers(1, 100), shapes, finals)
def test_decay_longer_than_what_the_warmup_leaves_begins_after_it(steps, more, shape, final):
    total, warmup, _ = steps
    cut = rates(Schedule(warmup=warmup, decay=total - warmup, shape=shape, final=final), 1.0, total)
    longer = rates(Schedule(warmup=warmup, decay=total - warmup + more, shape=shape, final=final), 1.0, total)
    assert longer.tolist() == cut.tolist()
    assert longer[warmup - 1] == 1
    assert longer[-1] == final


def staged(schedule: Schedule, **stages: ScheduleStage) -> Schedule:
    return dataclasses.replace(schedule, stages=stages)


@st.composite
def rewarms(draw: st.DrawFn) -> tuple[Schedule, list[ScheduleStage], int]:
    """A schedule, its later stages in any order, steps in all."""
    total, warmup, decay = draw(schedules())
    starts = draw(st.lists(st.integers(2, total - 1), max_size=3, unique=True))
    fraction = st.floats(0, 1)
    later = [
        ScheduleStage(
            start=start,
            peak=draw(peaks),
            weight_decay=draw(fraction),
            warmup=draw(fraction),
            decay=draw(fraction),
            shape=draw(shapes),
            final=draw(finals),
        )
        for start in starts
    ]
    return Schedule(warmup=warmup, decay=decay, shape=draw(shapes), final=draw(finals)), later, total


@given(rewarms(), peaks)
def test_stage_is_a_schedule_of_its_own_over_its_own_steps(plan, peak):
    schedule, later, total = plan
    rate = rates(staged(schedule, **{str(i): stage for i, stage in enumerate(later)}), peak, total)
    edges = sorted(stage.start for stage in later)
    assert rate[: int([*edges, total][0])].tolist() == rates(schedule, peak, int([*edges, total][0])).tolist()
    for stage in later:
        first, last = int(stage.start), int(min([e for e in edges if e > stage.start], default=total))
        alone = Schedule(warmup=stage.warmup, decay=stage.decay, shape=stage.shape, final=stage.final)
        assert rate[first:last].tolist() == rates(alone, stage.peak * peak, last - first).tolist()
        decays = weight_decays(staged(schedule, x=stage), 0.1, total)
        assert set(decays[: int(stage.start)]) == {0.1}
        assert set(decays[int(stage.start) :]) == {0.1 * stage.weight_decay}


@given(rewarms(), rewarms())
def test_stages_before_do_not_depend_on_those_after(plan, other):
    """The beginning is the same when a later stage is added: moments are of a stage's own steps."""
    schedule, later, total = plan
    start = max([int(stage.start) for stage in later], default=0) + 1
    if start < total:
        now = staged(schedule, **{str(i): stage for i, stage in enumerate(later)})
        more = dataclasses.replace(now, stages=now.stages | {"more": ScheduleStage(start=start, peak=0.5)})
        last = start - 1  # the first step of the newest stage, whose own steps are now one only
        assert rates(more, 1.0, total)[:last].tolist() == rates(now, 1.0, total)[:last].tolist()


def test_four_stages_of_davinci():
    """Warmed up and held, cosine, warmed up anew and held, held; ten steps for each thousand of the recipe."""
    schedule = Schedule(
        warmup=20,
        decay=0,
        stages={
            "1-2": ScheduleStage(start=400, peak=1.0, decay=1.0, shape="cosine", final=0.1),
            "2-1": ScheduleStage(start=600, peak=0.1, warmup=20),
            "2-2": ScheduleStage(start=700, peak=0.1),
        },
    )
    rate = rates(schedule, 3e-4, 800)
    assert rate[[0, 19, 399]] == pytest.approx([1.5e-5, 3e-4, 3e-4])
    assert rate[499] == pytest.approx((3e-4 + 3e-5) / 2)
    assert rate[[599, 600, 619, 799]] == pytest.approx([3e-5, 1.5e-6, 3e-5, 3e-5])
    assert (np.diff(rate[400:600]) < 0).all()
    assert set(rate[619:]) == {rate[619]}


def test_bitnet_drops_to_two_thirds_midway_and_ends_the_weight_decay():
    file = Path(__file__).parents[2] / "conf/schedule/bitnet.yaml"
    settings = from_config({"schedule": OmegaConf.load(file), "tokens": 400 * 1024})
    table = timeline(settings).table
    rate = table["lr"] / settings.optimizer.lr
    assert rate[[9, 199]] == pytest.approx([1.0, 0.5])
    assert rate[200] / rate[199] == pytest.approx(2 / 3, rel=1e-3)
    assert (np.diff(rate[9:]) < 0).all()
    assert rate[-1] == 0
    assert table["weight_decay"].tolist() == [0.1] * 200 + [0.0] * 200
