"""A study read out of the lab book says what its records say."""

import csv
import filecmp
import gzip
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.laws import curves
from ablate.page import page
from ablate.report import main
from ablate.run.files import write_json
from ablate.verdict import compare, spread
from ablate.verdict.book import TABLES, Book, keep
from ablate.verdict.evidence import read
from ablate.verdict.progress import progress
from ablate.verdict.validity import trust
from tests.verdict.answered import answer
from tests.verdict.worlds import World, write

OUTCOMES = {("qa_20", 1): "diverged", ("qa_40", 2): "crashed", ("qa_12", 3): "not started"}


SUMS = {"nats": 1.5, "tokens": 2, "bytes": 7}


@pytest.fixture
def studies(tmp_path):
    """(evidence of the records, evidence of the book, its folder)"""
    records = read(write(tmp_path / "outputs", World(outcomes=OUTCOMES)))
    records.by_arm["base"][0].record.keep_rescored(
        {"weights_sha256": "5e0c", "sums": {"qa": SUMS}, "basis": {"weights": "1 bytes, 1"}}
    )
    keep(records, tmp_path / "book")
    return records, read(Book(tmp_path / "book")), tmp_path / "book"


def test_verdicts_and_fits_are_the_same(studies):
    records, book, _ = studies
    assert repr(compare.verdicts(book)) == repr(compare.verdicts(records))
    assert spread.gain(book, book.arms, "macro") == spread.gain(records, records.arms, "macro")
    for domain in records.domains:
        assert repr(curves.estimate(book, "base", domain).law) == repr(curves.estimate(records, "base", domain).law)


def test_every_outcome_is_kept_with_its_reason(studies):
    records, book, _ = studies
    kept = {(run.arm, run.seed): (run.outcome, run.reason, run.result) for run in book.runs}
    assert {place: kept[place][0] for place in OUTCOMES} == OUTCOMES
    for run in records.runs:
        outcome, reason, result = kept[run.arm, run.seed]
        assert (outcome, reason) == (run.outcome, run.reason)
        assert result.get("sums") == run.result.get("sums")


def test_what_weights_were_found_to_score_is_kept_without_the_time_of_a_file(studies):
    _, book, _ = studies
    kept = {run.record.id: found for run in book.runs if (found := run.record.rescored())}
    scored = book.by_arm["base"][0].record.id
    assert kept == {scored: {"weights_sha256": "5e0c", "sums": {"qa": SUMS}}}


def test_environments_are_those_of_the_runs(studies):
    records, book, _ = studies
    machines = {run.record.id: run.record.environment() for run in book.runs if run.done}
    assert machines == {run.record.id: run.record.environment() for run in records.runs if run.done}


@pytest.mark.parametrize("metric", ["macro", "micro", "rest", "code"])
def test_every_evaluation_is_kept_to_the_last_bit(studies, metric):
    records, book, _ = studies
    for seed, run in records.by_arm["base"].items():
        kept = book.curve(book.by_arm["base"][seed], metric)
        assert [value for _, value in kept] == [value for _, value in records.curve(run, metric)]
        assert [row["tokens"] for row, _ in kept] == [row["tokens"] for row in run.evaluations]


def test_keeping_again_changes_no_byte(studies, tmp_path):
    records, _, folder = studies
    keep(records, tmp_path / "again")
    for name in ("study.json", *TABLES.values()):
        assert filecmp.cmp(folder / name, tmp_path / "again" / name, shallow=False), name


def test_a_race_is_kept(tmp_path):
    study = write(tmp_path / "outputs")
    decision = {"arm": "qa_40", "reason": "it cannot be the best", "look": 2, "rung": 0.0, "word": "worse"}
    study.decide({"qa_40": decision | {"mean": 0.02, "interval": [0.01, None]}})
    keep(read(study), tmp_path / "book")
    assert read(Book(tmp_path / "book")).race == read(study).race


def test_controls_are_kept(tmp_path):
    unwanted = {("positive", 0): "not started", ("positive", 1): "not started"}
    world = World(null_seeds=(0,), aa_seeds=(7, 8), positive_seeds=(0, 1), outcomes=unwanted)
    records = read(write(tmp_path / "outputs", world))
    keep(records, tmp_path / "book")
    book = read(Book(tmp_path / "book"))
    assert [run.outcome for run in book.controls] == [run.outcome for run in records.controls]
    assert trust.conclude(book).findings == trust.conclude(records).findings
    assert book.control("null control")[0].record.result() is not None


@pytest.mark.slow
def test_the_command_keeps_and_reads(tmp_path, capsys):
    write(tmp_path / "outputs")
    main(["mix_sweep", "--outputs", str(tmp_path / "outputs"), "--keep", str(tmp_path / "book")])
    first = capsys.readouterr().out
    main([str(tmp_path / "book")])
    again = capsys.readouterr().out
    table = first[first.index("macro") : first.index("page")]
    assert table in again
    assert page.write(Book(tmp_path / "book")).exists()


