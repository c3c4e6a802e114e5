"""Controls are declared with a study and trained beside its arms; a study that does not repeat itself is void."""

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from runs import record_of, train_run

from ablate.data.tokens import Corpus
from ablate.run import whole as whole_file
from ablate.run.parse import from_config
from ablate.run.record import run_record
from ablate.run.settings import Settings, SettingsError, UserError
from ablate.run.study import Budget, Controls, Study
from ablate.run.study_record import study_record
from ablate.sweep import conduct, trunk
from ablate.sweep.controls import multiplied, with_controls
from ablate.sweep.cost import prospect
from ablate.sweep.launcher import prepared
from ablate.sweep.preview import preview
from ablate.sweep.study import Plan, declare, plan, with_corpora
from ablate.verdict.evidence import AA, NULL, POSITIVE, read
from ablate.verdict.validity import trust

pytestmark = pytest.mark.slow

TEXT = Corpus(Path(), {"fingerprint": "data"})  # that nobody reads

LATE = {"mixture": {"stages": {"late": {"start": 0.5, "weights": {"qa": 1}}}}}


def composed(base: Settings):
    """Stands for Hydra: overrides of one level, on top of a base."""

    def compose(phase: str, overrides: list[str]) -> Settings:
        tree: Any = dataclasses.asdict(base)
        for override in overrides:
            key, value = override.split("=", 1)
            *groups, name = key.split(".")
            part = tree
            for group in groups:
                part = part[group]
            part[name] = json.loads(value)
        return from_config(tree)

    return compose


def planned(base: Settings, arm: Settings, seeds: tuple[int, ...] = (0, 1), **controls) -> Plan:
    study = Study(name="s", factor=["mixture"], seeds=list(seeds), controls=Controls(**controls))
    whole = with_controls(plan(study, base, {"late": arm}), composed(base))
    return with_corpora(whole, [TEXT] * 2)


@pytest.fixture
def plain(tmp_path):
    """plain(...): a plan with controls, nothing of which is trained."""
    common = {"where": {"outputs": str(tmp_path)}}
    return lambda **more: planned(from_config(common), from_config(common | LATE), **more)


def by_control(whole: Plan) -> dict[str, list[int]]:
    return {control.name: list(control.seeds) for control in whole.controls}


def test_the_usual_controls(plain):
    whole = plain(seeds=(3, 5, 4))
    assert by_control(whole) == {NULL: [3], POSITIVE: [3, 5, 4]}
    assert whole.controls[1].difference == {"tokens": (300_000, 225_000)}


def test_further_seeds_are_no_seeds_of_the_study(plain):
    assert by_control(plain(seeds=(3, 5), null_seeds=2, aa_seeds=2, positive=[])) == {NULL: [3, 5], AA: [6, 7]}


def test_all_can_be_refused(plain):
    whole = plain(null_seeds=0, positive=[])
    assert whole.controls == []
    assert {run.arm for run in whole.distinct()} == {"base", "late"}


def test_one_seed_gives_no_interval_and_gets_no_positive_control(plain):
    assert by_control(plain(seeds=(0,))) == {NULL: [0]}


def test_without_an_arm_there_is_nothing_to_control():
    whole = plan(Study(name="s", seeds=[0, 1]), from_config({}), {"null": from_config({})})
    assert with_controls(whole, composed(from_config({}))).controls == []


def test_an_arm_that_differs_in_its_text_alone_has_controls_too():
    base = from_config({})
    for change in ({"data": {"level": {"code": 2}}}, {"data": {"root": "elsewhere"}}, {"corpus": {"random": True}}):
        whole = plan(Study(factor=["data.level"], seeds=[0, 1]), base, {"other": from_config(change)})
        assert whole.arms[1].difference == {}
        assert [one.name for one in with_controls(whole, composed(base)).controls] == [NULL, POSITIVE]


@pytest.mark.parametrize(
    ("positive", "words"),
    [
        (["tokens*=x"], "tokens*=x: must be a number's key, *= and a number; tokens is 300000"),
        (["precision*=2"], "precision*=2: must be"),
        (["optimizer.rate*=2"], "optimizer.rate: no such setting"),
        (["tokens*=1"], "must change something; this is the base"),
        (["seed=7"], "must leave seed as in the base"),
        (["data.validation*=2", "tokens*=0.5"], "must leave data.validation as in the base"),
        (["tokens*=0.001"], "at least one step"),
    ],
)
def test_a_positive_control_that_is_none_is_refused(plain, positive, words):
    with pytest.raises(SettingsError) as error:
        plain(positive=positive)
    assert words in str(error.value)
    assert str(error.value).startswith(f"study.controls.positive={positive}: ")


def test_numbers_are_multiplied_and_whole_ones_stay_whole():
    base = from_config({"tokens": 300_001})
    assert multiplied("tokens*=0.5", base) == "tokens=150000"
    assert multiplied("optimizer.lr*=0.5", base) == "optimizer.lr=0.0015"
    assert multiplied("schedule=cosine", base) == "schedule=cosine"


