import csv
import dataclasses
import errno
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from ablate.page import page
from ablate.page.facts import facts
from ablate.run import files
from ablate.run.settings import UserError
from ablate.run.study_record import StudyRecord
from ablate.verdict import card
from ablate.verdict.compare import verdicts
from ablate.verdict.evidence import read
from tests.verdict.worlds import World, write

HOSTILE = "<script>alert(1)</script>"
QUICK = World(evaluations=12, tokens=600_000)


class Reader(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.sources: list[str] = []
        self.parts: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "srcset")]

    def handle_data(self, data):
        self.parts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.parts))


def rows(study: StudyRecord, name: str) -> list[dict[str, str]]:
    with (study.folder / "report" / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> StudyRecord:
    record = write(tmp_path_factory.mktemp("outputs"), QUICK)
    page.write(record)
    return record


def test_the_page_holds_everything_itself(study):
    text = (study.folder / "report/index.html").read_text(encoding="utf-8")
    found = Reader(study.folder / "report/index.html")
    assert text.count("<figure ") == 5
    assert found.sources == []  # not even an embedded image: figures are drawn in the page
    assert "<script" not in text
    assert set(re.findall(r"url\(([^)]).", text)) == {"#"}
    assert not re.findall(r'href="[^#]', text)


def test_no_id_is_used_twice(study):
    ids = re.findall(r' id="([^"]*)"', (study.folder / "report/index.html").read_text(encoding="utf-8"))
    assert len(ids) == len(set(ids))


def test_figures_take_every_colour_from_the_page(study):
    """Those of a figure in light colours would be lost on dark paper; the scale of differences suits both."""
    text = (study.folder / "report/index.html").read_text(encoding="utf-8")
    figures = dict(re.findall(r'<figure id="(\w+)">(.*?)</figure>', text, flags=re.S))
    for name in figures.keys() - {"parallel"}:
        assert not re.findall("#[0-9a-f]{6}", figures[name]), name
        assert "var(--fig-ink)" in figures[name]


def test_the_arm_of_the_sentence_is_open_and_the_others_are_folded(study):
    text = (study.folder / "report/index.html").read_text(encoding="utf-8")
    arms = re.findall(r'<details class="arm"( open)?>.*?<code>(.*?)</code>', text, flags=re.S)
    assert arms == [(" open", "qa_20"), ("", "qa_40"), ("", "qa_12")]


def test_a_card_says_all_that_its_verdict_rests_on(study):
    text = Reader(study.folder / "report/index.html").text
    for found in card.cards(read(study)):
        for _, line in facts(found):
            assert re.sub(r"(?<![\w.])-(?=\d)", "−", line) in text


@pytest.fixture(scope="module")
def crowded(tmp_path_factory) -> StudyRecord:
    """More arms than are shown in detail."""
    effects = {f"qa_{share}": 0.0004 * (share - 25) for share in range(11, 51)}
    record = write(tmp_path_factory.mktemp("outputs"), dataclasses.replace(QUICK, effects=effects, seeds=(0, 1)))
    page.write(record)
    return record


@pytest.mark.slow
def test_a_page_of_many_arms_shows_some_and_counts_the_others(crowded):
    text = (crowded.folder / "report/index.html").read_text(encoding="utf-8")
    assert text.count('<details class="arm"') == page.DETAILED
    assert text.count('<div class="arm"') == 40 - page.DETAILED
    shown = Reader(crowded.folder / "report/index.html").text
    assert f"{40 - page.DETAILED} more arms in one line each" in shown
    assert "the family is all of them" in shown
    for verdict in verdicts(read(crowded)):  # each arm's number is there, in detail or not
        assert f"{verdict.effect.mean:+.4f}".replace("-", "−") in shown
    assert len(text) < 1_500_000


def test_the_page_says_what_was_asked_and_found(study):
    text = Reader(study.folder / "report/index.html").text
    declaration = study.read()
    for part in (declaration["question"], declaration["hypothesis"], declaration["digest"], declaration["fingerprint"]):
        assert part in text
    for verdict in verdicts(read(study)):
        assert f"{verdict.effect.mean:+.4f}".replace("-", "−") in text
    assert "qa_20 is better than base by" in text
    assert "16 of 16 runs done" in text
    assert "provisional" not in text.replace("verdict above that lacks a run is provisional", "")
    assert "Drift" not in text
    assert all(run.record.id in text for run in read(study).runs)


def test_the_hypothesis_stands_beside_the_answer(study):
    text = (study.folder / "report/index.html").read_text(encoding="utf-8")
    [asked] = re.findall(r'<div class="asked">(.*?)</div>', text, flags=re.S)
    assert study.read()["hypothesis"] in asked
    assert 'id="headline"' in asked
    assert text.count(study.read()["hypothesis"]) == 1


def test_a_study_without_a_hypothesis_claims_none(tmp_path):
    record = write(tmp_path, World(evaluations=3, tokens=90_000))
    record.write(record.read() | {"hypothesis": ""})
    text = page.write(record).read_text(encoding="utf-8")
    assert "written before the first run" not in text
    assert 'id="headline"' in text


@pytest.mark.slow
def test_fits_that_find_no_place_of_saturation_are_folded(tmp_path):
    """Curves of a short study do not flatten yet: a table without a find must not fill a screen."""
    folded = "laws, one an arm and domain: none finds where it saturates</summary>"
    short, long = dataclasses.replace(QUICK, evaluations=3), World(shape="constant", seeds=(0, 1, 2))
    assert folded in page.write(write(tmp_path / "short", short)).read_text(encoding="utf-8")
    saturated = page.write(write(tmp_path / "long", long)).read_text(encoding="utf-8")
    assert "<td>saturated<" in saturated
    assert folded not in saturated


def test_tables_hold_the_numbers_of_the_verdicts(study):
    found = {row["arm"]: row for row in rows(study, "verdicts.csv")}
    for verdict in verdicts(read(study)):
        row = found[verdict.arm]
        assert float(row["difference"]) == verdict.effect.mean
        assert (float(row["low"]), float(row["high"])) == verdict.effect.interval
        assert row["word"] == verdict.word
    assert len(rows(study, "runs.csv")) == 20  # the null arm shares the runs of the base
    assert len(rows(study, "curves.csv")) == 20 * 12 * 7


def test_writing_again_changes_nothing(study):
    folder = study.folder / "report"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    page.write(study)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.fixture(scope="module")
def troubled(tmp_path_factory) -> Path:
    """The page of a study that is unfinished, whose runs drifted, and whose question is hostile."""
    outcomes = {("qa_20", 0): "running", ("qa_20", 1): "killed", ("qa_40", 0): "diverged", ("qa_12", 0): "not started"}
    record = write(tmp_path_factory.mktemp("outputs"), dataclasses.replace(QUICK, outcomes=outcomes))
    environment = read(record).by_arm["qa_20"][2].record.folder / "environment.json"
    changed = json.loads(environment.read_text())
    changed["packages"]["torch"] = "2.11.0"
    environment.write_text(json.dumps(changed))
    record.write(record.read() | {"question": HOSTILE, "hypothesis": HOSTILE})
    return page.write(record)


def test_an_unfinished_study_says_so(troubled):
    text = Reader(troubled).text
    assert "13 of 16 runs done" in text
    assert "So far: " in text
    for part in ("1 of 4 running", "1 of 4 killed", "1 of 4 diverged", "1 of 4 not started", "provisional"):
        assert part in text
    assert "the process was killed (signal 9)" in text
    assert "the loss is not finite" in text


def test_drift_between_runs_is_reported(troubled):
    expected = "Drift: runs of this study differ in torch (package) (2.10.0: 14 runs; 2.11.0: 1 run)"
    assert expected in Reader(troubled).text


def test_text_from_outside_cannot_become_markup(troubled):
    assert "<script" not in troubled.read_text()
    assert HOSTILE in Reader(troubled).text


def test_without_a_finished_run_there_is_one_clear_line(tmp_path):
    arms = ("base", "qa_20", "qa_40", "qa_12")
    outcomes = {(arm, seed): "not started" for arm in arms for seed in range(4)}
    path = page.write(write(tmp_path, dataclasses.replace(QUICK, outcomes=outcomes)))
    assert "No run has finished yet, so there is nothing to compare." in Reader(path).text
    assert not list(path.parent.glob("*.png"))
    assert "not started" in Reader(path).text


def test_what_runs_wrote_is_shown_as_text(tmp_path):
    study = write(tmp_path, QUICK)
    base = read(study).by_arm["base"][QUICK.seeds[0]].record
    assert "<h2>Samples" not in page.write(study).read_text(encoding="utf-8")
    for step, text in ((10, "aaa"), (20, "bbb"), (30, HOSTILE)):
        base.append("sample", step=step, tokens=1, texts=[{"prompt": "a < b", "text": text}])
    html = page.write(study).read_text(encoding="utf-8")
    assert "a &lt; b" in html
    assert "aaa" in html
    assert "bbb" not in html
    assert HOSTILE not in html
    assert "&lt;script&gt;alert(1)" in html
    assert f"seed {QUICK.seeds[0]}, steps 10 and 30" in html


def test_a_picture_that_a_full_disk_cannot_hold_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "sync", full)
    with pytest.raises(UserError, match=r"cannot write .*forest\.png: No space left on device"):
        page._pictures({"forest": Figure}, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["qa_20", "base"])
def test_an_arm_that_diverges_before_its_first_evaluation_is_told_on_a_whole_page(tmp_path, lost):
    seeds = (0, 1)
    study = write(tmp_path, World(seeds=seeds, evaluations=6, outcomes={(lost, seed): "diverged" for seed in seeds}))
    for run in read(study).by_arm[lost].values():
        (run.record.folder / "metrics.jsonl").write_text("")
        nothing = {"step": 1, "tokens": 512, "reason": "the gradient norm is nan at step 1"}
        files.write_json(run.record.folder / "result.json", {**(run.record.result() or {}), **nothing})
    text = page.write(study).read_text()
    assert "2 of 2 diverged" in text
    assert "the gradient norm is nan at step 1" in text


def full(path: Path) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
