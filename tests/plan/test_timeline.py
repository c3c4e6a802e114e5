from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.plan import timeline as module
from ablate.plan.order import Order
from ablate.plan.timeline import Timeline, timeline
from ablate.run.mixture import Mixture, Stage
from ablate.run.optimizer import LeRaC, Optimizer
from ablate.run.parse import from_plain
from ablate.run.settings import (
    Averaging,
    Data,
    Evaluation,
    Length,
    Model,
    Ramp,
    Schedule,
    ScheduleStage,
    Settings,
    Size,
    Study,
    Where,
)

STEPS = 100
WEIGHTS = {"general": 1, "code": 1, "science": 1, "qa": 1}
BASE = Settings(
    tokens=STEPS * 1024,
    schedule=Schedule(warmup=10, decay=20),
    length=Length(lengths=[256, 1024], starts=[0, 50]),
    mixture=Mixture(weights=WEIGHTS, stages={"late": Stage(start=60, weights={"qa": 1})}),
)


def key(settings: Settings, steps: int, fingerprint: str = "data") -> str:
    return timeline(settings).key(steps, fingerprint)


def mixture(start: float = 60, **weights: float) -> Mixture:
    return Mixture(weights=WEIGHTS, stages={"other name": Stage(start=start, weights=weights or {"qa": 1})})


def rewarmed(rewarm: ScheduleStage) -> Schedule:
    """The base's schedule up to a later stage."""
    return Schedule(warmup=10, decay=0, stages={"late": rewarm})


# A change of the base, and how many steps it leaves as they were; the key must move with the next
CHANGES = {
    "longer, its decay later": (replace(BASE, tokens=150 * 1024), 80),
    "shorter, its decay earlier": (replace(BASE, tokens=90 * 1024), 70),
    "longer decay": (replace(BASE, schedule=Schedule(warmup=10, decay=30)), 70),
    "other shape of decay": (replace(BASE, schedule=Schedule(warmup=10, decay=20, shape="sqrt")), 80),
    "lower end": (replace(BASE, schedule=Schedule(warmup=10, decay=20, final=0)), 80),
    "longer warmup": (replace(BASE, schedule=Schedule(warmup=11, decay=20)), 0),
    "other weights later": (replace(BASE, mixture=mixture(qa=2, code=1)), 60),
    "stage later": (replace(BASE, mixture=mixture(start=61)), 60),
    "third stage": (
        replace(
            BASE,
            mixture=replace(BASE.mixture, stages=BASE.mixture.stages | {"x": Stage(start=99, weights={"code": 1})}),
        ),
        99,
    ),
    "other weights": (replace(BASE, mixture=replace(BASE.mixture, weights=WEIGHTS | {"qa": 2})), 0),
    "share": (replace(BASE, mixture=replace(BASE.mixture, share=0.3)), 0),
    "longer rows sooner": (replace(BASE, length=Length(lengths=[256, 1024], starts=[0, 49])), 49),
    "other rows later": (replace(BASE, length=Length(lengths=[256, 512], starts=[0, 50])), 50),
    "rows in between": (replace(BASE, length=Length(lengths=[256, 512, 1024], starts=[0, 40, 50])), 40),
    "fewer rows of the same length": (
        replace(BASE, length=Length(lengths=[256, 1024], starts=[0, 50], constant="rows")),
        0,
    ),
    "larger steps": (replace(BASE, step_tokens=8192, tokens=STEPS * 8192), 0),
    "peak": (replace(BASE, optimizer=Optimizer(lr=4e-3)), 0),
    "weight decay": (replace(BASE, optimizer=Optimizer(weight_decay=0.2)), 0),
}
CHANGES |= {
    "stage of the schedule": (replace(BASE, schedule=rewarmed(ScheduleStage(start=70, peak=0.5))), 70),
    "stage with other weight decay": (replace(BASE, schedule=rewarmed(ScheduleStage(start=70, weight_decay=0))), 70),
    "larger batch later": (replace(BASE, ramp=Ramp(multiples=[1, 2], starts=[0, 60])), 60),
    "larger batch from the start": (replace(BASE, ramp=Ramp(multiples=[2])), 0),
    "average": (replace(BASE, averaging=Averaging(kind="uniform", start=60)), 60),
    "exponential average": (replace(BASE, averaging=Averaging(kind="ema", start=0.6)), 60),
    "curriculum over layers": (replace(BASE, optimizer=Optimizer(lerac=LeRaC(lowest=0.1))), 0),
}
# What every step depends on, the weights before the first one included, or every evaluation
STATIC = {
    "seed": replace(BASE, seed=1),
    "precision": replace(BASE, precision="bf16-mixed"),
    "betas": replace(BASE, optimizer=Optimizer(betas=(0.9, 0.99))),
    "eps": replace(BASE, optimizer=Optimizer(eps=1e-6)),
    "clip": replace(BASE, optimizer=Optimizer(clip=0)),
    "pattern": replace(BASE, model=Model(pattern="AA")),
    "tied": replace(BASE, model=Model(tied=False)),
    "init": replace(BASE, model=Model(init_scale=0.18)),
    "width": replace(BASE, size=Size(width=256)),
    "depth": replace(BASE, size=Size(depth=5)),
    "vocabulary": replace(BASE, data=Data(vocabulary=4096)),
    "span": replace(BASE, data=Data(span=2048)),
    "held out": replace(BASE, data=Data(validation=0.1)),
    "block": replace(BASE, mixture=replace(BASE.mixture, block=128)),
    "validation rows": replace(BASE, evaluation=Evaluation(spans=2)),
    "part of them": replace(BASE, evaluation=Evaluation(part=1)),
}
# Ways to say the same, or what changes no weight
SAME = {
    "where": replace(BASE, where=Where(devices=4, strategy="ddp", micro_tokens=1024, saves=3, outputs="elsewhere")),
    "study": replace(BASE, study=Study(name="x", margin=0.5)),
    "evaluation": replace(BASE, evaluation=Evaluation(times=3)),
    "paths": replace(BASE, data=Data(root="/somewhere", tokenizer="/some/tokenizer.json")),
    "focus": replace(BASE, data=Data(focus="code")),
    "name of a stage": replace(BASE, mixture=mixture()),
    "scale of weights": replace(BASE, mixture=replace(BASE.mixture, weights={d: 0.25 for d in WEIGHTS})),
    "share of a fourth": replace(BASE, mixture=replace(BASE.mixture, share=0.25)),
    "fractions": replace(
        BASE,
        schedule=Schedule(warmup=0.1, decay=0.2),
        length=Length(lengths=[256, 1024], starts=[0, 0.5]),
        mixture=mixture(0.6),
    ),
    "stage that changes nothing": replace(
        BASE, mixture=replace(BASE.mixture, stages=BASE.mixture.stages | {"x": Stage(start=30, weights=WEIGHTS)})
    ),
    "length that changes nothing": replace(BASE, length=Length(lengths=[256, 256, 1024], starts=[0, 20, 50])),
    "stage of the schedule that changes nothing": replace(
        BASE, schedule=Schedule(warmup=10, decay=0, stages={"late": ScheduleStage(start=80, decay=20, final=0.1)})
    ),
    "larger batch by 1": replace(BASE, ramp=Ramp(multiples=[1, 1], starts=[0, 50])),
    "no average, later": replace(BASE, averaging=Averaging(start=0.9)),
    "no curriculum, longer": replace(BASE, optimizer=Optimizer(lerac=LeRaC(until=0.5))),
    "tokens of no step": replace(BASE, tokens=STEPS * 1024 + 1023),
}


