"""The order against a reader that goes through every row, one after another, and holds its state."""

import math
import pickle
from collections import Counter
from dataclasses import replace
from functools import cache
from inspect import signature

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.plan import keyed
from ablate.plan.mixture import assign, counts, draws
from ablate.plan.order import Order, Rows, rows_asked, rows_read, same_steps
from ablate.plan.timeline import timeline
from ablate.run.mixture import Mixture, Stage
from ablate.run.settings import Data, Length, Ramp, Settings, Where

DOMAINS = ["a", "b", "c", "d"]
SPANS = [11, 7, 5, 3]  # of 64 tokens: hundreds of rows are several epochs
STEP = 256


def plan(
    steps: int = 150, length=None, seed: int = 0, weights=(4, 3, 2, 1), later=(), block: int = 8, ramp=None
) -> Settings:
    """A run of at least so many steps. `later`: (start, weights) of each later stage of the mixture."""
    ramp = ramp or Ramp()
    stages = {str(start): Stage(start=start, weights=_named(weights)) for start, weights in later}
    return Settings(
        data=Data(domains=DOMAINS, focus="a", span=64),
        mixture=Mixture(weights=_named(weights), stages=stages, block=block),
        length=length or Length(lengths=[32]),
        ramp=ramp,
        tokens=steps * STEP * max(ramp.multiples),
        step_tokens=STEP,
        seed=seed,
    )


def _named(weights) -> dict[str, float]:
    return dict(zip(DOMAINS, weights, strict=True))


def order_of(settings: Settings, spans: list[int] = SPANS) -> Order:
    return Order(timeline(settings), spans)


