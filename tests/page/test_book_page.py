"""The whole lab book on one page, and its table for people who read the folder."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ablate import report
from ablate.page.book import Book
from ablate.page.drawing import book as figures
from ablate.verdict import claims
from ablate.verdict.book import keep
from ablate.verdict.evidence import read
from ablate.verdict.selftest import self_test
from tests.page.test_browser import BROWSER, browse, shown
from tests.verdict.worlds import World, write, write_chain

CLAIMS = """\
- {id: A, system: One, claim: More is better, figure: "+1 | +2", source: s, study: mix_sweep, expects: {qa_20: better}}
- {id: "B|2", system: Two, claim: More is <b>worse</b>, figure: f, source: s, study: mix_sweep, expects: {qa_20: worse}}
- {id: C, system: Two, claim: Nobody knows, figure: f, source: s, cannot: no text}
"""


@pytest.fixture(scope="module")
def book(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("book")
    world = World(evaluations=20, tokens=2_000_000, null_seeds=(0,))
    keep(read(write(folder / "outputs", world)), folder / "mix_sweep")
    (folder / "claims.yaml").write_text(CLAIMS)
    report.main(["--book", str(folder)])
    return folder


def test_the_table_has_a_row_a_claim_and_the_answer(book):
    rows = [line for line in (book / "README.md").read_text().splitlines() if line.startswith("| **")]
    assert [row.split("|")[1].split()[0] for row in rows] == ["**One", "**Two", "**Two"]
    said = [row.replace("\\|", "").split("|")[3].strip(" *") for row in rows]
    assert said == ["agrees", "contradicts", "not asked"]
    assert {row.replace("\\|", "").count("|") for row in rows} == {10}
    assert "<b>" not in (book / "README.md").read_text()
    better, worse = (row.replace("\\|", "").split("|")[7].split()[0] for row in rows[:2])
    assert better == worse  # the same arm
    assert float(better) > 1


def test_the_page_says_the_same_and_leads_to_the_study(book):
    page = (book / "report" / "index.html").read_text()
    assert "1 agrees" in page
    assert "<b>worse</b>" not in page
    assert 'href="../mix_sweep/report/index.html"' in page
    assert (book / "mix_sweep" / "report" / "index.html").exists()
    assert "1 of 1 null controls are the same to the bit" in page


def test_what_has_nothing_to_show_is_not_drawn(tmp_path):
    quick = World(evaluations=4, tokens=200_000, seeds=(0, 1), null_arm=None)
    chain = write_chain(tmp_path, *(replace(quick, phase=phase) for phase in ("pretrain", "tune")))
    studies = [claims.studied(chain)]
    assert figures.saturation(studies) is None  # its base begins from another
    assert figures.parallel_runs(studies) is not None
    assert figures.parallel_runs([]) is None


def test_a_run_that_two_studies_share_is_counted_once(book):
    one = claims.studied(claims.records(book)[0])
    totals = Book([], [one, one], self_test(book)).totals
    assert (totals.studies, totals.runs) == (2, len(one.runs))
    assert totals.alone == pytest.approx(2 * totals.spent)


def test_writing_it_again_changes_nothing(book):
    written = {path: path.read_bytes() for path in (book / "README.md", book / "report" / "index.html")}
    report.main(["--book", str(book)])
    assert all(path.read_bytes() == before for path, before in written.items())


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed")
def test_a_filter_hides_the_other_claims(book, tmp_path):
    shutil.copytree(book / "report", tmp_path / "report")
    page = tmp_path / "report" / "index.html"
    asked = """<script>addEventListener("error", event => document.title = "error " + event.message);
    const system = document.getElementById("system"); system.value = "Two";
    system.dispatchEvent(new Event("input", {bubbles: true}));
    document.title = document.getElementById("count").textContent + ", wider than the screen: "
      + (document.documentElement.scrollWidth > innerWidth);</script></body>"""
    page.write_text(page.read_text().replace("</body>", asked))
    assert "<title>2 of 3 claims, wider than the screen: false</title>" in browse(page, dark=False)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed")
@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_is_cut_off_on_a_telephone_and_on_a_desk(book, tmp_path, width):
    shutil.copytree(book / "report", tmp_path / "report")
    page = shown(tmp_path / "report", width)
    assert page["errors"] == []
    assert page["scrollWidth"] <= page["width"] == width
    assert page["cut"] == []
    assert all(size > 100 for _, *sizes in page["figures"] for size in sizes)
