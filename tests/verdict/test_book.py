"""A study read out of the lab book says what its records say."""

import filecmp

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