def read(settings: Settings, spans: list[int] = SPANS) -> list[list[tuple[int, int, int, int]]]:
    """(domain, start, length, epoch) of each row of each step, by reading from the first step on."""
    table, position, row, steps = timeline(settings), [0] * len(spans), 0, []
    u = draws(np.arange(table.first_row[-1]), settings.mixture.block, settings.seed)
    for line in table.table:
        length, edges = int(line["length"]), np.cumsum(table.weights[line["stage"]])
        position = [-(-p // length) * length for p in position]
        steps.append([])
        for _ in range(line["rows"]):
            domain = next(d for d, edge in enumerate(edges / edges[-1]) if u[row] < edge)
            span, offset = divmod(position[domain], settings.data.span)
            epoch, index = divmod(span, spans[domain])
            image = _epoch(settings.seed, settings.data.domains[domain], epoch, spans[domain])[index]
            steps[-1].append((domain, image * settings.data.span + offset, length, epoch))
            position[domain] += length
            row += 1
    return steps


@cache
def _epoch(seed: int, domain: str, epoch: int, spans: int) -> list[int]:
    return keyed.permute(np.arange(spans), spans, keyed.key(seed, "order", domain, epoch)).tolist()


def as_list(rows: Rows) -> list[tuple[int, int, int]]:
    return [(d, s, rows.length) for d, s in zip(rows.domain_R.tolist(), rows.start_R.tolist(), strict=True)]


def all_rows(order: Order) -> list[list[tuple[int, int, int]]]:
    return [as_list(order.step(step)) for step in range(len(order.timeline))]


weights = st.lists(st.integers(0, 9), min_size=4, max_size=4).filter(any)
moments = st.lists(st.integers(2, 140), max_size=3, unique=True).map(sorted)


@st.composite
def lengths(draw: st.DrawFn) -> Length:
    starts = [0, *draw(moments)]
    rows = st.sampled_from([8, 16, 32, 64])
    return Length(lengths=draw(st.lists(rows, min_size=len(starts), max_size=len(starts))), starts=starts)


@st.composite
def ramps(draw: st.DrawFn, steps: int) -> Ramp:
    """Starts are counts: those in tokens would move when a run is made longer."""
    starts = [0, *sorted(draw(st.sets(st.integers(2, steps - 1), max_size=2) if steps > 4 else st.just(set())))]
    multiples = st.lists(st.integers(1, 3), min_size=len(starts), max_size=len(starts))
    return Ramp(multiples=draw(multiples), starts=starts)


@st.composite
def plans(draw: st.DrawFn) -> Settings:
    steps = draw(st.integers(2, 150))
    return plan(
        steps=steps,
        ramp=draw(ramps(steps)),
        length=draw(lengths()),
        seed=draw(st.integers(0, 2**40)),
        weights=draw(weights),
        later=[(start, draw(weights)) for start in draw(moments)],
        block=draw(st.sampled_from([1, 8, 64])),
    )


slow = settings(max_examples=12)


@slow
@given(plans())
def test_same_rows_as_reading_from_the_first_step(settings):
    expected = [[row[:3] for row in step] for step in read(settings)]
    assert all_rows(order_of(settings)) == expected


@pytest.mark.slow
@slow
@given(plans(), st.randoms(use_true_random=False))
def test_jumping_in_gives_what_going_through_gives(settings, random):
    through = order_of(settings)
    rows = all_rows(through)
    steps = list(range(settings.steps))
    for step in random.sample(steps, min(5, len(steps))):
        assert as_list(order_of(settings).step(step)) == rows[step]
    random.shuffle(steps)
    assert all(as_list(through.step(step)) == rows[step] for step in steps)


@slow
@given(plans())
def test_no_token_twice_in_an_epoch_and_no_row_beyond_a_span(settings):
    seen = set()
    for step, rows in zip(read(settings), all_rows(order_of(settings)), strict=True):
        for (domain, start, length), epoch in zip(rows, (row[3] for row in step), strict=True):
            assert start // 64 == (start + length - 1) // 64
            assert 0 <= start < 64 * SPANS[domain]
            tokens = {(domain, epoch, token) for token in range(start, start + length)}
            assert not tokens & seen
            seen |= tokens


@pytest.mark.parametrize("length", [8, 32, 64])
def test_every_token_once_an_epoch_at_one_length(length):
    order = order_of(plan(length=Length(lengths=[length])))
    windows = streams(order)
    for domain, spans in enumerate(SPANS):
        per_epoch = spans * 64 // length
        epochs = len(windows[domain]) // per_epoch
        assert epochs >= 2
        for epoch in range(epochs):
            read = windows[domain][epoch * per_epoch : (epoch + 1) * per_epoch]
            assert sorted(read) == list(range(0, spans * 64, length))


def test_growing_length_reads_each_token_once_and_skips_at_most_an_old_row_a_growth():
    length = Length(lengths=[256, 512, 1024], starts=[0, 40, 80])
    settings = replace(plan(length=Length(lengths=[64])), data=Data(domains=DOMAINS, focus="a", span=1024))
    settings = replace(settings, length=length, step_tokens=4096, tokens=120 * 4096)
    order = order_of(settings, [40, 30, 20, 10])
    times = [Counter() for _ in DOMAINS]
    for step in all_rows(order):
        for domain, start, length in step:
            times[domain].update(range(start, start + length))
    for domain, spans in enumerate([40, 30, 20, 10]):
        read = np.array([times[domain][token] for token in range(spans * 1024)])
        skipped = int((read < read.max() - 1).sum())  # one less is read in the epoch that the run ends in
        assert skipped <= 256 + 512
        assert read.max() <= math.ceil((read.sum() + 256 + 512) / (spans * 1024))


def streams(order: Order) -> list[list[int]]:
    """Starts of each domain's windows, in the order in which they are read."""
    found: list[list[int]] = [[] for _ in order.spans]
    for step in all_rows(order):
        for domain, start, _ in step:
            found[domain].append(start)
    return found


@slow
@given(weights, weights, st.integers(0, 99), st.sampled_from([8, 32, 64]))
def test_arms_of_a_seed_read_the_same_windows_of_a_domain(a, b, seed, length):
    one, other = (
        streams(order_of(plan(seed=seed, weights=w, later=later, length=Length(lengths=[length]))))
        for w, later in ((a, []), (b, [(70, a)]))
    )
    for x, y in zip(one, other, strict=True):
        shared = min(len(x), len(y))
        assert x[:shared] == y[:shared]


def test_order_differs_by_seed_domain_and_epoch():
    spans = [50] * 4
    orders = []
    for seed in (0, 1):
        windows = streams(
            order_of(plan(seed=seed, steps=200, weights=(1, 1, 1, 1), length=Length(lengths=[64])), spans)
        )
        orders += [tuple(w[epoch * 50 : epoch * 50 + 50]) for w in windows for epoch in (0, 1, 2)]
    assert all(sorted(windows) == list(range(0, 3200, 64)) for windows in orders)
    assert len(set(orders)) == 2 * 4 * 3


def test_order_of_a_domain_does_not_depend_on_which_others_there_are():
    few = plan(weights=(1, 1, 0, 0))
    more = replace(few, data=Data(domains=["new", *DOMAINS], focus="a", span=64))
    one, other = streams(order_of(few))[0], streams(order_of(more, [9, *SPANS]))[1]
    assert len(one) > 100
    assert one[: len(other)] == other[: len(one)]


@slow
@given(plans(), lengths(), weights, st.integers(0, 60), st.integers(0, 200))
def test_later_parts_of_the_plan_do_not_change_earlier_rows(settings, other_lengths, other_weights, cut, more):
    """Everything after step `cut` is changed: lengths, mixture, and how long the run is."""
    cut = max(2, min(cut, settings.steps - 1))
    length, mixture = settings.length, settings.mixture
    kept = [(n, s) for n, s in zip(length.lengths, length.starts, strict=True) if s < cut]
    later = [(n, s) for n, s in zip(other_lengths.lengths, other_lengths.starts, strict=True) if s >= cut]
    stages = {name: stage for name, stage in mixture.stages.items() if stage.start < cut}
    changed = replace(
        settings,
        tokens=settings.tokens + more * STEP,
        length=Length(lengths=[n for n, _ in kept + later], starts=[s for _, s in kept + later]),
        mixture=replace(mixture, stages=stages | {"new": Stage(start=cut, weights=_named(other_weights))}),
    )
    assert all_rows(order_of(changed))[:cut] == all_rows(order_of(settings))[:cut]


@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_rows_do_not_depend_on_the_devices(ranks):
    settings = plan(length=Length(lengths=[16, 32], starts=[0, 50]))
    where = Where(devices=ranks, strategy="ddp", micro_tokens=64, data_workers=2, device="cpu")
    assert all_rows(order_of(replace(settings, where=where))) == all_rows(order_of(settings))
    assert list(signature(Order.step).parameters) == ["self", "step"]


def test_order_depends_on_every_seed_and_block():
    base = all_rows(order_of(plan()))
    assert all_rows(order_of(plan(seed=1))) != base
    assert all_rows(order_of(plan(block=16))) != base


@slow
@given(plans())
def test_tokens_read_are_those_of_the_rows(settings):
    order = order_of(settings)
    read = Counter()
    for step, rows in enumerate(all_rows(order)):
        assert order.domain_tokens(step) == {domain: read[d] for d, domain in enumerate(DOMAINS)}
        for domain, _, length in rows:
            read[domain] += length
    assert order.domain_tokens(settings.steps) == {domain: read[d] for d, domain in enumerate(DOMAINS)}


def test_pieces_in_which_rows_are_laid_out_do_not_matter(monkeypatch):
    settings = plan(length=Length(lengths=[8, 64, 16], starts=[0, 40, 90]), later=[(70, (1, 1, 1, 5))])
    base = all_rows(order_of(settings))
    for blocks, steps in ((1, 1), (3, 7), (5, 1000)):
        monkeypatch.setattr("ablate.plan.mixture.COUNTED_BLOCKS", blocks)
        monkeypatch.setattr("ablate.plan.order.CHUNK_STEPS", steps)
        assert all_rows(order_of(settings)) == base


@given(st.integers(0, 2**20), st.integers(0, 999), weights, st.sampled_from([1, 2, 64, 2**12]), st.integers(0, 2**40))
def test_rows_counted_by_blocks_are_those_drawn(first, rows, weights, block, seed):
    shares = np.array(weights) / sum(weights)
    drawn = assign(draws(np.arange(first, first + rows), block, seed), shares)
    assert counts(first, first + rows, shares, block, seed).tolist() == np.bincount(drawn, minlength=4).tolist()


def test_the_last_steps_of_a_long_run_are_reached_without_drawing_those_before(monkeypatch):
    """A run of 16 M rows, whose steps are sent to another process before any was asked for."""
    settings, drawn = replace(plan(length=Length(lengths=[8])), step_tokens=8 * 256, tokens=2**27), []
    order = pickle.loads(pickle.dumps(order_of(settings)))
    monkeypatch.setattr("ablate.plan.mixture.draws", lambda rows, *args: drawn.append(len(rows)) or draws(rows, *args))
    assert sum(order.domain_tokens(settings.steps).values()) == 2**27
    assert len(order.step(settings.steps - 1).domain_R) == 256
    assert sum(drawn) < 4096


def test_tokens_between_two_steps_are_those_of_the_rows():
    settings = plan(length=Length(lengths=[8, 64, 16], starts=[0, 40, 90]), later=[(70, (1, 1, 1, 5))])
    order = order_of(settings)
    for first, last in ((0, 150), (30, 110), (41, 42)):
        rows = [order.step(step) for step in range(first, last)]
        asked = [sum(r.length * int((r.domain_R == d).sum()) for r in rows) for d in range(4)]
        assert order.read(first, last).tolist() == asked


def test_shares_of_a_long_run_that_grows():
    """26 M tokens of four domains, 256 to 512 to 1024: shares within 1e-4, three of the longest rows."""
    asked = {"general": 0.4, "code": 0.3, "science": 0.2, "qa": 0.1}
    grow = Length(lengths=[256, 512, 1024], starts=[0, 1 / 3, 2 / 3])
    for seed in range(3):
        settings = Settings(tokens=26_000_000, step_tokens=8192, seed=seed, mixture=Mixture(weights=asked), length=grow)
        order = order_of(settings, [500] * 4)
        read = order.domain_tokens(settings.steps)
        assert sum(read.values()) == settings.steps * 8192
        assert max(abs(read[d] / sum(read.values()) - share) for d, share in asked.items()) < 1e-4


def test_a_share_below_half_a_row_is_no_step_of_its_own():
    """1,200 rows: a share of 1e-6 asks for 0.0012 of them, one of a hundredth for 12."""
    none, tiny, some = (timeline(plan(weights=(3, 3, 3, share))) for share in (0, 9e-6, 0.09))
    assert same_steps(none, tiny)
    assert not same_steps(none, some)
    assert rows_read(tiny).tolist()[3] == 0
    assert rows_asked(tiny)[3] == pytest.approx(1200e-6, rel=1e-3)
    assert rows_read(some).sum() == 1200
    assert abs(rows_read(some) - rows_asked(some)).max() < 8  # one block of rows


def test_steps_are_the_same_to_the_last_one_only():
    base = plan()
    assert same_steps(timeline(base), timeline(plan()))
    for other in (plan(steps=151), plan(length=Length(lengths=[64])), replace(base, seed=1)):
        assert not same_steps(timeline(base), timeline(other))
    late = replace(base, schedule=replace(base.schedule, final=0.2))  # the last steps alone
    assert not same_steps(timeline(base), timeline(late))
