"""Notebooks run from top to bottom on records alone."""

from pathlib import Path

import nbformat.v4
import pytest
from nbclient import NotebookClient

from tests.analysis.worlds import World, write
from tests.worlds.study import design, validated
from tests.worlds.study import write as write_mixtures

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
TABLES = Path(__file__).parents[3] / "shared" / "tables"


def test_saturation_runs_on_a_study(tmp_path, monkeypatch):
    write(tmp_path, World(seeds=(0, 1, 2)), name="planted")
    monkeypatch.setenv("ABLATE_OUTPUTS", str(tmp_path))
    monkeypatch.setenv("ABLATE_STUDY", "planted")
    notebook = nbformat.v4.reads((NOTEBOOKS / "saturation.ipynb").read_text(encoding="utf-8"))
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    table = next(output.data["text/html"] for output in outputs if "text/html" in output.get("data", {}))
    assert "not saturated within the run" in table
    assert all(name in table for name in ("base", "qa_20", "qa_40", "qa_12", "general", "code", "science"))


@pytest.mark.parametrize("tables", ["here", "missing"])
def test_mixtures_runs_on_a_study_with_and_without_the_published_tables(tmp_path, monkeypatch, tables):
    if tables == "here" and not TABLES.exists():
        pytest.skip("public tables are not here")
    write_mixtures(tmp_path, validated(), design())
    monkeypatch.setenv("ABLATE_OUTPUTS", str(tmp_path))
    monkeypatch.setenv("ABLATE_STUDY", "planted")
    monkeypatch.setenv("ABLATE_TABLES", str(TABLES if tables == "here" else tmp_path / "none"))
    notebook = nbformat.v4.reads((NOTEBOOKS / "mixtures.ipynb").read_text(encoding="utf-8"))
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == (4 if tables == "here" else 3)
    shown = "".join(output.get("text", "") for output in outputs)
    assert "predicted gain over base: +" in shown
    assert ("no tables in" in shown) == (tables == "missing")


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_is_kept_with_its_pictures_and_small(path):
    assert path.stat().st_size < 500_000
    cells = nbformat.v4.reads(path.read_text(encoding="utf-8")).cells
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.get("outputs", []))
