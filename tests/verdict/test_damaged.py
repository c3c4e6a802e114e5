"""Records that no version has written, or that somebody edited and sealed again: one line, and the rest is shown."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from ablate.run import files, whole
from ablate.run.record import run_record
from ablate.run.settings import UserError
from ablate.run.study_record import StudyRecord
from ablate.verdict import evidence, registry
from ablate.verdict.validity import trust
from tests.verdict.worlds import World, write

SMALL = World(effects={"qa_20": -0.02, "qa_40": 0.015}, seeds=(0, 1, 2), evaluations=6, null_arm=None)
WRONG = {  # of any file of JSON
    "empty": "",
    "null": "null",
    "text": '"a"',
    "deep": "[" * 100_000 + "]" * 100_000,
    "digits": '{"a": ' + "9" * 5000 + "}",
    "half a character": '{"a": "\\ud800", "b": ["\\uDC00"]}',
}
HUGE = 10**400
RESULTS: dict[str, Any] = {
    "outcome": "won",
    "step": "3",
    "tokens": -1,
    "flops": None,
    "seconds": float("nan"),
    "parameters": HUGE,
    "weights_sha256": 3,
    "mixture": {"asked": []},
    "sums": {"code": {"nats": "a", "tokens": 1, "bytes": 1}},
    "validation": {"code": {"nats": [1.0], "bytes": []}},
    "grown_from": {"run": 1},
    "bpb": [],
    "compressed": None,
}
SUMS = {"nats": 1.0, "tokens": 1, "bytes": 1}
ROWS: dict[str, Any] = {
    "a list": [],
    "nothing": None,
    "no step": {"kind": "train"},
    "no kind": {"step": 1},
    "a kind that is a list": {"kind": [], "step": 1},
    "a huge step": {"kind": "train", "step": 2**70},
    "no rate": {"kind": "train", "step": 1, "tokens": 1},
    "tokens in words": {"kind": "evaluation", "step": 1, "tokens": "many"},
    "no bytes": {"kind": "evaluation", "step": 1, "tokens": 1, "sums": {"qa": SUMS | {"bytes": 0}}},
    "no origin": {"kind": "trace", "step": 1},
    "no weights": {"kind": "kept", "step": 1},
    "no window": {"kind": "spike", "step": 1, "at": 1, "window": [1]},
}
OTHERS: dict[str, Any] = {
    "environment.json": {"threads": 0},
    "starts.json": [{"step": 0}],
    "end.json": {"last step": None},
    "skips.json": [{"at": 0}],
}


def write_row(record: Any, row: Any) -> None:
    with (record.folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


def text(name: str, wrong: str) -> Callable[[Any], None]:
    return lambda record: files.write_atomically(record.folder / name, wrong)


def sealed(name: str, value: Any) -> Callable[[Any], None]:
    return lambda record: whole.write(record.folder / name, value)


RUN_DAMAGES = {
    f"{name} {kind}": text(name, wrong) for name in ("result.json", *OTHERS) for kind, wrong in WRONG.items()
}
RUN_DAMAGES |= {
    f"result {key}": lambda record, key=key, value=value: whole.write(
        record.folder / "result.json", whole.read(record.folder / "result.json") | {key: value}
    )
    for key, value in RESULTS.items()
}
RUN_DAMAGES |= {f"row of {what}": lambda record, row=row: write_row(record, row) for what, row in ROWS.items()}
RUN_DAMAGES |= {f"sealed {name}": sealed(name, value) for name, value in OTHERS.items()}
RUN_DAMAGES |= {"a folder": lambda record: (record.folder / "end.json").mkdir()}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyRecord:
    return write(tmp_path_factory.mktemp("outputs"), SMALL)


@pytest.fixture
def kept(study: StudyRecord) -> Any:
    """The study and one of its runs, as they were before whatever happens to them."""
    record = run_record(study.folder.parents[1], study.read()["runs"]["qa_20"]["1"])
    before = {path: path.read_bytes() for folder in (study.folder, record.folder) for path in folder.iterdir()}
    yield study, record
    for folder in (study.folder, record.folder):
        for path in folder.iterdir():
            path.rmdir() if path.is_dir() else path.unlink()
    for path, content in before.items():
        path.write_bytes(content)


@pytest.mark.parametrize("what", RUN_DAMAGES)
def test_a_damaged_run_withholds_nothing_but_itself(kept, what):
    study, record = kept
    RUN_DAMAGES[what](record)
    seen = evidence.read(study)
    lost = seen.by_arm["qa_20"][1]
    assert lost.outcome == "damaged"
    assert lost.reason
    assert "\n" not in lost.reason
    verdicts = {one.arm: one for one in trust.conclude(seen, ()).verdicts}
    assert len(verdicts["qa_40"].differences) == 3
    assert len(verdicts["qa_20"].differences) == 2


DECLARATIONS: dict[str, Any] = {
    "margin": ["a", float("nan"), -1, 0],
    "confidence": [5, 0, 0.5, None],
    "runs": [[], None, {"base": None}, {"base": {"a": "b"}}, {"base": {"0": 3}}, {}],
    "arms": [None, {"qa_20": {"lr": 3}}, []],
    "base": ["nobody", None, {}],
    "domains": ["code", [], [1], ["code", "code"]],
    "metric": [None, 3],
    "question": [None],
    "before": [{"first": {"runs": {}}}, []],
    "tasks": [{"sums": 3}, []],
    "control_runs": [None, {"null control": []}],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, found in DECLARATIONS.items() for value in found])
def test_a_declaration_of_another_shape_is_one_line(kept, key, value):
    study, _ = kept
    study.write(study.read() | {key: value})
    with pytest.raises(UserError, match=rf"study\.json: damaged, .*{key}") as stop:
        evidence.read(study)
    assert "\n" not in str(stop.value)


OF_STUDY: dict[str, list[Any]] = {
    "race.json": [[1], {"qa_20": None}, {"qa_20": {"reason": ""}}],
    "plans.json": [[], {"run": 3}, {"run": {"x": {}}}, {"run": {"1": {"rows": 2}}}],
    "prior.json": [[], {"time": ""}, {"time": "", "ledger": "", "focus": "", "studies": {}, "arms": [{}]}],
    "noise.json": [[], {"sd": "a", "df": 1}],
    "bases.json": [{}, [{"runs": 1}]],
}
READERS = {"race.json": "decisions", "plans.json": "promised", "prior.json": "prior", "noise.json": "noise"}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, found in OF_STUDY.items() for value in found])
def test_what_a_study_leaves_is_of_its_shape_or_one_line(kept, name, value):
    study, _ = kept
    whole.write(study.folder / name, value)
    with pytest.raises(UserError, match=rf"{name}: damaged, "):
        getattr(study, READERS[name])() if name in READERS else study.base_of("run")


LEDGER = {"kind": "look", "time": "", "after": "", "base_digest": None, "metric": "macro", "seeds": [0], "declared": []}
LEDGERS = {
    "no kind": {},
    "another kind": LEDGER | {"kind": "seen"},
    "no arms": LEDGER,
    "arms in a list": LEDGER | {"arms": []},
    "a pair of one": LEDGER | {"arms": {"qa_20": {"pairs": {"0": ["a"]}, "whole": True, "word": "better"}}},
    "no declaration": {"kind": "declared", "time": "", "after": "", "base_digest": None, "runs": 0, "looks": 0},
}


@pytest.mark.parametrize("what", LEDGERS)
def test_a_row_of_the_ledger_of_another_shape_is_one_line(kept, what):
    study, _ = kept
    files.append_row(study.folder / "ledger.jsonl", LEDGERS[what])
    with pytest.raises(UserError, match=r"ledger\.jsonl: damaged, "):
        evidence.read(study)


def test_another_study_that_is_damaged_lends_no_noise_and_withholds_nothing(tmp_path, capsys):
    write(tmp_path, SMALL, "first")
    broken = StudyRecord(tmp_path / "studies" / "second")
    broken.write({"name": "second"})
    assert {one.study for one in registry.read(tmp_path)} == {"first"}
    assert capsys.readouterr().out.count("second/study.json: damaged, it lacks question") == 1
