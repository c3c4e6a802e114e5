"""Arms as chains of runs: every distinct phase is trained once, and the verdict is on the judged one."""

import dataclasses
import functools
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from rich.console import Console
from runs import composing, elsewhere, interrupt, train_run
from tiny import TINY, merged

from ablate import runs, train
from ablate.console.compose import CONF
from ablate.run import lookup
from ablate.run.identity import canonical
from ablate.run.lineage import lineage
from ablate.run.record import run_record
from ablate.run.settings import Settings, SettingsError, UserError
from ablate.run.start import parse
from ablate.run.study_record import study_record
from ablate.sweep import conduct
from ablate.sweep.composition import Composer
from ablate.sweep.launcher import plan_of, prepared
from ablate.sweep.phases import phased
from ablate.sweep.preview import preview
from ablate.sweep.study import Plan, Run, declare
from ablate.sweep.wave import waves
from ablate.verdict import chain
from ablate.verdict.book import Book, keep
from ablate.verdict.evidence import AA, NULL, POSITIVE, read
from ablate.verdict.registry import kind_of
from ablate.verdict.spending import by_arm
from ablate.verdict.validity import trust

# Two phases of a second. `early` differs in the first, `late` in the second, and the base is in both
STUDY: dict[str, Any] = {
    "name": "s",
    "seeds": [0, 1],
    "factor": ["optimizer"],
    "phases": {"learn": ["tokens=4096"], "tune": ["tokens=2048", "optimizer.lr=0.001"]},
    "arms": {
        "early": {"learn": ["optimizer.lr=0.00301"]},
        "late": {"tune": ["optimizer.weight_decay=0.11"]},
    },
    "metric": "macro",
}
MATCHED = ["model.pattern=M", "size.match=flops"]  # to attention, in rows of a length: other rows, other widths
SETTINGS: dict[str, Any] = {"length": {"lengths": [64], "starts": [0]}, "evaluation": {"times": 1}}


def plan_in(outputs: Path, study: dict | None = None, **changes: Any) -> Plan:
    """The plan of the study, changed as said, without its text."""
    where = {"where": TINY["where"] | {"outputs": str(outputs)}}
    common = merged(merged(TINY | where, SETTINGS), merged(changes, {"study": STUDY | (study or {})}))

    return plan_of([["precision=fp32"]], composing(common))


@pytest.fixture
def planned(outputs):
    """planned({"judge": "learn"}, seed=1): a plan of which nothing is trained yet."""
    return functools.partial(plan_in, outputs)


def carried_out(plan: Plan) -> str:
    text = io.StringIO()
    conduct.run(plan, Console(file=text, width=200))
    return text.getvalue()


def outcome(plan: Plan, arm: str, seed: int = 0):
    return next(run for run in read(study_of(plan)).runs if (run.arm, run.seed) == (arm, seed))


def parent_of(run: Run) -> Run:
    assert run.parent
    return run.parent


def study_of(plan: Plan):
    return study_record(plan.arms[0].settings.where.outputs, plan.study.name)


def result(plan: Plan, run) -> dict[str, Any]:
    return run_record(plan.arms[0].settings.where.outputs, run.id).result() or {}


def test_arms_are_chains_and_what_is_equal_is_one_run(planned):
    tune = planned()
    learn = tune.before
    assert [one.phase for one in tune.chain] == ["learn", "tune"]
    ids = {arm.name: learn.run(arm, 0).id for arm in learn.arms}
    assert ids["base"] == ids["late"] != ids["early"]
    first = {arm.name: tune.run(arm, 0) for arm in tune.arms}
    assert {name: run.parent.id for name, run in first.items()} == ids
    assert len({run.id for run in first.values()}) == 3
    assert all(run.id.startswith("~") and not run.known for run in first.values())
    assert [run.settings.tokens for run in (first["early"].parent, first["early"])] == [4096, 2048]
    assert all(parent_of(run).seed == run.seed for run in tune.runs)
    # 2 seeds: in the first phase base and early, in the second all three; the null control once in each, the
    # positive control on both seeds
    assert len(tune.distinct()) == 2 * (2 + 3) + 2 * 1 + 2 * 2
    assert [run.phase for run in tune.distinct()] == ["learn"] * 7 + ["tune"] * 9


def test_a_phase_after_the_first_has_a_start_before_there_is_one(planned):
    """Preferences ask for it."""
    pairs = ["objective=preference", "data.pairs=true", "tokens=2048"]
    chain = {"phases": {"learn": [], "prefer": pairs}, "arms": {"late": {"prefer": ["preference.beta=0.2"]}}}
    plan = planned(chain | {"factor": ["preference"]})
    assert plan.named("late").difference == {"preference.beta": (0.1, 0.2)}
    with pytest.raises(SettingsError, match=r"^start=none: must be a run or a folder with objective=preference"):
        planned({"phases": {"prefer": pairs}, "arms": {}})


