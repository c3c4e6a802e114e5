"""What two runs really took in: differences that nothing declared explains are found, and no others.

`python -m bench confounds` grades the detector on all mutations, each in an arm of every kind, and on 419 clean pairs;
here is a part of them.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from runs import train_run

from ablate.model import language, mamba
from ablate.plan import digests as plan_streams
from ablate.run import fields
from ablate.run.record import Record, run_record
from ablate.run.settings import Settings
from ablate.run.trunks import Growth
from ablate.verdict.evidence import Run, read
from ablate.verdict.validity import confounds, streams
from ablate.verdict.validity.confounds import Traced, findings
from bench.confounds import AUDITED, GROUPS, KINDS, Mutation, mutations
from bench.mutations.lab import ARMS, WAYS, Lab, as_it_is, laboratory, resumed

HASHED = {key for key, one in fields.declared(Settings).items() if fields.Mark.NOT_HASHED not in one.marks}
ALL = mutations([*GROUPS, *AUDITED], ["mixture"])
BY_NAME = {mutation.name: mutation for mutation in ALL}
NOTHING = ("warmup a step shorter",)  # what changes nothing in arms of another schedule
PLAIN = [one for one in mutations(GROUPS) if one.base == "plain" and one.name not in NOTHING]


@pytest.fixture(scope="module")
def lab(shared_data: Path) -> Iterator[Lab]:
    with laboratory(shared_data) as lab:
        yield lab


def test_there_are_many_mutations_and_no_two_of_one_name():
    assert len(ALL) == len(BY_NAME) > 180


@pytest.mark.parametrize("mutation", PLAIN[::53], ids=lambda mutation: f"{mutation.name} in {mutation.arm}")
def test_a_mutation_is_caught(lab: Lab, mutation: Mutation):
    assert mutation.caught(lab)


# What no stream of an arm's own shows where the arm changes the model, and the stream that does
WHATEVER_THE_ARM = {
    "labels not shifted": "twin",
    "bytes counted as tokens": "twin",
    "no clipping": "twin",
    "second beta of .99": "twin",
    "moments lost after step 2": "custody",
    "hidden weight decay": "custody",
    "an average copied into the weights": "custody",
    "a spike skipped": "custody",
    "a part of a mixer masked from step 4 on": "last step",
    "bytes of 1 % more after the first step": "twin",
    "second halves of rows that repeat the first": "rows",
    "rows reversed": "rows",
}


@pytest.mark.parametrize("name", WHATEVER_THE_ARM)
@pytest.mark.parametrize("arm", [pytest.param("deeper", marks=pytest.mark.slow), "betas", "length"])
def test_an_arm_that_explains_what_it_computes_hides_nothing(lab: Lab, name: str, arm: str):
    alarms = lab.alarms(arm, carry=BY_NAME[name])
    assert any(f": {WHATEVER_THE_ARM[name]} differs" in text for text in alarms)


@pytest.mark.parametrize(
    ("name", "arm", "said"),
    [
        ("one token of one row", "rate", "rows differs from base (first seen after step 3)"),
        ("one token of one row", "mixture", "rows differs from its plan (first seen after step 3)"),
        (
            "a stage of the mixture a step late",
            "mixture",
            "interleaving differs from its plan (first seen after step 7)",
        ),
        ("a rate of 1e-6 more in one step", "schedule", "rates differs from its plan (first seen after step 6)"),
        ("two threads", "length", "numerics differs from base (numerics/threads, 2 instead of 1)"),
        ("a step undone", "late", "something but a step changed weights, moments or average after step 4"),
        ("resumed from another run", "rate", "origin differs from the run's own start"),
        ("weight decay on norms", "schedule", "decay differs from base"),
    ],
)
def test_a_finding_says_what_and_when(lab: Lab, name: str, arm: str, said: str):
    assert any(text.startswith("seed 0: ") and said in text for text in lab.alarms(arm, carry=BY_NAME[name]))


def test_a_laboratory_in_a_fresh_clone_prepares_its_text(tmp_path):
    data = tmp_path / "outputs" / "data"
    with laboratory(data) as lab:
        lab.plan(("rate",))
    assert list(data.glob("*/manifest.json"))


@pytest.mark.parametrize("arm", [*KINDS.values(), "layers", "ramp", "average"])
def test_a_clean_pair_is_left_in_peace(lab: Lab, arm: str):
    assert lab.alarms(arm) == []


@pytest.mark.parametrize("way", [way for way in WAYS if way != "as it is"])
def test_how_a_run_is_carried_out_is_no_confound(lab: Lab, way: str):
    assert lab.alarms("rate", carry=WAYS[way]) == []


def test_parts_of_steps_are_noted(lab: Lab):
    whole, record = lab.plan(("decay",))
    train_run(whole.runs[0].settings)
    WAYS["in parts of two rows"](whole.runs[1].settings)
    (noted,) = findings(read(record))
    assert noted.held
    assert noted.arm == "decay"
    assert "micro_tokens, 64 instead of 16384" in noted.text


def test_parts_of_steps_of_a_ternary_run_are_alarms(shared_data: Path):
    """Its rounding makes another run of them, as far away as a margin."""
    with laboratory(shared_data, {"model": {"linear": "ternary"}}) as ternary:
        (alarm,) = ternary.alarms("decay", carry=WAYS["in parts of two rows"])
        assert "cut of a ternary run differs from base (split/micro_tokens, 64 instead of 16384)" in alarm
        assert ternary.alarms("decay", carry=WAYS["recomputed"]) == []


def test_variables_that_move_numbers_are_alarms(lab: Lab):
    variables = {"ONEDNN_MAX_CPU_ISA": "SSE41", "CUDA_VISIBLE_DEVICES": "0", "TORCH_HOME": "/tmp", "PATH": "x"}

    def carry(settings: Settings) -> None:
        with mock.patch.dict(os.environ, variables):
            as_it_is(settings)

    (alarm,) = lab.alarms("deeper", carry=carry)
    assert "numerics differs from base (numerics/variable ONEDNN_MAX_CPU_ISA, SSE41 instead of None)" in alarm


def test_it_looks_at_runs_that_go_on(lab: Lab):
    """Nothing yet, then a run that is half done, by what it has so far."""
    whole, record = lab.plan(("clip", "eps"))
    assert findings(read(record)) == []
    train_run(whole.runs[0].settings)
    mutation = BY_NAME["one token of one row"]
    with mutation.tampering(), pytest.raises(SystemExit):
        train_run(whole.runs[1].settings, Growth(until=4))
    found = findings(read(record))
    assert {finding.arm for finding in found} == {"clip"}
    assert any("rows differs from base (first seen after step 3)" in finding.text for finding in found)


def test_null_arms_and_replicates_are_equal_in_all(lab: Lab):
    whole, _ = lab.plan(("rate",), (3,))
    run = whole.runs[1]
    trails = []
    for carry in (as_it_is, resumed(5)):
        carry(run.settings)
        record = run_record(lab.outputs, run.id)
        trails.append((record.rows("trace"), record.starts()[-1] | {"step": 0}))
        with lab.forgotten(run.id):
            pass
    assert trails[0] == trails[1]


def test_an_arm_is_compared_with_one_that_shares_its_factor(lab: Lab):
    """Two arms of one mixture: the base's rows are others, but they should have the same."""
    ARMS["mixture and rate"] = ARMS["mixture"] | ARMS["rate"]
    try:
        whole, record = lab.plan(("mixture", "mixture and rate"))
    finally:
        del ARMS["mixture and rate"]
    for run, carry in zip(whole.runs, (as_it_is, as_it_is, BY_NAME["one token of one row"]), strict=True):
        carry(run.settings)
    found = findings(read(record))
    assert [finding.arm for finding in found] == ["mixture and rate"] * len(found)
    assert any("rows differs from mixture" in finding.text for finding in found)


