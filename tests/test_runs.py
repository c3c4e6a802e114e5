"""The command `ablate runs` on records of planted worlds, whose numbers are known."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from ablate import runs
from ablate.run import lookup
from ablate.run.parse import from_config
from ablate.run.record import Record, run_record
from ablate.run.settings import UserError
from ablate.run.study_record import study_record
from ablate.run.trunks import trunk_record
from ablate.scores.metrics import METRICS, Metric, Scope
from tests.verdict.worlds import World, write

SMALL = World(effects={"qa_20": -0.02, "qa_40": 0.5}, seeds=(0, 1), evaluations=4, tokens=300_000, null_arm=None)
RATES = {"base": 3e-3, "qa_20": 3e-3, "qa_40": 7e-4}


@pytest.fixture
def outputs(tmp_path) -> Path:
    """A study of three arms and two seeds, each run with its settings, and one run of no study."""
    study = write(tmp_path, SMALL)
    for arm, seed, record in study.records():
        configure(record, seed=seed, optimizer={"lr": RATES[arm]})
    folder = run_record(tmp_path, "a128x4-1024-s7-0123abcd").folder
    os.rename(next(study.records())[2].folder, folder)
    return tmp_path


def configure(record: Record, **changes: object) -> None:
    settings = from_config({"study": {"metric": "macro"}, **changes})
    (record.folder / "config.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(dataclasses.asdict(settings)))))


def said(capsys, outputs: Path, *words: str) -> str:
    runs.main([*words, "--outputs", str(outputs)])
    return capsys.readouterr().out


def refused(capsys, outputs: Path, *words: str) -> str:
    with pytest.raises(SystemExit) as stop:
        runs.main([*words, "--outputs", str(outputs)])
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def id_of(outputs: Path, name: str) -> str:
    return lookup.find(name, outputs).id


def test_the_list_is_by_study_with_the_metric_at_the_end(capsys, outputs):
    text = said(capsys, outputs)
    assert "runs of no study  1 run; macro, bits per byte" in text
    assert "mix_sweep  5 runs; macro, bits per byte" in text
    record = lookup.find("mix_sweep/qa_40/1", outputs)
    [row] = [line for line in text.splitlines() if "qa_40/1" in line]
    value = METRICS["macro"].value(record.result() or {}, Scope(list(SMALL.domains), "qa"))
    assert row.split()[0] == lookup.short(record)
    assert row.split()[-1] == "finished"
    assert f"{value:.4f}" in row
    assert max(map(len, text.splitlines())) <= 80


def test_a_run_that_cannot_be_read_hides_no_other(capsys, outputs):
    path = lookup.find("0123abcd", outputs).folder / "config.yaml"
    path.write_text(path.read_text().replace("\ntokens:", "\ntokns:"))
    text = said(capsys, outputs)
    assert f"cannot be read: {path}: tokns: no such setting; did you mean tokens?" in text
    assert "mix_sweep  5 runs" in text
    path.write_text("{")
    assert f"cannot be read: {path}: damaged, while parsing" in said(capsys, outputs)
    result = path.with_name("result.json")
    result.write_text("{")
    assert f"cannot be read: {result}: damaged" in said(capsys, outputs)


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["qa_40"], 2),
        (["mix_sweep", "finished"], 5),
        (["optimizer.lr=0.0007"], 2),
        (["optimizer.lr=7e-4", "qa_40/0"], 1),
        (["0123abcd"], 1),
    ],
)
def test_words_filter(capsys, outputs, words, count):
    assert said(capsys, outputs, *words).count("finished") == count


def test_a_run_is_found_by_many_names(outputs):
    record = lookup.find("mix_sweep/qa_20/1", outputs)
    hash = lookup.short(record)
    assert {lookup.find(name, outputs).id for name in (record.id, hash, str(record.folder))} == {record.id}
    assert lookup.find("0123", outputs).id == lookup.find("a128x4-1024-s7", outputs).id
    with pytest.raises(UserError, match=r"a128x4-1024-s1: begins 3 runs: "):
        lookup.find("a128x4-1024-s1", outputs)
    with pytest.raises(UserError, match="no such arm in mix_sweep; there are base, qa_20, qa_40"):
        lookup.find("mix_sweep/qa_5/0", outputs)
    with pytest.raises(UserError, match="no such seed of qa_20; there are 0, 1"):
        lookup.find("mix_sweep/qa_20/9", outputs)
    with pytest.raises(UserError, match=r"a128: begins 6 runs: (\S+, ){5}\S+$"):
        lookup.find("a128", outputs)
    with pytest.raises(UserError, match="ffff: no such run in "):
        lookup.find("ffff", outputs)


def test_the_name_that_the_list_shows_is_enough_beside_a_replicate(outputs):
    record = lookup.find("mix_sweep/qa_20/1", outputs)
    shutil.copytree(record.folder, f"{record.folder}-r1")
    assert lookup.find(lookup.short(record), outputs).id == record.id
    assert lookup.find(f"{lookup.short(record)}-r1", outputs).id == f"{record.id}-r1"


def test_numbers_of_a_run_have_units_of_their_own(capsys, outputs, monkeypatch):
    monkeypatch.setitem(METRICS, "steps", Metric("steps", "points", "higher", lambda scores, _: scores["step"]))
    study = study_record(outputs, "mix_sweep")
    study.write(study.read() | {"metric": "steps"})
    rows = [line.split() for line in said(capsys, outputs, "show", "mix_sweep/qa_40/1").splitlines()]
    units = {words[0]: " ".join(words[2:]) for words in rows if words and words[0] in ("qa", "macro", "steps")}
    assert units == {"qa": "bits per byte", "macro": "bits per byte", "steps": "points"}


def test_runs_of_a_metric_that_nobody_knows_any_more_are_listed_and_shown_without_it(capsys, outputs):
    study = study_record(outputs, "mix_sweep")
    study.write(study.read() | {"metric": "lost", "imports": ["module_that_is_gone"]})
    text = said(capsys, outputs)
    assert "cannot be read" not in text
    assert "mix_sweep  5 runs\n" in text
    assert text.count("finished") == 6
    record = lookup.find("mix_sweep/qa_40/1", outputs)
    assert "macro" in said(capsys, outputs, "show", record.id)
    assert f"{record.id}  finished, mix_sweep/qa_40/1" in said(capsys, outputs, "tree", record.id)


def test_one_run_in_full(capsys, outputs):
    text = said(capsys, outputs, "show", "mix_sweep/qa_40/1")
    record = lookup.find("mix_sweep/qa_40/1", outputs)
    assert text.startswith(record.id)
    flat = " ".join(text.split())
    assert "study mix_sweep/qa_40/1" in flat
    assert "optimizer.lr 0.0007 0.003" in flat
    assert "weights drawn from seed 1" in flat
    assert "ablate None" not in flat
    assert (record.folder / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_several_runs_side_by_side(capsys, outputs):
    text = said(capsys, outputs, "compare", "mix_sweep/qa_40/1", "mix_sweep/qa_20/1")
    flat = " ".join(text.split())
    assert "optimizer.lr 0.0007 0.003" in flat
    assert "seed" not in flat.partition("at the end")[0].replace("arm/seed", "")
    [macro] = [line.split() for line in text.splitlines() if line.startswith("macro")]
    assert float(macro[2]) - float(macro[1]) == pytest.approx(float(macro[3].strip("()")), abs=2e-4)
    assert -0.55 < float(macro[3].strip("()")) < -0.49  # effects of -0.02 and 0.5, and little noise of its own
    assert "holds the noise of seeds" in flat
    assert list((outputs / "figures").glob("*.png"))


def test_a_chain_of_phases_says_what_each_changed(capsys, outputs):
    parent = lookup.find("0123abcd", outputs)
    configure(parent)
    weights = "ab" * 32
    result = (parent.result() or {}) | {"weights_sha256": weights}
    (parent.folder / "result.json").write_text(json.dumps(result))
    child = lookup.find("mix_sweep/qa_20/0", outputs)
    configure(child, start=f"run:{parent.id}@{weights}", tokens=50_000)
    text = said(capsys, outputs, "tree", child.id)
    first, second, *changed = text.splitlines()
    assert first.startswith(f"{parent.id}  finished, macro ")
    assert f"└── {child.id}" in second
    assert any("tokens: 300000 → 50000" in line for line in changed)
    assert child.id in said(capsys, outputs, "tree", parent.id)
    assert f"is needed by run {child.id}; --force" in refused(capsys, outputs, "delete", parent.id, "--yes")


def test_a_run_with_a_parent_shows_what_each_phase_did_to_every_metric(capsys, outputs):
    parent, child = lookup.find("0123abcd", outputs), lookup.find("mix_sweep/qa_20/1", outputs)
    weights = (parent.result() or {})["weights_sha256"]
    configure(parent)
    configure(child, start=f"run:{parent.id}@{weights}", tokens=50_000)
    text = said(capsys, outputs, "show", child.id)
    lines = [line.split() for line in text.splitlines()]
    [heads] = [line for line in lines if line[:4] == ["at", "the", "end", "of"] and line[-1] == "qa_20/1"]
    assert heads[-2:] == ["7", "qa_20/1"]  # seed 7, of no study
    [macro] = [number for number, line in enumerate(lines) if line[:1] == ["macro"]]
    before, after = map(float, lines[macro][1:])
    assert float(lines[macro + 1][-1]) == pytest.approx(after - before, abs=2e-4)
    assert (child.folder / "phases.png").exists()
    assert "phases.png" not in said(capsys, outputs, "show", parent.id)


def leave_trunk(outputs: Path, key: str, run: str) -> Path:
    trunk = trunk_record(outputs, key)
    (trunk.folder / "checkpoint").mkdir(parents=True)
    (trunk.folder / "trunk.json").write_text(json.dumps({"run": run, "step": 7}))
    return trunk.folder


def test_a_run_is_deleted_with_all_that_hangs_on_it(capsys, outputs):
    record, other = lookup.find("0123abcd", outputs), lookup.find("mix_sweep/base/1", outputs)
    own, shared, others = (
        leave_trunk(outputs, *pair) for pair in (("own", record.id), ("shared", record.id), ("o", "r"))
    )
    cost = {"flops": 1.0, "seconds": 1.0}
    grown = (other.result() or {}) | {"grown_from": {"trunk": "shared", "run": record.id, "step": 7} | cost}
    (other.folder / "result.json").write_text(json.dumps(grown))
    damaged = lookup.find("mix_sweep/qa_40/1", outputs)  # of which nobody knows what it took over
    (damaged.folder / "result.json").write_text("{}")
    mirror, another = (outputs / "wandb" / f"offline-run-2026-{id}" for id in (record.id, other.id))
    exported = outputs / "exports" / record.id / "hf"
    for folder in (mirror, another, exported):
        folder.mkdir(parents=True)
    text = said(capsys, outputs, "delete", "0123abcd", "--yes")
    assert f"deleted {record.id}" in text
    gone, kept = (record.folder, mirror, exported, own), (other.folder, another, shared, others)
    assert [path.exists() for path in gone] == [False] * 4
    assert [path.exists() for path in kept] == [True] * 4
    assert not list(outputs.glob("*/.*removed*"))


def test_what_a_study_needs_is_not_deleted_unless_told(capsys, outputs):
    id = id_of(outputs, "mix_sweep/qa_40/0")
    error = refused(capsys, outputs, "delete", "mix_sweep/qa_40/0", "--yes")
    assert f"error: {id} is needed by study mix_sweep/qa_40/0; --force deletes it all the same" in error
    said(capsys, outputs, "delete", "mix_sweep/qa_40/0", "--yes", "--force")
    assert not run_record(outputs, id).folder.exists()


def test_nothing_is_deleted_without_an_answer(capsys, outputs, monkeypatch):
    assert "nobody is there to ask; --yes deletes" in refused(capsys, outputs, "delete", "0123abcd")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: "n")
    assert "nothing was deleted" in refused(capsys, outputs, "delete", "0123abcd")
    assert lookup.find("0123abcd", outputs).folder.exists()
    monkeypatch.setattr("builtins.input", lambda _: "y")
    said(capsys, outputs, "delete", "0123abcd")
    assert not list((outputs / "runs").glob("*0123abcd"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show"], "no RUN: must be 1 RUN"),
        (["compare", "0123abcd"], "0123abcd: must be 2 to 6 RUN; see ablate runs --help"),
        (["delete"], "no RUN: must be 1 or more RUN"),
        (["nothing"], "with nothing\n"),
        (["shwo", "0123abcd"], "with shwo 0123abcd; did you mean show?"),
        (["show", "0123abcd", "--figure", "x.pdf"], "--figure: x.pdf: must end with .png"),
        (["extend", "0123abcd", "token=1e6"], "token: no such setting; did you mean tokens?"),
        (["extend", "0123abcd", "tokens=many"], "tokens=many: must be a number"),
        (["extend", "0123abcd"], "tokens=...: must be given, above the 300,000 that the run has read"),
    ],
)
def test_mistakes_are_one_line(capsys, outputs, words, message):
    assert message in refused(capsys, outputs, *words)