def test_a_difference_in_the_phase_before_is_one_of_the_start(planned):
    differences = {arm.name: arm.difference for arm in planned().arms}
    assert differences["base"] == {}
    assert differences["early"] == {"start.optimizer.lr": (0.003, 0.00301)}
    assert differences["late"] == {"optimizer.weight_decay": (0.1, 0.11)}
    assert kind_of(differences["early"]) == {"start.optimizer"}
    assert kind_of(["start.start.mixture.weights@0.qa", "tokens"]) == {"start.start.mixture", "tokens"}


@pytest.mark.parametrize(
    ("study", "words"),
    [
        (
            {"arms": {"hot": ["optimizer.lr=1"]}},
            "study.arms.hot=['optimizer.lr=1']: must say which phase it changes (learn, tune), "
            "as in {learn: ['optimizer.lr=1']}",
        ),
        ({"arms": {"hot": {"tone": []}}}, "study.arms.hot.tone: must be one of study.phases: learn, tune"),
        ({"judge": "tone"}, "study.judge=tone: must be one of study.phases: learn, tune"),
        ({"arms": {"long": {"tune": ["tokens=4096"]}}}, "study.arms.long.tune: differs outside the factor"),
        ({"arms": {"long": {"learn": ["tokens=2048"]}}}, "study.arms.long.learn: differs outside the factor"),
        ({"phases": {}}, "must be a list of overrides: the study has no phases"),
        (
            {"phases": {"learn": [], "tune": ["size.width=64", "model.qk_norm=true"]}},
            "study.phases.tune: arm base: its model does not fit size.width=64, model.qk_norm=true; "
            "it does with size.width=32 model.qk_norm=false",
        ),
        (
            {
                "phases": {"learn": MATCHED, "tune": [*MATCHED, "data.span=128"]},
                "factor": [],
                "arms": {},
            },
            "study.phases.tune: arm base: its model does not fit size.width=32, size.hidden=64, size.match=flops",
        ),
        (
            {"phases": {"learn": [], "tune": ["start=run:other"]}},
            "study.phases.tune: start=run:other: begins where the phase before it ends",
        ),
    ],
)
def test_what_is_no_chain_is_refused(planned, study, words):
    with pytest.raises(SettingsError) as error:
        planned(study)
    assert words in str(error.value)


def test_a_phase_may_turn_positions_more_slowly(planned):
    plan = planned({"phases": {"learn": [], "tune": ["model.rope_theta=5e5"]}, "factor": [], "arms": {}})
    assert plan.arms[0].settings.model.rope_theta == 5e5


def test_swept_parameters_and_phases_do_not_mix(planned):
    with pytest.raises(SettingsError, match="a study with arms or phases of its own"):
        plan_of([["tokens=1024"], ["tokens=2048"]], lambda _: planned().arms[0].settings)


def test_levels_may_be_of_phases(planned):
    first, then = {"a": [], "b": {"learn": ["optimizer.lr=0.1"]}}, {"c": [], "d": {"tune": ["optimizer.lr=1"]}}
    plan = planned({"arms": {}, "grid": {"first": first, "then": then}})
    assert {arm.name: arm.difference for arm in plan.arms} == {
        "base": {},
        "a d": {"optimizer.lr": (0.001, 1.0)},
        "b c": {"start.optimizer.lr": (0.003, 0.1)},
        "b d": {"start.optimizer.lr": (0.003, 0.1), "optimizer.lr": (0.001, 1.0)},
    }


def test_the_positive_control_differs_where_the_arms_first_do(planned):
    def positive(plan: Plan) -> list[dict]:
        return [one.named(POSITIVE).difference for one in plan.chain]

    assert positive(planned()) == [{"tokens": (4096, 3072)}, {"start.tokens": (4096, 3072)}]
    late = planned({"arms": {"late": STUDY["arms"]["late"]}, "controls": {"aa_seeds": 1}})
    assert positive(late) == [{}, {"tokens": (2048, 1536)}]
    for name, seed in ((NULL, 0), (AA, 2)):  # a chain of their own
        assert late.run(late.named(name), seed).parent.id == late.before.run(late.before.named(name), seed).id
    assert late.run(late.named(NULL), 0).parent.id.endswith("-r1")
    assert late.run(late.named(POSITIVE), 0).parent.id == late.run(late.arms[0], 0).parent.id


def test_phases_after_the_judged_one_are_not_trained(planned):
    plan = planned({"judge": "learn"})
    assert plan.before is None
    assert {run.phase for run in plan.distinct()} == {"learn"}