def test_answers_and_checkpoints_are_kept_once_and_read_again(tmp_path):
    study = write(tmp_path / "outputs", World(null_arm=None))
    answer(study, steps={100: 1.0, 200: 0.5})
    for _, _, record in study.records():
        write_json(record.folder / "starts.json", [{"step": 0, "origin": ""}])  # of today: a book then keeps its rows
        record.append("sample", step=100, tokens=1, texts=[{"prompt": "1 + 1 =", "text": " 3"}])
    records = read(study)
    keep(records, tmp_path / "book")
    book = read(Book(tmp_path / "book"))
    assert progress(book, "bpb") == progress(records, "bpb")
    assert len({point.step for point in progress(book, "bpb")}) == 3
    assert book.runs[0].record.rows("sample") == records.runs[0].record.rows("sample") != []
    keep(book, tmp_path / "book")  # from the book into itself
    assert progress(read(Book(tmp_path / "book")), "bpb") == progress(records, "bpb")


def text_of(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()


def put(path: Path, text: str) -> None:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def entry(column: str, value: str) -> Callable[[Path], None]:
    """In the first row of a table."""

    def damaged(path: Path) -> None:
        names, first, *rest = csv.reader(io.StringIO(text_of(path)))
        first[names.index(column)] = value
        out = io.StringIO()
        csv.writer(out).writerows([names, first, *rest])
        put(path, out.getvalue())

    return damaged


def without(column: str) -> Callable[[Path], None]:
    return lambda path: put(path, text_of(path).replace(column, "other", 1))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


RUNS, EVALUATIONS = TABLES["runs"], TABLES["evaluations"]
# what is done to which file, and what the line says besides the name of the file
DAMAGES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "an empty table": (RUNS, lambda path: path.write_bytes(b""), "damaged, No columns"),
    "another table": (RUNS, lambda path: path.write_text("hello\n"), "damaged, it lacks id"),
    "no outcomes": (RUNS, without("outcome"), "damaged, it lacks outcome"),
    "a run without a name": (RUNS, entry("id", ""), "damaged, it lacks id"),
    "a run of another name": (RUNS, entry("id", "other"), "damaged, it has no row of run "),
    "a run twice": (RUNS, lambda path: put(path, text_of(path) + text_of(path).splitlines()[1] + "\n"), "two rows"),
    "a number that is a word": (RUNS, entry("flops", "many"), "damaged, flops='many': must be a valid number"),
    "a number that is not there": (RUNS, entry("tokens", ""), "damaged, it lacks tokens"),
    "nats that no model has": (RUNS, entry("sums.qa.nats", "1e308"), "sums.qa.nats=1e+308: must be at most 1e+60"),
    "a machine that is not there": (RUNS, entry("environment", "-1"), "environment=-1, which there is not"),
    "an open quote": (RUNS, lambda path: put(path, text_of(path) + '"'), "damaged, Error tokenizing data"),
    "a table cut off": (EVALUATIONS, cut, "damaged, "),
    "no compressed table": (EVALUATIONS, lambda path: path.write_bytes(b"no"), "cannot be read, Not a gzipped file"),
    "an evaluation of no run": (EVALUATIONS, without("id"), "damaged, it lacks id"),
    "a step that is a word": (EVALUATIONS, entry("step", "x"), "damaged, step="),
    "a table that never ends": (EVALUATIONS, pipe, "is a pipe, not a file"),
    "machines that are no list": ("environments.json", lambda path: path.write_text("null"), "must be a valid list"),
    "a machine that is a number": ("environments.json", lambda path: path.write_text("[5]"), "damaged, 0=5: "),
    "a trace that is none": ("traces.jsonl.gz", lambda path: put(path, "[1]\n"), "damaged, 0=[1]: "),
    "a trace cut off": ("traces.jsonl.gz", cut, "damaged, Compressed file ended"),
    "weights scored by nobody": ("rescored.jsonl", lambda path: put(path, "null\n"), "damaged, 0=None: "),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_book_is_one_line_and_no_number_of_it_is_believed(studies, name, capsys):
    file, damaged, said = DAMAGES[name]
    folder = studies[2]
    damaged(folder / file)
    with pytest.raises(SystemExit) as stopped:
        main([str(folder)])
    assert stopped.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {folder / file}: ")
    assert said in line


def test_a_book_of_a_study_that_has_not_begun_says_so(tmp_path, capsys):
    """Tables without rows are tables."""
    outcomes = {(arm, seed): "not started" for arm in ("base", "qa_20", "qa_40", "qa_12") for seed in range(9)}
    keep(read(write(tmp_path / "outputs", World(outcomes=outcomes))), tmp_path / "book")
    main([str(tmp_path / "book")])
    assert "nothing to compare" in capsys.readouterr().out