def test_a_control_outside_of_the_factor_passes_and_an_arm_does_not(plain):
    assert plain(positive=["optimizer.lr*=0.5"]).controls[1].difference == {"optimizer.lr": (0.003, 0.0015)}
    base = from_config({})
    with pytest.raises(SettingsError, match="differs outside the factor"):
        planned(base, dataclasses.replace(base, tokens=225_000))


def test_a_replicate_is_the_same_run_in_another_folder(plain):
    whole = plain()
    base, null = whole.run(whole.arms[0], 0), whole.run(whole.controls[0], 0)
    assert null.id == f"{base.id}-r1"
    assert null.settings.where.replicate == 1
    ids = {run.id for run in whole.distinct()}
    assert len(ids) == len(whole.distinct()) == 4 + 1 + 2


def test_a_base_that_is_repeated_comes_after_its_block(plain):
    order = [(run.seed, run.arm) for run in plain(aa_seeds=1).distinct()]
    assert order == [
        *[(0, "late"), (0, "base"), (0, NULL), (0, POSITIVE)],
        *[(1, "base"), (1, "late"), (1, POSITIVE)],
        (2, AA),
    ]


def test_a_replicate_neither_takes_nor_leaves_a_trunk(plain):
    whole = plain()
    ways = trunk.branches(trunk.beginnings(whole))
    base, null = whole.run(whole.arms[0], 0), whole.run(whole.controls[0], 0)
    assert ways[base.id]
    assert ways[null.id] == []
    assert trunk.branches_of(null.settings, null.id, "data") == []
    trees = [tree for tree in trunk.forest(trunk.beginnings(whole)) if {base.id, null.id} & set(tree.runs)]
    assert sorted(len(tree.runs) for tree in trees) == [1, 2]  # the replicate; the base with the arm


def test_controls_are_declared_apart_from_the_arms(plain, tmp_path):
    record = study_record(tmp_path, "s")
    declare(plain(), record)
    declared = record.read()
    assert set(declared["runs"]) == set(declared["arms"]) == {"base", "late"}
    assert set(declared["control_runs"]) == {NULL, POSITIVE}
    assert declared["control_arms"][POSITIVE] == {"tokens": [300_000, 225_000]}
    assert declared["controls"]["expected"] == "worse"
    declare(plain(null_seeds=2), record)
    assert [row["declaration"]["controls"]["null_seeds"] for row in record.ledger.rows()] == [1, 2]


def test_a_study_of_before_there_were_controls_still_reads(plain, tmp_path):
    record = study_record(tmp_path, "s")
    declare(plain(), record)
    old = {key: value for key, value in record.read().items() if not key.startswith("control")}
    record.write(old)
    assert read(record).controls == ()
    assert "none were declared" in trust.conclude(read(record)).findings[0].text


def shown(whole: Plan) -> str:
    text = io.StringIO()
    preview(whole, Console(file=text, width=200))
    return text.getvalue()


def test_the_plan_lists_the_controls_and_their_cost(plain):
    whole = plain()
    text, found = shown(whole), prospect(whole)
    lines = {name: next(line for line in text.splitlines() if line.startswith(name)) for name in (NULL, POSITIVE)}
    null = whole.run(whole.controls[0], 0).id
    assert lines[NULL].removeprefix(NULL).split()[:2] == ["1", f"{found.flops[null][-1]:.2e}"]
    assert "base of seed 0 once more, alone: the same bits, or the study is void" in lines[NULL]
    assert "tokens 300000 → 225000: known to be worse; trained if an arm is not found to differ" in lines[POSITIVE]
    assert "7 runs (3 of them controls), seeds 0, 1: 0 done, 7 missing" in text
    of_arms = found.shared - sum(found.alone_of({run.id}) for run in whole.control_runs)
    assert f"{float(found.flops[null][-1]) / of_arms:.1%}" in lines[NULL]
    assert "controls: none" in shown(plain(null_seeds=0, positive=[]))


# Two arms that part in the middle: whichever is trained second grows from what the first left
TRAINED = {"length": {"lengths": [64], "starts": [0]}, "schedule": {"warmup": 2, "decay": 4}}


@pytest.fixture
def study(tiny):
    """study(...): a plan with controls, of runs of a second."""

    def make(**controls) -> Plan:
        base = tiny(**TRAINED, study={"name": "s"})
        whole = planned(base, tiny(**TRAINED, **LATE, study={"name": "s"}), **controls)
        return prepared(whole)

    return make


def carried_out(whole: Plan) -> tuple[trust.Conclusion, str]:
    console = Console(record=True, width=200)
    error = ""
    try:
        conduct.run(whole, console)
    except UserError as raised:
        error = str(raised)
    return trust.conclude(read(study_record(whole.arms[0].settings.where.outputs, "s"))), error


def result(whole: Plan, name: str, seed: int = 0) -> dict:
    one = next(arm for arm in (*whole.arms, *whole.controls) if arm.name == name)
    return run_record(one.settings.where.outputs, whole.run(one, seed).id).result() or {}