def test_the_plan_shows_the_chain(planned):
    text = io.StringIO()
    plan = prepared(planned())
    preview(plan, Console(file=text, width=200))
    assert "phases: learn -> tune, which is judged" in text.getvalue()
    assert "start.optimizer: lr 0.003 → 0.00301" in text.getvalue()
    assert "16 runs (6 of them controls), seeds 0, 1: 0 done, 16 missing; 4,096 + 2,048 tokens a run" in text.getvalue()


def test_a_race_trains_only_what_the_runs_it_wants_begin_from(planned):
    race = {"race": "verdicts", "looks": [2], "noise": 0.01, "noise_df": 10}
    plan = planned({"seeds": [0, 1, 2, 3], "budget": race})
    declare(plan, record := study_of(plan))
    wave = next(waves(plan, record))
    assert {(run.phase, run.seed) for run in wave.runs} == {("learn", 0), ("learn", 1)}
    shared = plan.before and plan.before.run(plan.before.arms[0], 0)
    assert shared
    assert {run.arm for run in wave.runs if run.id == shared.id} == {"base"}  # which `late` begins from too


def ends(plan: Plan) -> dict[str, str]:
    """The final weights of every run that is done."""
    return {run.id: end["weights_sha256"] for run in plan.refreshed().distinct() if (end := result(plan, run))}


@pytest.fixture(scope="module")
def done(tmp_path_factory, shared_data) -> Plan:
    """The study, carried out."""
    outputs = tmp_path_factory.mktemp("phases")
    (outputs / "data").symlink_to(shared_data)
    plan = prepared(plan_in(outputs))
    carried_out(plan)
    return plan.refreshed()


@pytest.mark.slow
def test_a_chain_is_trained_once_and_judged_at_its_end(done):
    evidence = read(study_of(done))
    assert len(ends(done)) == 16 == len(done.distinct())  # the arms are too alike: the positive control was wanted
    assert all(run.known and not run.id.startswith("~") for run in done.distinct())
    for run in done.runs:
        start = parse(run.settings.start)
        assert start
        assert start.sha256 == ends(done)[parent_of(run).id]
        assert [link.name for link in lineage(run_record(done.arms[0].settings.where.outputs, run.id))] == [
            parent_of(run).id,
            run.id,
        ]
    assert evidence.complete
    assert [phase.declaration["phase"] for phase in evidence.before] == ["learn"]
    assert set(evidence.declaration["runs"]["early"].values()) == {run.id for run in done.runs if run.arm == "early"}
    spent = sum(evidence.spending)
    assert spent == pytest.approx(sum(result(done, run)["flops"] for run in done.distinct()))
    assert {name: runs for name, runs, *_ in by_arm(evidence)}["whole study"] == 16
    before = {path: path.stat().st_mtime_ns for path in study_of(done).folder.parents[1].glob("runs/*/result.json")}
    digest = study_of(done).read()
    assert "0 missing" in carried_out(prepared(plan_in(study_of(done).folder.parents[1])))
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert study_of(done).read() == digest
    assert len(study_of(done).ledger.rows()) == 2  # declared once, and looked at once


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["learn", "tune"])
def test_killed_in_either_phase_it_ends_with_the_same_weights(done, planned, tmp_path, phase):
    again = prepared(planned({"controls": {"null_seeds": 0, "positive": []}}, where={"saves": 4}))
    again = moved(again, tmp_path / "again")
    run = again.run(again.arms[1], 1)
    if phase == "learn":
        interrupt(parent_of(run).settings, 5)
    else:
        train_run(parent_of(run).settings)
        again = again.refreshed()
        interrupt(again.run(again.arms[1], 1).settings, 3)
    carried_out(again)
    expected = ends(done)
    assert ends(again) == {id: expected[id] for id in ends(again)}
    assert len(ends(again)) == 10


def moved(plan: Plan, outputs: Path) -> Plan:
    """The plan in a folder of its own, which shares the text."""
    elsewhere(plan.arms[0].settings, outputs)

    def at(one: Plan) -> Plan:
        arms = [
            dataclasses.replace(
                arm,
                settings=dataclasses.replace(
                    arm.settings, where=dataclasses.replace(arm.settings.where, outputs=str(outputs))
                ),
            )
            for arm in one.arms
        ]
        return dataclasses.replace(one, arms=arms, before=at(one.before) if one.before else None)

    return at(plan)


