"""Notebooks run from top to bottom on records alone, and are kept with their pictures."""

import re
import shutil
from pathlib import Path

import nbformat.v4
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from ablate.scores.readings import READINGS
from ablate.verdict.book import keep
from ablate.verdict.evidence import read
from bench.curves import TABLES
from tests.verdict.answered import Asked, answer
from tests.verdict.worlds import World, write
from tests.worlds.study import design, validated
from tests.worlds.study import write as write_mixtures

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
KEPT = 500_000  # bytes


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # the kernel is a process of its own
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))

    def execute(name: str, **environment: str) -> NotebookNode:
        for key, value in environment.items():
            monkeypatch.setenv(key, value)
        notebook = nbformat.v4.reads((NOTEBOOKS / name).read_text(encoding="utf-8"))
        place = {"metadata": {"path": tmp_path}}
        NotebookClient(
            notebook, timeout=300, startup_timeout=300, iopub_timeout=300, kernel_name="python3", resources=place
        ).execute()
        return notebook

    return execute


def pictures(notebook: NotebookNode) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs(notebook))


def outputs(notebook: NotebookNode) -> list[NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def text(notebook: NotebookNode) -> str:
    return "".join(output.get("text", "") for output in outputs(notebook))


def test_saturation_runs_on_a_study_without_published_tables(tmp_path, run):
    write(tmp_path, World(seeds=(0, 1, 2)), name="planted")
    where = {"ABLATE_OUTPUTS": str(tmp_path), "ABLATE_STUDY": "planted", "ABLATE_TABLES": str(tmp_path / "none")}
    notebook = run("saturation.ipynb", **where)
    assert pictures(notebook) == 2
    assert text(notebook).count("the published tables are not here") == 2
    table = next(output.data["text/html"] for output in outputs(notebook) if "text/html" in output.get("data", {}))
    assert "not saturated within the run" in table
    assert all(name in table for name in ("base", "qa_20", "qa_40", "qa_12", "general", "code", "science"))


@pytest.mark.skipif(not TABLES.exists(), reason="published tables are not here")
def test_saturation_runs_on_the_lab_book_and_reproduces_published_laws(run):
    notebook = run("saturation.ipynb")
    assert pictures(notebook) == 4
    assert "Huber 0.015826 (published .015826), R2 0.7722 (.7722)" in text(notebook)


@pytest.mark.parametrize("tables", ["here", "missing"])
def test_mixtures_runs_on_a_study_with_and_without_published_tables(tmp_path, run, tables):
    if tables == "here" and not TABLES.exists():
        pytest.skip("published tables are not here")
    write_mixtures(tmp_path, validated(), design())
    published = str(TABLES if tables == "here" else tmp_path / "none")
    notebook = run("mixtures.ipynb", ABLATE_OUTPUTS=str(tmp_path), ABLATE_STUDY="planted", ABLATE_TABLES=published)
    assert pictures(notebook) == (4 if tables == "here" else 3)
    assert "predicted gain over base: +" in text(notebook)
    assert ("no tables in" in text(notebook)) == (tables == "missing")


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_is_kept_with_its_pictures_and_small(path):
    notebook = nbformat.v4.reads(path.read_text(encoding="utf-8"))
    assert pictures(notebook) >= 2
    assert path.stat().st_size < KEPT
    assert not any(output.output_type == "error" for output in outputs(notebook))


def test_architectures_runs_on_the_studies_that_are_there(tmp_path, run):
    for name, effects in (("first", {"qa_20": -0.05, "qa_40": 0.05}), ("second", {"qa_30": -0.06})):
        write(tmp_path / name, World(effects=effects, seeds=(0, 1, 2, 3)), name=name)
        shutil.copytree(tmp_path / name, tmp_path / "outputs", dirs_exist_ok=True)
    notebook = run("architectures.ipynb", ABLATE_OUTPUTS=str(tmp_path / "outputs"), ABLATE_STUDY="first second missing")
    assert pictures(notebook) == 5  # two verdicts, cost, curves, domains
    table = next(output.data["text/html"] for output in outputs(notebook) if "text/html" in output.get("data", {}))
    assert "beaten by base, qa_20<" in table  # qa_40, at every cost
    assert "beaten by qa_30<" in table  # the base, in its own study alone
    assert "missing" not in text(notebook)


def test_architectures_runs_on_the_lab_book(run):
    notebook = run("architectures.ipynb")
    assert pictures(notebook) >= 4
    assert "null control: llama of seed 0, trained twice, is the same to the bit" in text(notebook)


def test_noise_finds_what_was_planted_without_published_tables(tmp_path, run):
    world = World(seeds=tuple(range(12)), shared_noise=0.05, own_noise=0.005, evaluation_noise=0.0)
    write(tmp_path, world, name="planted")
    notebook = run("noise.ipynb", ABLATE_OUTPUTS=str(tmp_path), ABLATE_TABLES=str(tmp_path / "none"))
    assert pictures(notebook) == 4
    assert "the published tables are not here" in text(notebook)
    tables = [output.data["text/html"] for output in outputs(notebook) if "text/html" in output.get("data", {})]
    [between] = re.findall(r"<th>macro</th>.*?([\d.]+ to [\d.]+)", tables[0], re.DOTALL)
    low, high = map(float, between.split(" to "))
    assert 1 < low < 1 + (world.shared_noise / world.own_noise) ** 2 < high


def test_noise_runs_on_the_lab_book(run):
    notebook = run("noise.ipynb")
    books = {path.parent.name for path in (ROOT / "experiments").glob("*/runs.csv")}
    assert all(f"{name}: " in text(notebook) for name in books)
    assert pictures(notebook) == 6 + TABLES.exists()  # power is drawn of three studies


def test_capabilities_tells_what_was_planted_from_what_cannot_be_seen(tmp_path, run):
    study = write(tmp_path, World(seeds=(0, 1, 2), null_arm=None), name="planted")
    answer(study, Asked(effects={"qa_40": -0.6}), steps={100: 1.0, 200: 0.5})
    answer(study, Asked(effects={"qa_40": 0.6}), "likelihood")
    notebook = run("capabilities.ipynb", ABLATE_OUTPUTS=str(tmp_path), ABLATE_STUDY="planted missing")
    assert pictures(notebook) == 3  # checkpoints, protocols, limits
    assert re.search(r"bpb: 2 of 2 above 1, median \d", text(notebook))
    tables = [output.data["text/html"] for output in outputs(notebook) if "text/html" in output.get("data", {})]
    assert "turns" in tables[0]
    assert all(reading in tables[1] for reading in READINGS)


def test_capabilities_runs_on_the_lab_book(run):
    notebook = run("capabilities.ipynb")
    assert pictures(notebook) >= 4
    assert all(f"{name}: " in text(notebook) for name in ("mix_tasks", "protocol_sweep"))


@pytest.mark.parametrize("name", ["architectures", "capabilities", "noise"])
def test_a_notebook_is_kept_with_its_pictures(name):
    path = NOTEBOOKS / f"{name}.ipynb"
    notebook = nbformat.v4.reads(path.read_text(encoding="utf-8"))
    assert pictures(notebook) >= 4
    assert path.stat().st_size < KEPT
    assert not any(output.output_type in ("error", "stderr") for output in outputs(notebook))
    assert all(place not in path.read_text(encoding="utf-8") for place in ("/work", "/tmp", "/home", "/root"))


@pytest.mark.parametrize("name", ["noise", "saturation"])
def test_a_lab_book_of_ones_own_is_read_too(tmp_path, run, name):
    study = write(tmp_path / "outputs", World(seeds=(0, 1, 2)), name="planted")
    keep(read(study), tmp_path / "book" / "planted")
    where = {"ABLATE_OUTPUTS": str(tmp_path / "book"), "ABLATE_STUDY": "planted", "ABLATE_TABLES": str(tmp_path)}
    assert pictures(run(f"{name}.ipynb", **where)) >= 2


def test_a_folder_without_a_study_is_named(tmp_path, run):
    with pytest.raises(CellExecutionError, match="has an arm with two finished seeds"):
        run("noise.ipynb", ABLATE_OUTPUTS=str(tmp_path))
