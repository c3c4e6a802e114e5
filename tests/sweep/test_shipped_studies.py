"""Every study of conf/experiment is one that the command takes: no word of its arms is refused."""

from pathlib import Path

import pytest

from ablate.console.compose import CONF
from ablate.console.words import SettingsParser
from ablate.sweep.launcher import planned


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in Path(CONF, "experiment").glob("*.yaml")))
def test_a_shipped_study_is_a_plan(name):
    plan = planned(SettingsParser("train", "").read([f"+experiment={name}", "-m"]))
    assert len(plan.arms) > 1
    assert plan.study.name == name
