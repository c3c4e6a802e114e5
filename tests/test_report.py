import json
import shutil
import subprocess
import sys

import pytest
from typed import typed

from ablate import report
from ablate.verdict.evidence import flops_text
from tests.verdict.answered import SETTINGS
from tests.verdict.worlds import World, write

QUICK = World(evaluations=12, tokens=600_000)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return typed("report", *arguments)


@pytest.mark.slow
def test_a_study_is_reported_in_the_terminal_and_on_a_page(tmp_path, capsys):
    study = write(tmp_path, QUICK)
    report.main(["mix_sweep", "--outputs", str(tmp_path)])
    shown = capsys.readouterr().out
    assert "How much of the mixture should be question answering?" in shown
    assert "`qa_20` is better than `base` by" in shown.replace("\n", " ")
    assert "qa_10 = base" in shown
    assert str(study.folder / "report" / "index.html") in shown
    assert (study.folder / "report" / "index.html").exists()


@pytest.mark.slow
def test_what_was_taken_over_from_other_runs_is_not_spent(tmp_path, capsys):
    study = write(tmp_path, QUICK)
    records = list({record.id: record for _, _, record in study.records()}.values())
    for record in records:
        result = (record.result() or {}) | {"flops": 1e12, "grown_from": None}
        (record.folder / "result.json").write_text(json.dumps(result))
    grown, crashed = records[1], records[2]
    result = (grown.result() or {}) | {
        "grown_from": {"trunk": "k", "run": "r", "step": 5, "flops": 4e11, "seconds": 1.0}
    }
    (grown.folder / "result.json").write_text(json.dumps(result))
    (crashed.folder / "result.json").unlink()
    crashed.fail("crashed", "ValueError: no")
    report.main(["mix_sweep", "--outputs", str(tmp_path)])
    shown, whole = capsys.readouterr().out, (len(records) - 1) * 1e12
    text = f"ompute spent: {flops_text(whole - 4e11)}; saved by shared beginnings: 400 GFLOP"
    assert text in shown.replace("\n", " ")
    assert text in (study.folder / "report" / "index.html").read_text()
    assert "1 crashed: ValueError: no" in shown


def test_without_a_name_the_studies_are_listed(tmp_path, capsys):
    write(tmp_path, QUICK, name="one")
    write(tmp_path / "more", QUICK, name="two")
    report.main(["--outputs", str(tmp_path)])
    shown = capsys.readouterr().out
    assert "one" in shown
    assert "two" not in shown


def test_a_sweep_without_a_question_is_listed_with_its_arms(tmp_path, capsys):
    study = write(tmp_path, QUICK, name="sweep-0123abcd")
    study.write(study.read() | {"question": ""})
    report.main(["--outputs", str(tmp_path)])
    assert "sweep-0123abcd           base | qa_20 | qa_40 | qa_12 and 1 more" in capsys.readouterr().out


def test_a_damaged_study_is_listed_with_its_reason_beside_the_others(tmp_path, capsys):
    one = write(tmp_path, QUICK, name="one").folder
    shutil.copytree(one, one.parent / "broken")
    (one.parent / "broken" / "study.json").write_text('{"name": ')
    report.main(["--outputs", str(tmp_path)])
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("broken ")
    assert "study.json: damaged" in first
    assert second.startswith("one ")


def test_progress_of_runs_that_nobody_asked_says_who_asks_them(tmp_path, capsys):
    study = write(tmp_path, World())
    study.write(study.read() | {"tasks": {"sums": SETTINGS}})
    with pytest.raises(SystemExit):
        report.main(["mix_sweep", "--outputs", str(tmp_path), "--progress"])
    assert "nobody has asked the runs of mix_sweep; ablate evaluate mix_sweep does" in capsys.readouterr().err


def test_a_folder_of_a_lab_book_that_is_not_there_is_named(tmp_path):
    done = run("experiments/nope", "--outputs", str(tmp_path))
    assert done.stderr == "error: experiments/nope: no such folder of a lab book\n"


@pytest.mark.parametrize("arguments", [["nope"], []])
def test_errors_are_one_line_and_exit_1(tmp_path, arguments):
    done = run(*arguments, "--outputs", str(tmp_path))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: no study")


def test_help_explains():
    done = run("--help")
    assert done.returncode == 0
    for part in ("STUDY", "--outputs", "verdict", "ablate report mix_sweep"):
        assert part in done.stdout


def test_the_table_does_not_wait_for_what_only_draws_or_trains():
    code = "import sys, ablate.report, ablate.verdict.compare; print(sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"'matplotlib'", "'torch'", "'lightning'", "'hydra'", "'pandas'"} & set(loaded.strip("[]\n").split(", "))
