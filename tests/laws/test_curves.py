import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ablate.laws import curve_laws as laws
from ablate.laws import curves, saturation
from ablate.verdict.evidence import Evidence, read
from tests.verdict.worlds import World, write

PUBLIC = Path(__file__).parents[3] / "shared/tables/thu-yao-01-luo+MultiPowerLaw/loss_curve_repo"


def study(folder: Path, **changes) -> Evidence:
    quiet = World(effects={}, null_arm=None, shape="constant", own_noise=0.0, shared_noise=0.002)
    return read(write(folder, dataclasses.replace(quiet, **changes)))


def test_planted_parameters_and_saturation_lie_in_their_intervals(tmp_path):
    evidence = study(tmp_path, evaluations=60, evaluation_noise=0.0005, seeds=tuple(range(6)))
    planted = laws.Law(0.95, 420.0, 0.42, 0.0)
    curve = curves.estimate(evidence, "base", "general")
    low, high = curve.interval("alpha")
    assert low < planted.alpha < high
    found = saturation.saturation(curve, 0.05)
    assert found.interval is not None
    assert found.interval[0] < planted.saturation(0.05) < found.interval[1]


def test_interval_over_seeds_covers_the_law(tmp_path):
    covered = 0
    for repeat in range(20):
        seeds = tuple(range(100 * repeat, 100 * repeat + 4))
        evidence = study(tmp_path / str(repeat), seeds=seeds, domains={"general": (0.95, 420.0, 0.42)})
        low, high = curves.estimate(evidence, "base", "general").band(np.array([2e6]))
        covered += bool(low[0] <= 0.95 + 420 * 2e6**-0.42 <= high[0])
    assert covered >= 16  # 95 % nominal; fewer than 16 of 20 has probability .0003


def test_the_decay_of_the_rate_is_left_out(tmp_path):
    evidence = study(tmp_path, shape="wsd", evaluations=40)
    points = curves.used_points(evidence, "base", "general")
    assert not points.cooled
    assert all(n.min() > 0.3 * 3e6 and n.max() <= 0.8 * 3e6 for n in points.tokens.values())
    assert curves.estimate(evidence, "base", "general").trained == 3_000_000


def test_without_enough_of_a_plateau_the_decay_is_kept_and_said(tmp_path):
    points = curves.used_points(study(tmp_path, shape="wsd", evaluations=8), "base", "general")
    assert points.cooled
    assert max(n.max() for n in points.tokens.values()) == 3e6


@pytest.mark.skipif(not PUBLIC.exists(), reason="public curves are not here")
@pytest.mark.parametrize(("prefix", "error", "tolerance"), [(0.3, 0.55, 0.06), (0.5, 0.07, 0.02)])
def test_extrapolation_of_public_curves(prefix, error, tolerance):
    """Median relative error, in percent, of the final loss of six curves with a constant rate."""
    errors, early_too = [], []
    for path in sorted(PUBLIC.glob("csv_*/constant_*.csv")):
        step, _, loss = np.loadtxt(path, delimiter=",", skiprows=1).T
        seen = step <= prefix * step[-1]
        late = seen & np.pad(curves.is_late(seen.sum()), (0, (~seen).sum()))
        for kept, found in [(late, errors), (seen, early_too)]:
            law = laws.estimate_power_law(step[kept], loss[kept])
            found.append(100 * abs(law(step[-1]) / loss[-1] - 1))
    assert len(errors) == 6
    assert np.median(errors) == pytest.approx(error, abs=tolerance)
    assert np.median(early_too) > 2 * np.median(errors)
