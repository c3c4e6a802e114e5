"""Notebooks run from top to bottom on records alone."""

from pathlib import Path

import nbformat.v4
from nbclient import NotebookClient

from tests.analysis.worlds import World, write

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


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