@pytest.mark.parametrize("name", CHANGES)
def test_key_is_that_of_the_base_up_to_the_change_and_no_further(name):
    other, same = CHANGES[name]
    base, changed = timeline(BASE), timeline(other)
    for steps in range(min(len(base), len(changed)) + 1):
        assert (changed.key(steps, "data") == base.key(steps, "data")) == (steps <= same)


def test_two_averages_share_a_key_until_their_shares_differ():
    """The first weights are the average, of either kind."""
    uniform, ema = (timeline(replace(BASE, averaging=Averaging(kind=kind, start=60))) for kind in ("uniform", "ema"))
    assert [steps for steps in range(STEPS + 1) if uniform.key(steps, "") == ema.key(steps, "")] == list(range(62))


def test_two_curricula_over_layers_share_a_key_until_their_factors_differ():
    later = Schedule(warmup=10, decay=20), Schedule(warmup=10, decay=30)
    plans = [timeline(replace(BASE, schedule=s, optimizer=Optimizer(lerac=LeRaC(lowest=0.1)))) for s in later]
    assert [steps for steps in range(STEPS + 1) if len({p.key(steps, "") for p in plans}) == 1] == list(range(71))
    longer = timeline(replace(BASE, optimizer=Optimizer(lerac=LeRaC(lowest=0.1, until=0.2))))
    assert [steps for steps in range(STEPS + 1) if longer.key(steps, "") == plans[0].key(steps, "")] == [0, 1]


@pytest.mark.parametrize("name", STATIC)
def test_key_moves_from_the_start_with_what_every_step_depends_on(name):
    assert all(key(STATIC[name], steps) != key(BASE, steps) for steps in (0, 1, STEPS))


