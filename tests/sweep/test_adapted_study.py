"""A study whose last phase has weights that are computed from the record of the one before."""

import dataclasses
import io
from pathlib import Path

import pytest
from rich.console import Console
from runs import composing, record_of, train_run
from tiny import TINY, merged

from ablate.plan import adapt
from ablate.run.identity import run_id
from ablate.run.record import run_record
from ablate.run.settings import SettingsError, UserError
from ablate.run.study_record import study_record
from ablate.sweep import conduct
from ablate.sweep.adapted import adapted, seen
from ablate.sweep.launcher import plan_of, prepared
from ablate.sweep.study import Plan
from ablate.sweep.worker import settled
from ablate.verdict.evidence import read
from ablate.verdict.validity import trust

STUDY = {
    "name": "adapted",
    "factor": ["mixture"],
    "seeds": [0, 1],
    "phases": {"first": ["evaluation.part=1", "tokens=8192"], "second": ["tokens=2048"]},
    "arms": {"adaptive": {"second": ["mixture.adapt=saturation"]}},
    "metric": "macro",
    "controls": {"null_seeds": 0, "positive": []},
}
SHORT = {
    "length": {"lengths": [64], "starts": [0]},
    "evaluation": {"times": 8, "spans": 2},
    "mixture": {"weights": {"general": 0.7, "code": 0.2, "qa": 0.1}},
}


def plan_in(outputs: Path, study: dict | None = None, **changes) -> Plan:
    where = {"where": TINY["where"] | {"outputs": str(outputs)}, "study": STUDY | (study or {})}
    return plan_of([["precision=fp32"]], composing(merged(merged(TINY, SHORT), where | changes)))


def with_second(*overrides: str, first: tuple[str, ...] = ("evaluation.part=1",)) -> dict:
    arms = {"adaptive": {"second": ["mixture.adapt=saturation", *overrides]}}
    return {"arms": arms, "phases": {"first": list(first), "second": ["tokens=2048"]}}


@pytest.mark.slow
def test_weights_are_values_of_each_seed_once_the_phase_before_has_finished(outputs):
    plan = prepared(plan_in(outputs))
    fixed, rule = plan.arms
    assert plan.run(rule, 0).id != plan.run(fixed, 0).id  # nor before
    conduct.run(plan, Console(file=io.StringIO(), width=200))
    evidence = read(study_record(outputs, "adapted"))
    assert evidence.complete
    assert not trust.conclude(evidence).broken
    plan = plan.refreshed()
    assert set(evidence.study.promised()) == {run.id for run in plan.distinct()}
    for seed in (0, 1):
        run = plan.run(rule, seed)
        assert run.parent
        old = plan.run(fixed, seed).settings.mixture_stages[0][1]
        told = seen(run_record(outputs, run.parent.id), list(old))
        record = run_record(outputs, run.id)
        assert record.settings().mixture.weights == adapt.saturation(old, told, seed) != old
        assert record.settings().mixture.adapted == f"run:{run.parent.id}: {adapt.told()}"
        weights = record.settings().mixture_stages[0][1]
        assert (record.result() or {})["mixture"]["asked"] == pytest.approx(weights)
        control = dataclasses.replace(run.settings, mixture=dataclasses.replace(rule.settings.mixture, adapt="random"))
        away = adapt.distance(old, adapted(control).mixture_stages[0][1])
        assert away == pytest.approx(adapt.distance(old, weights), abs=2e-4)
    # weights by hand are the same run, and the same command finds all done
    by_hand = dataclasses.replace(run.settings.mixture, adapt="none", adapted="")
    assert run_id(dataclasses.replace(run.settings, mixture=by_hand), run.corpus.fingerprint) == run.id
    assert [one.id for one in prepared(plan_in(outputs)).runs] == [one.id for one in plan.runs]
    with (run_record(outputs, run.parent.id).folder / "metrics.jsonl").open("a") as file:
        file.write("\n")  # of a parent that was edited
    with pytest.raises(UserError, match=f"^start=run:{run.parent.id}: metrics.jsonl has .*; no weights are computed"):
        adapted(control)


REFUSED = {
    "^start=none: must be run:.* with mixture.adapt=saturation: weights are computed from the record": {
        "phases": {},
        "arms": {"adaptive": ["mixture.adapt=saturation"]},
    },
    "^mixture.adapt=steepest: must be 'none', 'saturation' or 'random'$": {
        "arms": {"adaptive": {"second": ["mixture.adapt=steepest"]}}
    },
    "^mixture.adapt=saturation: must be none where one domain has all the weight: qa$": with_second(
        "mixture.weights={general: 0, code: 0, qa: 1}"
    ),
    r"^mixture.stages=\['late'\]: must be left out with mixture.adapt=saturation": with_second(
        "mixture.stages={late: {start: 0.5, weights: {qa: 1}}}"
    ),
    "phase first is evaluated 2 times in its second half, and a gain takes 4; raise its evaluation.times$": with_second(
        first=("evaluation.part=1", "evaluation.times=3")
    ),
    "phase first is scored on the held-out rows by which this run is judged; give it another part": with_second(
        first=()
    ),
    "^mixture.adapt=saturation: phase first is scored on .* by which the last phase is judged; give that one another": {
        "arms": {"adaptive": {"second": ["mixture.adapt=saturation"]}},
        "phases": {"first": [], "second": ["evaluation.part=1"], "third": []},
    },
    "^mixture.adapt=random: must be saturation or none with two domains, general and code: a move": {
        "arms": {"adaptive": {"second": ["mixture.adapt=random", "mixture.weights={general: 1, code: 1, qa: 0}"]}}
    },
    "phase first has evaluation.spans=3, this run 2: only parts of equal size share no row$": with_second(
        first=("evaluation.part=1", "evaluation.spans=3")
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_weights_that_nothing_tells_of_are_refused_before_the_first_run(outputs, message):
    with pytest.raises(SettingsError, match=message) as error:
        plan_in(outputs, REFUSED[message])
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_run_alone_has_the_weights_of_its_own_seed(outputs, tiny):
    """Once its parent has finished; with other held-out rows than the parent's, or it is refused."""
    train_run(parent := tiny(**merged(SHORT, {"evaluation": {"part": 1}})))
    start = {"start": f"run:{record_of(parent).id}", "seed": 3}
    settings = settled(tiny(**merged(SHORT, start | {"mixture": {"adapt": "random"}})))
    old, told = parent.mixture_stages[0][1], seen(record_of(parent), parent.data.domains)
    assert settings.mixture.weights == adapt.random(old, told, 3)
    with pytest.raises(SettingsError, match="is scored on the held-out rows by which this run is judged"):
        settled(tiny(**merged(SHORT, start | {"mixture": {"adapt": "random"}, "evaluation": {"part": 1}})))


def test_no_task_of_held_out_text_grades_weights_that_were_computed_from_some_of_it(outputs):
    tasks = {"evaluate": {"tasks": {"gaps": {"kind": "last_word"}}}}
    with pytest.raises(SettingsError, match=r"^study.metric=task:gaps:acc: must be another with .*: its task is"):
        plan_in(outputs, {"metric": "task:gaps:acc"}, **tasks)
    assert plan_in(outputs, **tasks).arms  # beside another metric it may stand