def test_a_domains_own_windows_are_compared_where_the_mixture_explains_the_rows(lab: Lab):
    """Other rows and another interleaving are what a mixture is; another stream of a domain's tokens is not."""
    alarms = lab.alarms("mixture", seed=4, carry=BY_NAME["windows permuted by another key"])
    assert {text.partition(" differs")[0] for text in alarms} == {"seed 4: windows", "seed 4: rows"}
    assert not any("rows differs from base" in text for text in alarms)  # from its plan alone


def test_a_seed_is_compared_with_the_others_where_the_factor_explains_all(lab: Lab):
    whole, record = lab.plan(("betas",), (0, 1))
    for run in whole.runs:
        tampered = run.arm == "betas" and run.seed == 1
        (BY_NAME["first beta of .95"] if tampered else as_it_is)(run.settings)
    found = findings(read(record))
    assert {finding.arm for finding in found} == {"betas"}
    assert any("seed 1: optimizer betas differs from seed 0" in finding.text for finding in found)


@pytest.mark.parametrize("name", ["", "no clipping"])
def test_a_base_that_was_trained_for_another_study_is_asked_by_its_own_steps(lab: Lab, name: str):
    """It took the steps of that study's base; what it computes itself is what arms of this study must find."""
    whole, record = lab.plan(("deeper",), (6,))
    first, second = whole.runs
    with lab.forgotten(first.id), lab.forgotten(second.id):
        as_it_is(first.settings)
        (BY_NAME[name] if name else as_it_is)(second.settings)
        base = run_record(lab.outputs, first.id)
        (start,) = base.starts()
        other = dict.fromkeys(start["twin"], "of another base") | {"types": start["twin"]["types"]}
        base.start(start | {"twin": other})
        base.end(base.ended() | {"twin": other})
        base.finish(base.result() or {})
        found = {finding.text.split(" differs")[0] for finding in findings(read(record)) if not finding.held}
    assert found == ({"seed 6: twin"} if name else set())


