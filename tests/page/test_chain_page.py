"""What each phase did, as the page, its table, its picture and the terminal show it."""

import csv
import dataclasses
import io
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from ablate import report
from ablate.page import chain as tables
from ablate.page import page
from ablate.page.drawing.phases import phases
from ablate.page.drawing.phases import write as write_picture
from ablate.run.study_record import StudyRecord
from ablate.verdict import chain as chains
from ablate.verdict.evidence import read
from ablate.verdict.validity import trust
from tests.verdict.worlds import DOMAINS, World, write_chain

LEARN = World(
    effects={"a": -0.10, "b": 0.0}, seeds=(0, 1, 2), evaluations=4, tokens=200_000, null_arm=None, phase="learn"
)
OTHER = {{"science": "chat"}.get(domain, domain): values for domain, values in DOMAINS.items()}
TUNE = dataclasses.replace(LEARN, effects={"a": -0.02, "b": 0.06}, tokens=60_000, phase="tune", domains=OTHER)


def shared(outputs: Path) -> StudyRecord:
    """Two phases of partly other domains; arm b has the base's runs in the first one."""
    study = write_chain(outputs, LEARN, TUNE)
    declared = study.read()
    declared["before"]["learn"]["runs"]["b"] = declared["before"]["learn"]["runs"]["base"]
    study.write(declared)
    return study


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> StudyRecord:
    record = shared(tmp_path_factory.mktemp("outputs"))
    page.write(record)
    return record


def section(study: StudyRecord) -> str:
    text = (study.folder / "report/index.html").read_text(encoding="utf-8")
    return text[text.index("What each phase did") : text.index("What differs")]


def test_the_page_has_every_number_of_every_stage(study):
    found = section(study)
    for row in chains.of_study(read(study)).rows():
        for stage in row:
            assert stage.value is None or f"{stage.value.mean:.4f}" in found
            assert stage.change is None or f"{stage.change.mean:+.4f}".replace("-", "−") in found
    for words in ("not measured", "not measured before", "on other text", "the runs of base", "the same runs"):
        assert words in found


def test_the_page_has_the_words_of_every_phase(study):
    evidence = read(study)
    of_phases = chains.survival(evidence, trust.conclude(evidence))
    found = re.sub("<[^>]+>", " ", section(study))
    for verdict in (one for of_phase in of_phases.values() for one in of_phase.values()):
        mean = re.escape(f"{verdict.effect.mean:+.4f}".replace("-", "−"))
        assert re.search(rf"{mean}\s+{verdict.word}", found)
    assert "tune, judged" in found


def test_the_table_has_a_row_a_metric_arm_and_phase(study):
    with (study.folder / "report/phases.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    chain = chains.of_study(read(study))
    assert len(rows) == len(chain.metrics) * 3 * 2
    of_b = [row for row in rows if (row["arm"], row["metric"]) == ("b", "qa")]
    assert [row["runs_of"] for row in of_b] == ["base", "b"]
    stage = chain.row("b", "qa")[1]
    assert stage.change
    assert float(of_b[1]["change"]) == stage.change.mean
    assert (of_b[0]["difference"], of_b[0]["change"]) == ("", "")


def test_a_study_of_one_phase_has_no_such_section(tmp_path):
    from tests.verdict.worlds import write

    record = write(tmp_path, dataclasses.replace(LEARN, phase=""))
    page.write(record)
    assert "What each phase did" not in (record.folder / "report/index.html").read_text(encoding="utf-8")
    assert not (record.folder / "report/phases.csv").exists()


def test_a_line_breaks_at_other_text_and_a_shared_phase_is_one_line(study):
    chain = chains.of_study(read(study))
    axes = {ax.get_title(loc="left"): ax for ax in phases(chain).axes}
    lines = {name: [np.asarray(line.get_xdata()) for line in ax.lines] for name, ax in axes.items()}
    lines = {name: [places for places in found if len(places) > 1] for name, found in lines.items()}
    border = axes["qa"].get_xticks()[0]
    assert {len(lines[name]) for name in ("qa", "general", "code")} == {2 + 3}  # the base's of `learn` is that of b too
    assert (len(lines["science"]), len(lines["chat"])) == (2, 3)
    begins = {name: sorted({places.min() for places in lines[name]}) for name in ("qa", "macro", "chat")}
    assert begins["qa"][-1] == border  # goes on from the end of the phase before
    assert begins["macro"][-1] > border
    assert begins["chat"][0] > border
    assert [label.get_text() for label in axes["qa"].get_xticklabels()] == ["200k", "260k"]


@pytest.mark.parametrize("name", ["learn [/x]", r"$\foo$", "<i>"])
def test_a_phase_may_have_any_name(tmp_path, name):
    study = write_chain(tmp_path, dataclasses.replace(LEARN, phase=name), TUNE)
    assert name.replace(" ", "") in re.sub(r"\s", "", said(study))
    path = write_picture(chains.of_study(read(study)), tmp_path / "phases.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def said(study: StudyRecord, width: int = 80) -> str:
    evidence, text = read(study), io.StringIO()
    Console(file=text, width=width).print(*tables.small(evidence, trust.conclude(evidence)), sep="\n")
    return text.getvalue()


def test_the_terminal_shows_the_metric_by_phase_and_whether_the_verdict_survives(tmp_path):
    text = said(write_chain(tmp_path, LEARN, dataclasses.replace(TUNE, domains=DOMAINS)))
    chain = chains.of_study(read(StudyRecord(tmp_path / "studies" / "chain")))
    stage = chain.row("a", "macro")[1]
    assert stage.change
    assert stage.shift
    assert f"{stage.change.mean:+.4f} ±" in text
    assert f"moved {stage.shift.mean:+.4f} ±" in text
    assert "tune, judged" in text
    assert max(map(len, text.splitlines())) <= 80


def test_while_the_judged_phase_waits_the_one_before_is_shown(tmp_path, capsys):
    waiting = {(arm, seed): "not started" for arm in ("base", "a", "b") for seed in LEARN.seeds}
    study = write_chain(tmp_path, LEARN, dataclasses.replace(TUNE, outcomes=waiting))
    report.main(["chain", "--outputs", str(tmp_path)])
    out = capsys.readouterr().out
    assert "No run has finished yet" in out
    assert "-0.1002 better" in out
    assert "3 of 3 not started" in out
    assert '<figure id="phases">' in section(study)
    assert "<h2>Saturation" not in (study.folder / "report/index.html").read_text(encoding="utf-8")


def test_before_any_run_has_finished_there_is_no_section(tmp_path, capsys):
    waiting = {(arm, seed): "not started" for arm in ("base", "a", "b") for seed in LEARN.seeds}
    study = write_chain(tmp_path, *(dataclasses.replace(world, outcomes=waiting) for world in (LEARN, TUNE)))
    report.main(["chain", "--outputs", str(tmp_path)])
    assert "by phase" not in capsys.readouterr().out
    assert "What each phase did" not in (study.folder / "report/index.html").read_text(encoding="utf-8")


def test_the_command_prints_it_and_keeps_it_in_the_lab_book(tmp_path, capsys):
    study = shared(tmp_path / "outputs")
    folder = tmp_path / "book" / "chain"
    report.main(["chain", "--outputs", str(tmp_path / "outputs"), "--keep", str(folder)])
    assert "macro by phase" in capsys.readouterr().out
    assert (folder / "phases.csv").read_text() == (study.folder / "report/phases.csv").read_text()
    report.main([str(folder)])
    assert (folder / "report/phases.csv").read_text() == (folder / "phases.csv").read_text()
