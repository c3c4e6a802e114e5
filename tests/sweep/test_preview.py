"""The plan shows what every arm's model costs as it will be built."""

import io

from rich.console import Console

from ablate.settings import Study, from_config
from ablate.sweep.preview import preview
from ablate.sweep.study import plan


def shown(tmp_path, match: str) -> dict[str, str]:
    """Lines of the table by arm."""
    settings = [
        from_config({"size": {"match": match}, "model": model, "where": {"outputs": str(tmp_path)}})
        for model in ({}, {"pattern": "M"})
    ]
    text = io.StringIO()
    study = Study(name="s", factor=["model"], seeds=[0])
    preview(plan(study, settings[0], {"mamba": settings[1]}), Console(file=text, width=160))
    return {line.split()[0]: line for line in text.getvalue().splitlines() if line.strip()}


def test_a_matched_arm_shows_the_widths_it_gets_and_what_they_cost(tmp_path):
    lines = shown(tmp_path, "parameters")
    assert "128, 384" in lines["base"]
    assert "1.05 M" in lines["base"]
    assert "112, 360" in lines["mamba"]
    assert "1.054 M" in lines["mamba"]
    assert "model.pattern: A -> M" in lines["mamba"]


def test_an_arm_that_is_not_matched_shows_that_it_is_larger(tmp_path):
    lines = shown(tmp_path, "none")
    assert "128, 384" in lines["mamba"]
    assert "1.291 M" in lines["mamba"]