@pytest.mark.parametrize("name", SAME)
def test_key_is_the_same_for_the_same_computation(name):
    assert SAME[name] != BASE
    assert all(key(SAME[name], steps) == key(BASE, steps) for steps in (0, 1, 50, STEPS))


def test_key_moves_with_data_semantics_and_every_step(monkeypatch):
    table = timeline(BASE)
    assert len({table.key(steps, "data") for steps in range(STEPS + 1)}) == STEPS + 1
    before = table.key(50, "data")
    assert table.key(50, "other data") != before
    monkeypatch.setattr(module, "SEMANTICS", module.SEMANTICS + 1)
    assert table.key(50, "data") != before


@pytest.mark.parametrize("name", [name for name, (_, same) in CHANGES.items() if same])
def test_runs_of_one_key_read_the_same_rows(name):
    other, same = CHANGES[name]
    a, b = (Order(timeline(settings), [9, 8, 7, 6]) for settings in (BASE, other))
    for step in range(same):
        one, two = a.step(step), b.step(step)
        assert one.length == two.length
        assert one.domain_R.tolist() == two.domain_R.tolist()
        assert one.start_R.tolist() == two.start_R.tolist()


def test_flops_are_those_of_each_rows_length(tiny):
    """20 steps of 512 tokens, half of them in rows of 32 tokens at 2 FLOPs a token, half in rows of 64 at 3."""
    flops = timeline(tiny()).flops({32: 2, 64: 3})
    assert (len(flops), flops[0], flops[10], flops[20]) == (21, 0, 10 * 512 * 2, 10 * 512 * 2 + 10 * 512 * 3)


def test_table_says_what_each_step_does():
    table = timeline(BASE).table
    assert table["lr"][[0, 9, 79]] == pytest.approx([3e-4, 3e-3, 3e-3])
    assert table["lr"][-1] == 0.1 * 3e-3
    assert set(table["weight_decay"]) == {0.1}
    assert table["length"].tolist() == [256] * 50 + [1024] * 50
    assert table["rows"].tolist() == [4] * 50 + [1] * 50
    assert table["stage"].tolist() == [0] * 60 + [1] * 40


@pytest.mark.parametrize("where", [Where(micro_tokens=256), Where(devices=8, nodes=2, strategy="ddp")])
def test_steps_are_optimizer_steps_whatever_a_forward_pass_holds(where):
    assert (timeline(replace(BASE, where=where)).table == timeline(BASE).table).all()


@st.composite
def tables(draw: st.DrawFn) -> Timeline:
    lengths = draw(st.lists(st.sampled_from([128, 256, 512, 1024]), min_size=1, max_size=4))
    starts = [0, *sorted(draw(st.sets(st.integers(2, 99), min_size=len(lengths) - 1, max_size=len(lengths) - 1)))]
    length = Length(lengths=lengths, starts=starts, constant="tokens" if draw(st.booleans()) else "rows")
    tokens = 4096 * draw(st.integers(1, 300)) + draw(st.integers(0, 4095))
    return timeline(Settings(tokens=tokens, length=length, evaluation=Evaluation(times=draw(st.integers(1, 400)))))


@given(tables())
def test_tokens_and_first_row_count_up(table):
    tokens, rows = 0, 0
    for step in range(len(table)):
        assert table.tokens[step] == tokens
        assert table.first_row[step] == rows
        tokens += int(table.table["rows"][step] * table.table["length"][step])
        rows += int(table.table["rows"][step])
    assert (table.tokens[-1], table.first_row[-1]) == (tokens, rows)
    assert len(table.tokens) == len(table.first_row) == len(table) + 1
    if table.settings.length.constant == "tokens":
        assert tokens == table.settings.steps * table.settings.step_tokens


@given(tables())
def test_evaluations_are_evenly_spaced_and_end_with_the_last_step(table):
    times, due = table.settings.evaluation.times, table.evaluations
    assert due[-1] == len(table)
    assert len(due) == min(times, len(table))
    gaps = np.diff([0, *due])
    assert gaps.min() >= 1
    assert gaps.max() - gaps.min() <= 1


def test_a_run_of_no_tokens_has_no_steps_whatever_its_moments():
    schedule, ramp = {"stages": {"end": {"start": 100, "peak": 0.5}}}, {"multiples": [1, 2], "starts": [0, 50]}
    table = timeline(from_plain({"tokens": 0, "start": "run:x", "schedule": schedule, "ramp": ramp}))
    assert (len(table), table.evaluations, table.tokens.tolist()) == (0, (0,), [0])
