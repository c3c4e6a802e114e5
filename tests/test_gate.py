"""A gate by its command: a keep, discards, what is no idea, and what a script reads of it."""

import json

import pytest
from test_docs import TINY

from ablate import gate
from ablate.run.gates import gate_record
from ablate.run.settings import UserError
from ablate.run.whole import copy_of
from ablate.verdict.ideas import read


@pytest.fixture
def run(outputs, capsys):
    """run("optimizer.lr=1"): exit code, and what was printed."""

    def ablate_gate(*words: str) -> tuple[int, str]:
        code = 0
        try:
            gate.main([*words, "--outputs", str(outputs)])
        except SystemExit as stop:
            code = int(str(stop.code))
        told = capsys.readouterr()
        return code, told.out + told.err

    return ablate_gate


@pytest.fixture
def begun(run):
    """A gate that needs three pairs for a keep, whose incumbent hardly learns."""
    words = [f"{key}={value}" for key, value in TINY.items()] + ["optimizer.lr=1e-5", "where.workers=2"]
    assert run("--begin", *words, "--alpha", "0.4", "--ideas", "1")[0] == 0


def test_what_is_no_idea_is_discarded_without_a_run(run, begun, outputs):
    before = gate_record(outputs, "gate").ledger.rows()
    assert "another seed is no change" in run("seed=7", "--dry-run")[1]
    assert gate_record(outputs, "gate").ledger.rows() == before
    code, told = run("seed=7")
    assert code == 2
    assert "another seed is no change" in told
    assert run("optimizer.lr=1e-5")[0] == 2
    assert not (outputs / "runs").exists()
    seen = read(gate_record(outputs, "gate").ledger.rows())
    assert (seen.pot, len(seen.events)) == (0.4, 2)


def test_a_dry_run_says_what_an_idea_costs_and_writes_nothing(run, begun, outputs):
    before = gate_record(outputs, "gate").ledger.rows()
    code, told = run("optimizer.lr=3e-3", "--dry-run")
    assert code == 0
    assert "3 that all agree keep it" in told
    assert "optimizer: lr 1e-05 → 0.003" in told
    assert gate_record(outputs, "gate").ledger.rows() == before
    assert not (outputs / "runs").exists()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["optimizer.lr=1,2"], "must be one configuration"),
        (["optimizer.lr=1e-3", "seed=4"], "seed: must be left out"),
        (["optimizer.lr=1e-3", "study.metric=code"], "study.metric=code: is of the whole gate"),
        (["optimizer.lr=1e-3", "where.dry_run=true"], "of a gate that is --dry-run"),
        (["evaluation.spans=2"], "is scored on other held-out text"),
        (["averaging.decay=0.5"], "averaging.kind=ema"),
        (["--begin"], "was begun already"),
        (["--name", "other", "tokens=1e4"], "no gate 'other'"),
        (["optimizer.lr=1e-3", "--alpha", "0.1"], "--alpha: must be left out with an idea"),
    ],
)
def test_mistakes_are_one_line_and_code_1(run, begun, words, error):
    code, told = run(*words)
    assert code == 1
    assert error in told.splitlines()[-1]


def test_one_gate_judges_one_idea_at_a_time(run, begun, outputs):
    with gate_record(outputs, "gate").held():
        code, told = run("optimizer.lr=3e-3")
        assert code == 1
        assert "another process judges an idea" in told
        with pytest.raises(UserError), gate_record(outputs, "gate").held():
            pass


def test_a_ledger_that_lost_its_last_row_is_not_gone_on_with(run, begun, outputs):
    run("seed=7")
    ledger = gate_record(outputs, "gate").ledger
    text = ledger.path.read_text()
    ledger.path.unlink()
    assert ledger.rows()[-1]["kind"] == "refused"  # of its copy
    ledger.path.write_text(text.splitlines(keepends=True)[0])
    code, told = run("seed=9")
    assert code == 1
    assert "rows were deleted or edited" in told


def test_a_last_row_without_its_sum_is_not_believed(run, begun, outputs):
    run("seed=7")
    ledger = gate_record(outputs, "gate").ledger
    *rows, last = map(json.loads, ledger.path.read_text().splitlines())
    del last["sum"]
    text = "".join(json.dumps(row) + "\n" for row in (*rows, last | {"reason": "of another's making"}))
    for path in (ledger.path, copy_of(ledger.path)):
        path.write_text(text)
    assert not ledger.whole
    assert run("seed=9")[0] == 1


def test_a_ledger_that_lost_a_row_is_not_gone_on_with(run, begun, outputs):
    run("seed=7")
    run("seed=8")
    ledger = gate_record(outputs, "gate").ledger
    for path in (ledger.path, ledger.path.with_name(".ledger.jsonl.copy")):
        first, _, last = path.read_text().splitlines(keepends=True)
        path.write_text(first + last)
    code, told = run("seed=9")
    assert code == 1
    assert "rows were deleted or edited" in told


@pytest.mark.slow
def test_a_night(run, begun, outputs):
    code, told = run("optimizer.lr=3e-3")
    assert code == 0, told
    seen = read(gate_record(outputs, "gate").ledger.rows())
    assert seen.incumbent[-1] == "optimizer.lr=3e-3"
    [kept] = seen.ideas
    assert (kept.word, kept.pairs, len(kept.again), kept.part, kept.fresh) == ("keep", 3, 3, 1, True)
    assert kept.mean is not None
    assert kept.mean < 0
    assert max(kept.again) < 0
    assert seen.pot == pytest.approx(0.4)
    runs = len(list((outputs / "runs").iterdir()))
    assert runs == 12
    assert run("optimizer.lr=3e-3")[0] == 0  # the same command again
    code, told = run("optimizer.lr=1e-6")
    assert code == 2, told
    assert len(list((outputs / "runs").iterdir())) == runs + 2
    second = read(gate_record(outputs, "gate").ledger.rows()).ideas[-1]
    assert (second.word, second.pairs, second.part) == ("discard", 1, 2)
    assert f"{read(gate_record(outputs, 'gate').ledger.rows()).pot:.4g} of 0.4" in run()[1]
