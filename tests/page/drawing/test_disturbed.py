"""Figures along tokens shade what runs left out and mark spikes."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ablate.page.drawing import figures, run_curves
from ablate.page.drawing.disturbed import disturbed
from ablate.page.drawing.style import LIGHT
from ablate.verdict.evidence import Run, read
from tests.verdict.worlds import STEP_TOKENS, World, write

QUICK = World(evaluations=12, tokens=600_000)
SPIKE: dict[str, Any] = {"step": 22, "at": 21, "action": "rollback", "window": [18, 22]}


def leave_out(run: Run, windows: list[list[int]]) -> None:
    """As if the run had left these steps out because of a spike in step 21."""
    path = run.record.folder / "result.json"
    result = json.loads(path.read_text())
    out = sum(end - first for first, end in windows)
    skipped = {"steps": out, "tokens": out * STEP_TOKENS, "windows": windows}
    path.write_text(json.dumps(result | {"skipped": skipped, "spikes": 1}))
    run.record.append("spike", **SPIKE, tokens=22 * STEP_TOKENS)


@pytest.fixture
def evidence(tmp_path):
    evidence = read(write(tmp_path, QUICK))
    leave_out(evidence.by_arm["qa_40"][1], [[18, 22], [40, 41]])
    return read(evidence.study)


def bands(ax: Axes) -> list[tuple[float, float]]:
    """Of the shades that are as high as the panel."""
    found = [patch for patch in ax.patches if isinstance(patch, Rectangle) and patch.get_height() == 1]
    return [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in found]


def marks(ax: Axes) -> list[float]:
    return [float(x) for line in ax.lines if line.get_marker() == "v" for x in np.asarray(line.get_xdata())]


def test_windows_and_spikes_lie_where_their_steps_are(evidence):
    found = disturbed(evidence.by_arm["qa_40"][1].record)
    assert found.windows == ((18 * STEP_TOKENS, 22 * STEP_TOKENS), (40 * STEP_TOKENS, 41 * STEP_TOKENS))
    assert found.spikes == (21 * STEP_TOKENS,)
    assert disturbed(evidence.by_arm["qa_40"][0].record).windows == ()


def test_every_panel_of_the_study_has_them_in_the_colour_of_the_arm(evidence):
    figure = figures.losses(evidence)
    panels = [ax for ax in figure.axes if ax.get_visible() and ax.axison]
    colour = to_rgb(LIGHT.colours([evidence.base, *evidence.arms])["qa_40"])
    for ax in panels:
        assert bands(ax) == [(180_000, 220_000), (400_000, 410_000)]
        assert marks(ax) == [210_000]
    [*_, patch] = panels[0].patches
    assert patch.get_facecolor()[:3] == colour


def test_arms_without_a_colour_have_none(evidence):
    assert not any(marks(ax) for ax in figures.losses(evidence, shown=["qa_20"]).axes)


def test_so_has_the_figure_of_a_run(evidence):
    run, other = (evidence.by_arm["qa_40"][seed].record for seed in (1, 0))
    figure: Figure = run_curves.draw({"one": run, "other": other}, evidence.metric, evidence.scope)
    assert [len(bands(ax)) for ax in figure.axes] == [2] * 4
    assert [marks(ax) for ax in figure.axes] == [[210_000]] * 4
    assert dataclasses.astuple(disturbed(other)) == ((), ())