@pytest.mark.slow
def test_a_kept_chain_is_whole_and_is_trained_again_from_its_beginning(done, tmp_path, capsys):
    evidence = read(study_of(done))
    keep(evidence, tmp_path / "book" / "s")
    kept = read(Book(tmp_path / "book" / "s"))
    assert kept.spending == evidence.spending
    assert [run.outcome for run in kept.before[0].runs] == ["finished"] * len(kept.before[0].runs)
    assert trust.conclude(kept).findings == trust.conclude(evidence).findings
    stages = [stage for row in chain.of_study(evidence).rows() for stage in row]
    assert [stage for row in chain.of_study(kept).rows() for stage in row] == stages
    assert all(stage.value and (stage.change or stage.phase == "learn") for stage in stages)
    outputs = tmp_path / "there"
    outputs.mkdir()
    (outputs / "data").symlink_to(study_of(done).folder.parents[1] / "data")
    book, learn = tmp_path / "book" / "s", kept.before[0]
    parent = learn.by_arm["early"][1].record.id
    runs.main(["again", f"{book}/learn/early/1", "--outputs", str(outputs)])
    assert f"{parent}: the same weights" in " ".join(capsys.readouterr().out.split())
    assert [path.name for path in (outputs / "runs").iterdir()] == [parent]
    runs.main(["again", f"{book}/early/1", "--outputs", str(outputs)])
    assert "the same weights" in capsys.readouterr().out
    assert len(list((outputs / "runs").iterdir())) == 2
    shutil.rmtree(outputs / "runs" / parent)  # a finished run needs its parent no more
    runs.main(["again", f"{book}/early/1", "--outputs", str(outputs)])
    assert "the same weights" in capsys.readouterr().out
    assert not (outputs / "runs" / parent).exists()
    with pytest.raises(SystemExit):
        runs.main(["again", f"{book}/nobody/1"])
    assert "no such arm in s; there are base, early, late, learn/base, " in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_a_parent_that_diverged_is_the_outcome_of_its_child(planned):
    wild = {"wild": {"learn": ["optimizer.lr=1e30", "optimizer.clip=0"]}}
    plan = prepared(planned({"arms": wild, "controls": {"null_seeds": 0, "positive": []}}))
    text = carried_out(plan)
    found = outcome(plan, "wild")
    assert found.outcome == "diverged"
    assert (found.reason or "").startswith("learn: ")
    assert "2 of 2 diverged" in text
    assert read(study_of(plan)).complete
    assert len(ends(plan)) == 2 + 2 + 2


def test_a_parent_that_failed_or_is_damaged_is_told_and_trained_again(planned):
    plan = prepared(planned({"arms": {}, "seeds": [0]}))
    declare(plan, study_of(plan))
    assert outcome(plan, "base").outcome == "not started"
    parent = parent_of(plan.run(plan.arms[0], 0))
    record = run_record(parent.settings.where.outputs, parent.id)
    record.fail("crashed", "it did")
    assert (outcome(plan, "base").outcome, outcome(plan, "base").reason) == ("crashed", "learn: it did")
    train_run(parent.settings)
    record.weights.write_bytes(b"no weights")
    assert outcome(plan, "base").outcome == "damaged"
    assert (outcome(plan, "base").reason or "").startswith("learn: weights.safetensors has 10 bytes, not ")
    carried_out(plan)  # sets the parent aside, and trains it again
    assert outcome(plan.refreshed(), "base").outcome == "finished"


def test_runs_of_all_phases_are_of_the_study(planned):
    plan = prepared(planned({"arms": {}, "seeds": [0]}))
    declare(plan, study_of(plan))
    parent, outputs = parent_of(plan.run(plan.arms[0], 0)), Path(plan.arms[0].settings.where.outputs)
    assert lookup.find("s/learn/base/0", outputs).id == parent.id
    assert lookup.needs(run_record(outputs, parent.id)) == ["study s/learn/base/0"]


def test_a_study_without_phases_is_one_phase(tiny):
    settings = tiny(study={"name": "s", "arms": {}})
    plan = phased(settings.study, lambda _: settings, [])
    assert (plan.phase, plan.before, plan.refreshed() is plan) == ("", None, True)
    assert "phases" not in study_declared(plan)


def study_declared(plan: Plan) -> dict:
    declare(plan, study_of(plan))
    return study_of(plan).read()


def test_the_shipped_study_differs_in_its_first_phase_alone():
    with initialize_config_dir(CONF, version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        assert isinstance(loader, ConfigLoaderImpl)
        composer = Composer(loader, loader.load_configuration("train", [], RunMode.MULTIRUN))
        plan = plan_of([["+experiment=phase_sweep"]], composer)
    assert [phase.phase for phase in plan.chain] == ["pretrain", "tune"]
    assert len({canonical_text(arm.settings) for arm in plan.arms}) == 1
    assert {key.rpartition(".")[0] for arm in plan.arms for key in arm.difference} == {"start.mixture.weights@0"}


def canonical_text(settings: Settings) -> str:
    return json.dumps(canonical(settings))


def test_phases_are_trained_by_a_study_alone(tiny):
    with pytest.raises(UserError, match="phases are runs of a study; -m trains them"):
        train.train(tiny(study={"phases": {"learn": []}}))
