"""What is kept of a study is enough to train any run of it again, elsewhere, to the same bits."""

import dataclasses

import pytest
from tiny import merged

from ablate import report, runs
from ablate.run.settings import Settings
from ablate.run.study_record import study_record
from ablate.sweep import conduct
from ablate.sweep.launcher import prepared
from ablate.sweep.study import plan
from ablate.verdict import compare
from ablate.verdict.book import Book, keep
from ablate.verdict.evidence import read
from ablate.verdict.validity import trust

QUICK = {"length": {"lengths": [64], "starts": [0]}, "study": {"name": "s", "seeds": [0, 1], "factor": ["optimizer"]}}


@pytest.fixture(scope="module")
def trained(shared_tiny):
    """The record of a study of two arms and two seeds."""
    base = shared_tiny(**QUICK)
    arm: Settings = shared_tiny(**merged(QUICK, {"optimizer": {"lr": 0.001}}))
    conduct.run(prepared(plan(base.study, base, {"slow": arm})))
    return study_record(base.where.outputs, "s")


@pytest.mark.slow
def test_a_kept_run_is_trained_again_to_the_same_weights(trained, tmp_path, capsys):
    evidence = read(trained)
    book = tmp_path / "book" / "s"
    keep(evidence, book)
    kept, before = read(Book(book)), trust.conclude(evidence)
    assert repr(compare.verdicts(kept)) == repr(compare.verdicts(evidence))
    assert trust.conclude(kept).findings == before.findings
    assert all("no trace" not in finding.text for finding in before.findings)
    for arm, seed, record in Book(book).records():
        ours, theirs = record.settings(), evidence.by_arm[arm][seed].record.settings()
        assert dataclasses.replace(ours, where=theirs.where) == theirs
    there = tmp_path / "there"
    there.mkdir()
    (there / "data").symlink_to(trained.folder.parents[1] / "data")
    runs.main(["again", f"{book}/slow/1", "--outputs", str(there)])
    weights = evidence.by_arm["slow"][1].result["weights_sha256"]
    assert f"the same weights, {weights}" in " ".join(capsys.readouterr().out.split())
    assert [path.name for path in (there / "runs").iterdir()] == [evidence.by_arm["slow"][1].record.id]


def test_a_run_that_no_book_holds_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit):
        runs.main(["again", f"{tmp_path}/none/0"])
    assert "must be FOLDER/ARM/SEED" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_keeps_the_verdict_with_its_error_and_level(trained, tmp_path, capsys):
    outputs = str(trained.folder.parents[1])
    report.main(["s", "--outputs", outputs, "--keep", str(tmp_path / "book")])
    header, row = (tmp_path / "book" / "verdicts.csv").read_text().splitlines()
    found = dict(zip(header.split(","), row.split(","), strict=False))
    [verdict] = compare.verdicts(read(trained))
    names = ("standard_error", "degrees_of_freedom", "level")
    assert [float(found[name]) for name in names] == [verdict.effect.error, verdict.effect.df, verdict.effect.level]
    first = capsys.readouterr().out
    report.main([str(tmp_path / "book")])
    assert first[first.index("macro") : first.index("page")] in capsys.readouterr().out
