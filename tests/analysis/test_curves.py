import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.analysis import curves
from ablate.analysis.evidence import Evidence, read
from tests.analysis.worlds import World, write

PUBLIC = Path(__file__).parents[3] / "shared/tables/thu-yao-01-luo+MultiPowerLaw/loss_curve_repo"
TOKENS = np.linspace(1e5, 3e6, 24)


def study(folder: Path, **changes) -> Evidence:
    quiet = World(effects={}, null_arm=None, shape="constant", own_noise=0.0, shared_noise=0.002)
    return read(write(folder, dataclasses.replace(quiet, **changes)))


def saturation(evidence: Evidence, domain: str, eps: float) -> curves.Saturation:
    return curves.saturation(curves.fit(evidence, "base", domain), eps)


@given(st.floats(0.1, 3), st.floats(0.1, 1.5), st.floats(0.05, 2))
def test_a_law_without_noise_is_recovered(E, alpha, fall):
    A = fall / (TOKENS[0] ** -alpha)
    law = curves.fit_power_law(TOKENS, E + A * TOKENS**-alpha)
    assert law.rms < 1e-6
    assert law.alpha == pytest.approx(alpha, rel=1e-3)
    assert law(1e7) == pytest.approx(E + A * 1e7**-alpha, abs=1e-5)


def test_the_optimum_is_found_in_100_of_100_noisy_curves():
    rng = np.random.default_rng(0)
    noisy = [0.9 + 500 * TOKENS**-0.43 + rng.normal(0, 0.003, len(TOKENS)) for _ in range(100)]
    begin = time.perf_counter()
    laws = [curves.fit_power_law(TOKENS, y) for y in noisy]
    assert time.perf_counter() - begin < 1
    fine = np.geomspace(curves.ALPHAS[0], curves.ALPHAS[1], 500)
    for law, y in zip(laws, noisy, strict=True):
        design = [np.stack([np.ones_like(TOKENS), TOKENS**-alpha / TOKENS[0] ** -alpha], 1) for alpha in fine]
        best = min(np.linalg.lstsq(x, y)[1][0] for x in design)
        assert law.rms**2 * len(y) <= best * (1 + 1e-9)


@given(st.integers(0, 1000), st.sampled_from([1e-6, 1.0, 1e6]))
def test_neither_the_order_of_points_nor_the_unit_of_tokens_matters(seed, unit):
    rng = np.random.default_rng(seed)
    y = 0.9 + 500 * TOKENS**-0.43 + rng.normal(0, 0.003, len(TOKENS))
    order = rng.permutation(len(TOKENS))
    law, again = curves.fit_power_law(TOKENS, y), curves.fit_power_law(TOKENS[order] * unit, y[order])
    assert again.alpha == pytest.approx(law.alpha, rel=1e-4)
    assert again(1e7 * unit) == pytest.approx(law(1e7), abs=1e-6)


def test_neither_E_nor_A_becomes_negative():
    falling = curves.fit_power_law(TOKENS, 1e9 * TOKENS**-1.5 - 0.5)
    rising = curves.fit_power_law(TOKENS, 1 + 1e-7 * TOKENS)
    assert falling.E == 0
    assert rising.A == 0
    assert float(rising(1e9)) == pytest.approx(np.mean(1 + 1e-7 * TOKENS))


@pytest.mark.parametrize("eps", [0.003, 0.02])
def test_doubling_from_the_saturation_point_gains_eps(eps):
    law = curves.Law(0.95, 420.0, 0.42, 0.0)
    n = law.saturation(eps)
    assert law(n) - law(2 * n) == pytest.approx(eps)


def test_planted_parameters_and_saturation_lie_in_their_intervals(tmp_path):
    evidence = study(tmp_path, evaluations=60, evaluation_noise=0.0005, seeds=tuple(range(6)))
    planted = curves.Law(0.95, 420.0, 0.42, 0.0)
    fit = curves.fit(evidence, "base", "general")
    low, high = fit.interval("alpha")
    assert low < planted.alpha < high
    found = curves.saturation(fit, 0.05)
    assert found.interval is not None
    assert found.interval[0] < planted.saturation(0.05) < found.interval[1]