def test_a_study_repeats_to_the_bit_and_proves_its_trunks(study):
    whole = study()
    conclusion, error = carried_out(whole)
    assert (error, conclusion.void) == ("", False)
    first, again = result(whole, "base"), result(whole, NULL)
    assert again["grown_from"] is None
    assert first["grown_from"]["step"] >= 10  # half of 20 steps, which the arm before it left
    assert first["weights_sha256"] == again["weights_sha256"] != result(whole, "base", 1)["weights_sha256"]
    null = conclusion.findings[0]
    assert null.held
    assert "is the same to the bit" in null.text
    assert f"grown from a trunk of {first['grown_from']['step']} steps" in null.text
    # two seeds of a second cannot tell the arms apart, and so the known effect was asked for
    assert {verdict.word for verdict in conclusion.verdicts} <= {"inconclusive", "equivalent"}
    assert result(whole, POSITIVE, 1)["outcome"] == "finished"
    assert "tokens 10240 → 7680, known to be worse" in conclusion.findings[1].text
    null_run = whole.run(whole.controls[0], 0)
    planted = run_record(null_run.settings.where.outputs, null_run.id).folder / "result.json"
    whole_file.write(planted, whole_file.read(planted) | {"weights_sha256": "0" * 64})
    conclusion, error = carried_out(whole)
    assert error == "s is void: null control, scores"
    assert "null control: `base` of seed 0, trained twice, is not the same: final" in conclusion.sentence


def test_a_base_that_does_not_repeat_voids_the_study_and_asks_for_no_more(study):
    """The second time with another split of the batch, which adds up in another order."""
    whole = study()
    null = whole.run(whole.controls[0], 0).settings
    other = dataclasses.replace(null, where=dataclasses.replace(null.where, micro_tokens=128))
    assert record_of(other).id == whole.run(whole.controls[0], 0).id
    train_run(other)
    conclusion, error = carried_out(whole)
    assert error == "s is void: null control"
    assert {verdict.word for verdict in conclusion.verdicts} == {"inconclusive"}
    assert "evaluation after step" in conclusion.sentence
    assert "where.micro_tokens 16384, 128" in conclusion.sentence
    assert result(whole, POSITIVE) == {}


def test_where_every_arm_is_found_to_differ_the_positive_control_is_not_trained(study, tiny):
    whole = study()
    worse = dataclasses.replace(
        whole.arms[1].settings, optimizer=dataclasses.replace(whole.arms[1].settings.optimizer, eps=10.0)
    )
    declared = dataclasses.replace(whole.study, factor=["mixture", "optimizer"], confidence=0.6)
    base = whole.arms[0].settings
    frozen = with_controls(plan(declared, base, {"frozen": worse}), composed(base))
    frozen = prepared(frozen)
    conclusion, error = carried_out(frozen)
    assert error == ""
    assert [verdict.word for verdict in conclusion.verdicts] == ["worse"]
    assert result(frozen, POSITIVE) == {}
    assert result(frozen, NULL)["outcome"] == "finished"
    assert read(study_record(base.where.outputs, "s")).complete


def test_controls_race_with_nobody(study):
    """An arm that has lost leaves the race and counts as found; the other asks for the known effect."""
    whole = study()
    base = whole.arms[0].settings
    eps = {"frozen": 10.0, "near": 2e-8}
    arms = {n: dataclasses.replace(base, optimizer=dataclasses.replace(base.optimizer, eps=e)) for n, e in eps.items()}
    budget = Budget(race="best", looks=[2], noise=0.01, noise_df=40)
    declared = dataclasses.replace(whole.study, factor=["optimizer"], seeds=[0, 1, 2], budget=budget)
    raced = with_controls(plan(declared, base, arms), composed(base))
    raced = prepared(raced)
    conclusion, error = carried_out(raced)
    assert (error, conclusion.void) == ("", False)
    evidence = read(study_record(base.where.outputs, "s"))
    assert set(evidence.race) == {"frozen", "near"}
    assert {verdict.family for verdict in conclusion.verdicts} == {2}
    assert (evidence.race["frozen"]["reason"], list(evidence.finished("frozen"))) == ("worse", [0, 1])
    assert "is the same to the bit" in conclusion.findings[0].text
    assert {verdict.arm: verdict.word for verdict in conclusion.verdicts} == {"frozen": "worse", "near": "inconclusive"}
    done = [seed for seed, run in evidence.control(POSITIVE).items() if run.outcome == "finished"]
    assert done == list(evidence.finished("base"))


def test_refused_controls_train_nothing_more(study):
    whole = study(null_seeds=0, positive=[])
    conclusion, error = carried_out(whole)
    assert error == ""
    runs = Path(whole.arms[0].settings.where.outputs) / "runs"
    assert {path.parent.name for path in runs.glob("*/result.json")} == {run.id for run in whole.runs}
    assert [finding.check for finding in conclusion.findings] == ["controls", "scores"]