def test_runs_that_never_left_a_trace_are_said_to_be_unknown(lab: Lab):
    whole, record = lab.plan(("precision",))
    for run in whole.runs:
        as_it_is(run.settings)
    untraced = run_record(lab.outputs, whole.runs[1].id)
    (untraced.folder / "starts.json").unlink()
    assert [run.outcome for run in read(record).runs] == ["finished", "damaged"]  # it had left one
    untraced.finish(untraced.result() or {})
    (noted,) = findings(read(record))
    assert noted.held
    assert noted.text.startswith("1 runs left no trace")


def test_runs_that_took_no_steps_of_the_base_are_counted(lab: Lab):
    whole, record = lab.plan(("rate",), (7,))
    first = whole.runs[0]
    with lab.forgotten(first.id):
        for run in whole.runs:
            as_it_is(run.settings)
        (start,) = run_record(lab.outputs, first.id).starts()
        start.pop("twin")
        run_record(lab.outputs, first.id).start(start)
        run_record(lab.outputs, first.id).finish(run_record(lab.outputs, first.id).result() or {})
        (noted,) = findings(read(record))
    assert noted.held
    assert noted.text.startswith("1 runs took no steps of the base")


def test_no_factor_explains_other_windows_of_a_domain(tmp_path):
    """Two runs whose mixtures differ, as declared; the second span of `code` is another one too, and nobody said so."""
    runs = []
    for name, digests in {"ours": ("a", "c"), "theirs": ("a", "b")}.items():
        record = Record(tmp_path / name)
        record.folder.mkdir()
        record.start({"step": 0, "origin": "o", "split": {"strategy": "single"}})
        for step, digest in enumerate(digests, 1):
            windows = {"code": {str(step): digest}, "qa": {str(step): "x"}}
            record.append("trace", step=step, origin="o", rows=name, interleaving=name, windows=windows)
        runs.append(Traced(Run("arm", 0, record, "running", None, {})))
    ours, theirs = runs
    found, _ = confounds._compare(ours, theirs, frozenset({"mixture.weights@0.qa"}))
    assert [(one.stream, one.key, one.step) for one in found] == [("windows", "windows of code", 2)]


def test_settings_move_streams_that_exist():
    moved = {stream for one in fields.declared(Settings).values() for stream in one.moves}
    assert moved <= set(streams.STREAMS)
    assert set(streams.STEPS) <= set(streams.STREAMS)
    nobody = {
        "numerics",
        "versions",
        "machine",
        "code",
        "random draws",
        "draws",
        "carried",
        "split",
        "custody",
        "last step",
    }
    nobody |= {streams.CUT, "evaluation", "evaluated"}  # the last two: one held-out text for all arms
    assert not any(streams.explained(stream, frozenset(HASHED)) for stream in nobody)
    assert all(streams.explained(stream, frozenset(HASHED)) for stream in set(streams.STREAMS) - nobody)


# Keys as differences name them, and all that they explain
EXPLAINED = {
    "mixture.weights@0.qa": {"rows", "interleaving"},
    "schedule.stage@0.5.peak": {"rates", "group rates"},
    "optimizer.clip": {"optimizer clip", "update"},
    "optimizer.lerac.lowest": {"decay", "update", "rates", "group rates", "numbers"},
    "data.span": {*("architecture", "text", "function", "update", "rows", "interleaving", "windows", "kernels")},
    "model.rope_theta": {"base of rotation", "architecture", "kernels", "function", "update"},
    "evaluation.times": set(),
    "averaging.kind": {"shares"},
    "precision": {"types", "types of the optimizer", "function", "update"},
}


@pytest.mark.parametrize("key", EXPLAINED)
def test_a_key_explains_its_own_streams_only(key):
    found = {stream for stream in streams.STREAMS if streams.explained(stream, frozenset({key}))}
    assert found == EXPLAINED[key]


def test_names_are_those_of_the_model_and_the_plan():
    assert language.RESIDUAL == streams.RESIDUAL
    assert all(name.endswith(streams.OF_STATE) for name in mamba.Mamba2.INITIAL)
    assert set(plan_streams.PLANNED) <= set(streams.STEPS)