def test_interval_over_seeds_covers_the_law(tmp_path):
    covered = 0
    for repeat in range(20):
        seeds = tuple(range(100 * repeat, 100 * repeat + 4))
        evidence = study(tmp_path / str(repeat), seeds=seeds, domains={"general": (0.95, 420.0, 0.42)})
        low, high = curves.fit(evidence, "base", "general").band(np.array([2e6]))
        covered += bool(low[0] <= 0.95 + 420 * 2e6**-0.42 <= high[0])
    assert covered >= 16  # 95 % nominal; fewer than 16 of 20 has probability .0003


def test_saturated_or_not_within_the_run(tmp_path):
    evidence = study(tmp_path, evaluations=60, evaluation_noise=0.0003, domains={"general": (0.95, 420.0, 0.42)})
    planted = curves.Law(0.95, 420.0, 0.42, 0.0)
    early, late = (float(planted(n) - planted(2 * n)) for n in (1e6, 2e7))
    assert saturation(evidence, "general", early).status == "saturated"
    found = saturation(evidence, "general", late)
    assert found.status == "not saturated within the run"
    assert found.gain is not None
    assert found.gain > late


def test_a_flat_curve_is_refused(tmp_path):
    evidence = study(tmp_path, domains={"general": (1.0, 0.0, 0.4)})
    found = saturation(evidence, "general", 0.005)
    assert (found.status, found.tokens) == ("not identified", None)
    assert found.reason == "the curve is flat: its fall is not above its noise"


def test_too_few_points_are_refused(tmp_path):
    found = saturation(study(tmp_path, evaluations=5), "general", 0.005)
    assert found.status == "not identified"
    assert found.reason == "3 points, at least 5 needed"


def test_a_logarithm_is_refused(tmp_path):
    # A n^-alpha with alpha -> 0 falls by the same amount with every doubling: nothing saturates
    found = saturation(
        study(tmp_path, domains={"general": (0.0, 9.0, 0.001)}, evaluation_noise=0.00001), "general", 0.005
    )
    assert found.status == "not identified"
    assert found.reason == "alpha is at its bound, 0.02"


def test_noise_gives_a_wide_interval_not_a_number(tmp_path):
    evidence = study(tmp_path, evaluation_noise=0.02, seeds=(0, 1))
    fit = curves.fit(evidence, "base", "general")
    assert fit.law is not None
    assert fit.problem is None
    found = curves.saturation(fit, float(fit.law(3e6) - fit.law(6e6)))  # saturated at the very end, by the law
    assert (found.status, found.tokens, found.interval) == ("not identified", None, None)
    assert found.reason == "place unknown: its interval is more than a factor of ten wide"


@pytest.mark.parametrize(
    ("interval", "status", "known"),
    [
        ((2e5, 9e5), "saturated", True),
        ((2e3, 9e5), "saturated", False),
        ((5e5, 2e6), "not saturated within the run", True),
        ((2e6, 9e6), "not saturated within the run", True),
        ((2e6, 9e7), "not saturated within the run", False),
        ((2e5, 9e6), "not identified", False),
    ],
)
def test_the_end_of_the_run_decides_the_status(interval, status, known):
    found, reason = curves._status(interval, 1_000_000)
    assert (found, reason is None) == (status, known)


def test_one_seed_identifies_nothing(tmp_path):
    found = saturation(study(tmp_path, seeds=(0,)), "general", 0.03)
    assert (found.status, found.reason) == ("not identified", "it takes two seeds that each identify the law")


def test_the_decay_of_the_rate_is_left_out(tmp_path):
    evidence = study(tmp_path, shape="wsd", evaluations=40)
    points = curves.used_points(evidence, "base", "general")
    assert not points.cooled
    assert all(n.min() > 0.3 * 3e6 and n.max() <= 0.8 * 3e6 for n in points.tokens.values())
    assert curves.fit(evidence, "base", "general").trained == 3_000_000


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
            law = curves.fit_power_law(step[kept], loss[kept])
            found.append(100 * abs(law(step[-1]) / loss[-1] - 1))
    assert len(errors) == 6
    assert np.median(errors) == pytest.approx(error, abs=tolerance)
    assert np.median(early_too) > 2 * np.median(errors)
