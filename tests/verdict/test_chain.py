"""What each phase of a chain did to every metric, against numbers worked out by hand from the records."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from ablate.run.record import Record
from ablate.run.study_record import StudyRecord
from ablate.scores.metrics import METRICS, Metric, bits_per_byte
from ablate.verdict import chain as chains
from ablate.verdict.chain import FIRST_HERE, NOT_HERE, OTHER, OWN_START, Chain
from ablate.verdict.compare import verdicts
from ablate.verdict.evidence import read
from ablate.verdict.validity import trust
from tests.verdict.worlds import DOMAINS, World, write_chain

LEARN = World(
    effects={"a": -0.10, "b": 0.0}, seeds=(0, 1, 2), evaluations=3, tokens=90_000, null_arm=None, phase="learn"
)
TUNE = dataclasses.replace(LEARN, effects={"a": -0.02, "b": 0.06}, tokens=30_000, phase="tune")
TUNED = {{"science": "chat"}.get(domain, domain): values for domain, values in DOMAINS.items()}


def chain_of(study: StudyRecord) -> Chain:
    return chains.of_study(read(study))


def value(record: Record, domain: str) -> float:
    sums = (record.result() or {})["sums"][domain]
    return bits_per_byte(sums["nats"], sums["bytes"])


def ends(study: StudyRecord, domain: str) -> dict[tuple[str, str], np.ndarray]:
    """By phase and arm, over seeds."""
    declared, found = study.read(), {}
    for phase, of in {**declared["before"], "tune": declared}.items():
        for arm, seed, record in study.records(of):
            found.setdefault((phase, arm), {})[seed] = value(record, domain)
    return {key: np.array([by_seed[seed] for seed in sorted(by_seed)]) for key, by_seed in found.items()}


def same(estimate: chains.Estimate | None, values: np.ndarray) -> None:
    """The mean over seeds, with Student's interval."""
    assert estimate
    assert estimate.interval
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    assert estimate.mean == pytest.approx(values.mean(), abs=1e-12)
    assert estimate.interval == pytest.approx((values.mean() - half, values.mean() + half), abs=1e-12)
    assert estimate.over == "seeds"


@pytest.fixture
def edited(tmp_path):
    """edited(change): a study of two phases of one seed or three, once `change(result)` has been made in the second."""

    def make(change, learn: World = LEARN, tune: World = TUNE) -> StudyRecord:
        study = write_chain(tmp_path, learn, tune)
        for _, _, record in study.records():
            path = record.folder / "result.json"
            result = json.loads(path.read_text())
            change(result)
            path.write_text(json.dumps(result))
        return study

    return make


def test_a_stage_is_value_change_contrast_and_shift_by_seed(tmp_path):
    study = write_chain(tmp_path, LEARN, TUNE)
    chain, at = chain_of(study), ends(study, "code")
    assert [phase.name for phase in chain.phases] == ["learn", "tune"]
    assert chain.arms == ("base", "a", "b")
    assert chain.metrics == ["macro", *DOMAINS, "micro", "rest"]
    learn, tune = chain.row("a", "code")
    same(learn.value, at["learn", "a"])
    same(learn.contrast, at["learn", "a"] - at["learn", "base"])
    assert (learn.change, learn.shift, learn.unchanged) == (None, None, "")
    same(tune.value, at["tune", "a"])
    same(tune.change, at["tune", "a"] - at["learn", "a"])
    same(tune.contrast, at["tune", "a"] - at["tune", "base"])
    same(tune.shift, (at["tune", "a"] - at["learn", "a"]) - (at["tune", "base"] - at["learn", "base"]))
    base = chain.row("base", "code")[1]
    same(base.change, at["tune", "base"] - at["learn", "base"])
    assert (base.contrast, base.shift) == (None, None)


def test_other_passages_are_not_subtracted(edited):
    def longer(result: dict) -> None:
        result["sums"]["code"]["bytes"] += 1

    chain = chain_of(edited(longer))
    found = {name: chain.row("a", name)[1] for name in chain.metrics}
    assert {name for name, stage in found.items() if stage.unchanged == OTHER} == {"code", "macro", "micro", "rest"}
    assert {name for name, stage in found.items() if stage.change} == {"general", "science", "qa"}
    assert all(stage.value and stage.contrast for stage in found.values())  # within the phase all arms have the same


def test_a_metric_of_some_phases_is_blank_in_the_others_and_says_so(tmp_path):
    study = write_chain(tmp_path, LEARN, dataclasses.replace(TUNE, domains=TUNED))
    chain = chain_of(study)
    learn, tune = chain.row("a", "science")
    assert learn.value
    assert (tune.value, tune.notes) == (None, (NOT_HERE,))
    learn, tune = chain.row("a", "chat")
    assert (learn.value, learn.notes) == (None, (NOT_HERE,))
    assert tune.value
    assert (tune.change, tune.unchanged) == (None, FIRST_HERE)
    assert chain.row("a", "macro")[1].unchanged == OTHER  # the mean is over other domains


def test_a_phase_that_arms_share_has_one_line_and_no_contrast(tmp_path):
    study = write_chain(tmp_path, LEARN, TUNE)
    declared = study.read()
    declared["before"]["learn"]["runs"]["b"] = declared["before"]["learn"]["runs"]["base"]
    study.write(declared)
    learn, tune = chain_of(study).row("b", "qa")
    assert (learn.same, learn.contrast) == ("base", None)
    assert learn.value
    assert tune.same == ""
    assert tune.shift is None  # there was no difference to be moved
    at = ends(study, "qa")
    same(tune.change, at["tune", "b"] - at["learn", "base"])


