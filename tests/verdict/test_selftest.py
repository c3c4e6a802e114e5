import dataclasses
import json

import numpy as np
import pytest
from rich.console import Console

from ablate import report
from ablate.page import terminal
from ablate.verdict.evidence import POSITIVE
from ablate.verdict.registry import Past
from ablate.verdict.selftest import Rate, contrasts, nulls, self_test
from tests.verdict.worlds import World, write

EFFECTS = {f"qa_{share}": 0.02 * (-1) ** share for share in range(11, 41)}


def lab(folder, **changes):
    world = World(evaluations=3, tokens=90_000, effects=EFFECTS, seeds=(0, 1, 2), own_noise=0.002, null_arm=None)
    return write(folder, dataclasses.replace(world, **changes))


def test_contrasts_keep_the_noise_and_lose_the_effect():
    rng = np.random.default_rng(0)
    found = np.array([contrasts((0.7 + 0.1 * rng.standard_normal(4)).tolist(), rng) for _ in range(20_000)])
    assert found.shape == (20_000, 3)
    assert found.mean(0) == pytest.approx([0, 0, 0], abs=0.003)
    assert np.cov(found.T) == pytest.approx(0.01 * np.eye(3), abs=3e-4)
    assert np.square(contrasts([1.0, 2.0, 6.0], rng)).sum() == pytest.approx(2 * np.var([1, 2, 6], ddof=1))


def test_pseudo_arms_are_of_one_kind_and_use_each_contrast_once():
    def arm(number: int, kind: str) -> Past:
        pairs = {"macro": [(0.0, float(number)), (0.0, number + 1.0), (0.0, number + 3.0)]}
        return Past(
            "s", str(number), frozenset({kind}), 1.0, 1.0, ("qa",), frozenset({str(number)}), frozenset({"s"}), pairs
        )

    arms = [arm(i, "mixture") for i in range(7)] + [arm(i, "length") for i in range(2)]
    found = nulls(arms, "macro", np.random.default_rng(0))
    assert [one.kind for one in found] == [frozenset({"mixture"})] * 4 + [frozenset({"length"})]
    squares = sum(np.square(one.differences("macro")).sum() for one in found if "length" not in one.kind)
    assert squares <= 7 * 2 * np.var([0, 1, 3], ddof=1) + 1e-9


def test_a_lab_that_keeps_its_level_says_so(tmp_path):
    lab(tmp_path, seeds=(3, 4, 5))
    found = self_test(tmp_path)
    assert found.pairs == 60
    assert found.moderated.value < 0.1  # though every arm has an effect of ten times its noise
    assert found.plain.value < 0.1
    assert found.families.trials == 1
    (macro,) = found.noises["macro"]
    assert macro.arms == len(EFFECTS)
    assert macro.noise.variance**0.5 == pytest.approx(0.0015, rel=0.5)  # four domains: sqrt 2 x 0.0021 / 2
    assert found.pairings["macro"][frozenset({"mixture"})].value > 5
    assert (found.positives, found.positives_found) == (0, 0)


def test_positive_controls_are_counted(tmp_path):
    study = lab(tmp_path, effects={"qa_20": 0.03, "qa_30": 0.0})
    declaration = study.read()
    for expected, counted in (("worse", (1, 1)), ("better", (1, 0))):
        arm = {"control_runs": {POSITIVE: declaration["runs"]["qa_20"]}, "controls": {"expected": expected}}
        study.write(declaration | arm)
        found = self_test(tmp_path)
        assert (found.positives, found.positives_found) == counted


def test_an_empty_lab_has_no_rates(tmp_path, capsys):
    report.main(["--self-test", "--outputs", str(tmp_path)])
    assert "0 A/A pairs" in capsys.readouterr().out


def test_the_table_shows_rates_noise_and_pairing(tmp_path):
    lab(tmp_path)
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(terminal.self_test(self_test(tmp_path)))
    shown = console.export_text()
    for text in ("60 A/A pairs", "macro", "mixture", "no positive control"):
        assert text in shown
    json.dumps(shown)


def test_a_rate_has_its_exact_bound():
    assert Rate(0.0, 72).bound == pytest.approx(1 - 0.025 ** (1 / 72))
    assert Rate(3.0, 3).bound == 1.0
    assert Rate(1.5, 100).bound == Rate(2.0, 100).bound > Rate(1.0, 100).bound
