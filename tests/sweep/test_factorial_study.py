"""A study of factors from its declaration to its verdict, with real runs."""

import dataclasses
import io

import numpy as np
import pytest
from rich.console import Console

from ablate import report
from ablate.page.factorial import effects
from ablate.run.record import study_record
from ablate.run.settings import Settings, Study
from ablate.sweep import conduct, factors, launcher
from ablate.sweep.study import Plan, plan
from ablate.verdict.evidence import read
from ablate.verdict.validity import trust

CHANGES = {
    "qk_norm": {"model": {"qk_norm": True}},
    "relu2": {"model": {"feed": "relu2"}},
    "slow": {"optimizer": {"lr": 1e-4}},  # at twenty steps it can only harm
}


def planned(tiny) -> Plan:
    """Three factors in the half of their eight combinations; overrides are composed by hand."""

    def on(names: list[str]) -> Settings:
        changes: dict = {}
        for name in names:
            for group, values in CHANGES[name].items():
                changes[group] = changes.get(group, {}) | values
        return tiny(schedule={"warmup": 2, "decay": 4}, **changes)

    study = Study(
        name="screen",
        question="Which of three help?",
        factor=["model", "optimizer"],
        factors={name: ["by hand"] for name in CHANGES},
        num_arms=4,
        resolution=3,
        seeds=[0, 1],
        margin=0.001,
    )
    arms = {name: on(name.split("+")) for name in factors.arms(study)}
    factors.audit(study, on([]), {name: on([name]) for name in CHANGES}, arms)
    return launcher.prepared(plan(study, on([]), arms))


def test_from_the_declaration_to_the_verdict(tiny):
    whole = planned(tiny)
    assert [arm.name for arm in whole.arms] == ["base", "qk_norm+slow", "relu2+slow", "qk_norm+relu2"]
    text = io.StringIO()
    conduct.run(whole, Console(file=text, width=100))
    evidence = read(study_record(whole.arms[0].settings.where.outputs, "screen"))
    results = effects(evidence)
    mains = {main.name: main for main in results.mains}
    finals = {arm.name: evidence.finals(arm.name, "macro") for arm in whole.arms}
    for seed in (0, 1):
        with_slow = [finals[arm][seed] for arm in ("qk_norm+slow", "relu2+slow")]
        without = [finals[arm][seed] for arm in ("base", "qk_norm+relu2")]
        assert mains["slow"].by_seed[seed] == pytest.approx(np.mean(with_slow) - np.mean(without))
    assert min(mains["slow"].by_seed.values()) > 0.05
    assert mains["slow"].aliases == ("-qk_norm x relu2",)
    assert not results.provisional
    assert "slow" in text.getvalue()
    assert "of 3 factors" in text.getvalue()
    again = io.StringIO()
    report.show(evidence, trust.conclude(evidence), Console(file=again, width=100))
    assert "3 factors in 4 arms, resolution 3: every effect is measured on all arms of 2 seeds" in again.getvalue()
    assert "resolution III" in again.getvalue()
    page = (evidence.study.folder / "report" / "index.html").read_text()
    assert "of 3 factors" in page
    first = dataclasses.asdict(results)
    conduct.run(whole, Console(file=io.StringIO()))  # nothing is trained twice
    assert dataclasses.asdict(effects(read(evidence.study))) == first