def test_what_failed_is_counted_and_its_seed_left_out(tmp_path):
    tune = dataclasses.replace(TUNE, outcomes={("a", 1): "diverged", ("b", 0): "killed", ("b", 1): "not started"})
    study = write_chain(tmp_path, LEARN, tune, seeds=[0, 1, 2])
    chain = chain_of(study)
    stage = chain.row("a", "qa")[1]
    assert stage.notes == ("1 of 3 diverged",)
    assert stage.change
    assert list(stage.change.by_seed) == [0, 2]
    alone = chain.row("b", "qa")[1]
    assert alone.notes == ("1 of 3 killed", "1 of 3 not started")
    assert alone.value
    assert (alone.value.interval, alone.value.over) == (None, "nothing")  # one seed, and no passage was noted


def test_one_seed_has_an_interval_over_passages(tmp_path):
    one = {"seeds": (0,)}
    study = write_chain(tmp_path, dataclasses.replace(LEARN, **one), dataclasses.replace(TUNE, **one))
    nats = {"learn": [30.0, 42.0, 55.0], "tune": [29.0, 40.0, 50.0]}
    size = np.array([20.0, 30.0, 35.0])
    declared = study.read()
    for phase, of in {**declared["before"], "tune": declared}.items():
        for _, _, record in study.records(of):
            path = record.folder / "result.json"
            result = json.loads(path.read_text())
            result["sums"]["code"] = {"nats": sum(nats[phase]), "tokens": 60, "bytes": size.sum()}
            result["validation"] = {"code": {"nats": nats[phase], "bytes": size.tolist()}}
            path.write_text(json.dumps(result))
    change = chain_of(study).row("base", "code")[1].change
    assert change
    assert change.over == "passages"
    x = np.subtract(nats["tune"], nats["learn"]) / np.log(2)
    ratio = x.sum() / size.sum()
    half = stats.t.ppf(0.975, 2) * np.sqrt(3 / 2 * ((x - ratio * size) ** 2).sum()) / size.sum()
    assert change.mean == pytest.approx(ratio)
    assert change.interval == pytest.approx((ratio - half, ratio + half))


def test_any_other_metric_changes_where_the_text_is_the_same(edited, monkeypatch):
    wins = Metric("wins", "share of pairs", "higher", lambda scores, _: scores["wins"])
    monkeypatch.setitem(METRICS, "wins", wins)
    study = edited(lambda result: result.update(wins=0.5))
    [learn, tune] = chain_of(study).row("a", "wins")
    assert learn.notes == (NOT_HERE,)
    assert tune.value
    assert (tune.value.mean, tune.unchanged) == (0.5, FIRST_HERE)
    before = study.read()["before"]["learn"]
    for phase, text in (("learn", "one"), ("tune", "other")):
        for _, _, record in study.records(before if phase == "learn" else None):
            known = json.loads((record.folder / "environment.json").read_text())
            (record.folder / "environment.json").write_text(json.dumps(known | {"data": text}))
            path = record.folder / "result.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | {"wins": 0.5}))
    assert chain_of(study).row("a", "wins")[1].unchanged == OTHER


def test_what_is_counted_from_the_start_of_a_phase_is_its_own_change(tmp_path):
    study = write_chain(tmp_path, LEARN, TUNE)
    sums = {"pairs": 4, "chosen": -8.0, "rejected": -9.0, "chosen_start": -10.0, "rejected_start": -7.0}
    for of in (study.read()["before"]["learn"], study.read()):
        for _, _, record in study.records(of):
            (record.folder / "environment.json").write_text(json.dumps({"data": "the same"}))
            path = record.folder / "result.json"
            pairs = dict.fromkeys(DOMAINS, sums)
            path.write_text(json.dumps(json.loads(path.read_text()) | {"pairs": pairs}))
    chain = chain_of(study)
    rise, chosen = (chain.row("a", f"preference:{name}")[1] for name in ("rise", "chosen"))
    assert rise.value
    assert (rise.value.mean, rise.change, rise.unchanged) == (0.5, None, OWN_START)
    assert rise.contrast  # within a phase arms are compared
    assert chosen.change
    assert chosen.change.mean == 0


def test_the_last_words_are_the_verdicts_and_the_others_those_of_their_phase(tmp_path):
    evidence = read(write_chain(tmp_path, LEARN, TUNE))
    conclusion = trust.conclude(evidence)
    found = chains.survival(evidence, conclusion)
    assert [*found] == ["learn", "tune"]
    assert list(found["tune"].values()) == conclusion.verdicts
    assert list(found["learn"].values()) == verdicts(evidence.before[0], conclusion.past)
    assert [found[phase]["a"].word for phase in found] == ["better", "better"]
    assert [found[phase]["b"].word for phase in found] == ["equivalent", "worse"]


def test_a_phase_without_the_metric_has_no_words(tmp_path):
    study = write_chain(tmp_path, LEARN, dataclasses.replace(TUNE, domains=TUNED), metric="chat")
    evidence = read(study)
    assert chains.survival(evidence, trust.conclude(evidence))["learn"] == {}


def test_a_curve_ends_with_what_the_result_says(tmp_path: Path):
    chain = chain_of(write_chain(tmp_path, LEARN, TUNE))
    learn, _ = chain.phases
    curve = chain.curve(learn, "a", "code")
    assert list(curve) == [30_000, 60_000, 90_000]
    stage = chain.stage(learn, "a", "code")
    assert stage.value
    assert curve[90_000] == stage.value.by_seed
