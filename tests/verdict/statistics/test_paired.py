"""The error rates that `paired` promises are counted in simulated studies, not assumed."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri
from scipy.stats import binom, t, ttest_rel

from ablate.verdict.statistics.looks import Noise
from ablate.verdict.statistics.paired import detectable, holm, holm_levels, interval, judge, power

MARGIN, CONFIDENCE = 0.01, 0.95
differences = st.lists(st.floats(-0.1, 0.1, allow_subnormal=False), min_size=2, max_size=8)
families = st.dictionaries(st.sampled_from("abcdef"), differences, min_size=1)


def plausible(count: int, trials: int, rate: float) -> bool:
    """Whether a count is within the binomial error (1 in 1000 on each side) of a rate."""
    return bool(binom.ppf(0.001, trials, rate) <= count <= binom.isf(0.001, trials, rate))


def simulate(effects: list[float], seeds: int, studies: int, sd: float = 0.002) -> list[dict]:
    """Judgements of many studies whose arms share one base, as real ones do."""
    rng = np.random.default_rng(0)
    d = rng.normal(0, sd / math.sqrt(2), (studies, len(effects) + 1, seeds))
    d = d[:, 1:] - d[:, :1] + np.array(effects)[:, None]
    return [judge({str(i): row for i, row in enumerate(study)}, MARGIN, CONFIDENCE) for study in d]


def test_interval_and_p_are_those_of_a_paired_t_test():
    arm, base = np.array([1.31, 1.28, 1.36, 1.30]), np.array([1.33, 1.31, 1.37, 1.33])
    reference = ttest_rel(arm, base)
    one = judge({"arm": (arm - base).tolist()}, MARGIN, CONFIDENCE)["arm"]
    assert one.p == pytest.approx(reference.pvalue)
    assert one.interval == pytest.approx(tuple(reference.confidence_interval(0.95)))


def test_holm_against_a_hand_example():
    # Holm 1979: sorted .005 .011 .02 .04 times 4 3 2 1, then never decreasing
    p = np.array([0.02, 0.005, 0.04, 0.011])
    assert holm(p) == pytest.approx([0.04, 0.02, 0.04, 0.033])
    # at .035 the first two are rejected, the third is judged at .035 / 2 and stops the procedure
    assert holm_levels(p, 0.035) == pytest.approx([0.0175, 0.035 / 4, 0.0175, 0.035 / 3])


def test_an_adjusted_p_is_never_below_that_of_a_smaller_p():
    # times 3, 2, 1: .06 .042 .9; the second may not be rejected where the first is not
    assert holm(np.array([0.02, 0.021, 0.9])) == pytest.approx([0.06, 0.06, 0.9])


def test_the_equivalence_interval_against_a_hand_example():
    """Two one-sided tests at 5 % are a 90 % interval: t(0.95, 3) = 2.3534 errors of sqrt(4 / 3) / 2 = 0.57735."""
    d = [-1.0, 1.0, -1.0, 1.0]
    near, nearer = (judge({"arm": d}, margin, CONFIDENCE)["arm"] for margin in (1.36, 1.35))
    assert near.equivalence_interval == pytest.approx((-1.3587, 1.3587), abs=1e-4)
    assert near.interval == pytest.approx((-1.8374, 1.8374), abs=1e-4)  # t(0.975, 3) = 3.1824
    assert (near.word, nearer.word) == ("equivalent", "inconclusive")


@pytest.mark.parametrize(("sign", "word"), [(1, "worse"), (-1, "better")])
def test_where_more_is_better_a_difference_above_zero_is(sign, word):
    assert judge({"arm": [0.051, 0.049, 0.05]}, MARGIN, CONFIDENCE, sign=sign)["arm"].word == word


def bisect(f: Callable[[float], float], low: float, high: float) -> float:
    """Where f, falling, is 0."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if f(middle) > 0 else (low, middle)
    return low


def some_of(arms: int, correlation: float, bound: float) -> float:
    """P(some |z| > bound) among arms of equal correlation: the mean over what they share."""
    shared = np.linspace(-8, 8, 2001)
    weights = np.exp(-(shared**2) / 2)
    own, common = math.sqrt(1 - correlation), math.sqrt(correlation) * shared
    within = ndtr((bound - common) / own) - ndtr((-bound - common) / own)
    return float(1 - (weights * within**arms).sum() / weights.sum())


@pytest.mark.parametrize(("arms", "cost", "false"), [(5, 1.026, 0.059), (40, 1.048, 0.080), (200, 1.062, 0.107)])
def test_what_holm_costs_beside_dunnett_and_what_dunnett_risks(arms, cost, false):
    bonferroni = float(-ndtri(0.025 / arms))
    dunnett = bisect(lambda bound: some_of(arms, 0.5, bound) - 0.05, 1.5, bonferroni)
    assert bonferroni / dunnett == pytest.approx(cost, abs=0.002)
    assert some_of(arms, 0.0, dunnett) == pytest.approx(false, abs=0.002)


@pytest.mark.parametrize("seeds", [2, 3, 6])
def test_some_false_difference_in_at_most_5_percent_of_null_studies(seeds):
    studies = simulate([0.0] * 5, seeds, 2000)
    false = sum(any(one.p_adjusted <= 0.05 for one in study.values()) for study in studies)
    assert false <= binom.isf(0.001, len(studies), 0.05)
    assert false > 0  # the noise is large enough to fool a naive rule, so the count means something
    naive = sum(any(one.p <= 0.05 for one in study.values()) for study in studies)
    assert naive > 2 * binom.isf(0.001, len(studies), 0.05)


def test_false_claims_stay_rare_beside_arms_that_do_differ():
    studies = simulate([0.0, 0.0, 0.0, -0.03, 0.03], 4, 1000)
    false = sum(any(study[null].p_adjusted <= 0.05 for null in "012") for study in studies)
    assert false <= binom.isf(0.001, len(studies), 0.05)
    assert all(study["3"].word == "better" and study["4"].word == "worse" for study in studies[:50])


def test_an_effect_of_the_margin_is_called_equivalent_in_at_most_5_percent_of_studies():
    studies = simulate([MARGIN, -MARGIN, MARGIN], 4, 1000)
    false = sum(any(one.word == "equivalent" for one in study.values()) for study in studies)
    assert 0 < false <= binom.isf(0.001, len(studies), 0.05)


def test_no_effect_is_found_equivalent_with_enough_seeds():
    assert sum(study["0"].word == "equivalent" for study in simulate([0.0], 6, 200)) == 200


def test_intervals_cover_the_effect():
    studies = simulate([0.004], 4, 2000)
    assert plausible(sum(one["0"].interval[0] <= 0.004 <= one["0"].interval[1] for one in studies), 2000, 0.95)
    many = simulate([0.004, 0.0, -0.02, -0.02], 4, 1000)
    for arm, effect in zip("0123", [0.004, 0.0, -0.02, -0.02], strict=True):
        covered = sum(study[arm].interval[0] <= effect <= study[arm].interval[1] for study in many)
        assert covered >= binom.ppf(0.001, 1000, 0.95)


@pytest.mark.parametrize(("seeds", "level"), [(2, 0.05), (3, 0.05), (5, 0.01)])
def test_an_effect_of_the_smallest_detectable_size_is_found_in_80_percent_of_studies(seeds, level):
    rng = np.random.default_rng(1)
    unit = np.array([-1.0, 1.0] * seeds)[:seeds]
    unit = (unit - unit.mean()) / np.std(unit, ddof=1)  # differences with a standard deviation of exactly 1
    d = rng.normal(detectable(unit, level), 1, (4000, seeds))
    critical = t.ppf(1 - level / 2, seeds - 1)
    found = np.abs(d.mean(1)) / (d.std(1, ddof=1) / math.sqrt(seeds)) > critical
    assert plausible(int(found.sum()), 4000, 0.8)


def test_of_two_arms_the_smallest_detectable_effect_is_that_of_half_the_level():
    d = [-0.011, -0.013, -0.012]
    found = judge({"one": d, "other": d}, MARGIN, CONFIDENCE)["one"].mde
    assert found == pytest.approx(detectable(d, 0.025))
    assert found > 1.3 * detectable(d, 0.05)


@pytest.mark.parametrize("df", [1, 2, 5, 40])
@pytest.mark.parametrize("level", [0.05, 0.05 / 200])
def test_power_without_an_effect_is_the_level(df, level):
    assert power(0.0, df, level) == pytest.approx(level, rel=1e-6)


def test_without_two_seeds_there_is_no_interval_and_no_claim():
    for d in ([], [-0.5]):
        one = judge({"arm": d}, MARGIN, CONFIDENCE)["arm"]
        assert one.word == "inconclusive"
        assert one.interval == (-math.inf, math.inf)
        assert (one.p, one.p_equivalent, one.mde) == (1.0, 1.0, math.inf)


def test_an_arm_without_differences_still_counts_in_the_family():
    d = [-0.011, -0.013, -0.012]
    alone = judge({"arm": d}, MARGIN, CONFIDENCE)["arm"]
    beside = judge({"arm": d, "crashed": []}, MARGIN, CONFIDENCE)["arm"]
    assert beside.p_adjusted == pytest.approx(2 * alone.p_adjusted)


@pytest.mark.parametrize("value", [-0.0625, 0.0, 0.001, 0.1 + 0.2])
def test_equal_differences_are_no_certainty(value):
    one = judge({"arm": [value] * 3}, MARGIN, CONFIDENCE)["arm"]
    assert (one.word, one.p, one.interval, one.mde) == ("inconclusive", 1.0, (-math.inf, math.inf), math.inf)


def test_equal_differences_have_the_noise_of_the_least_step():
    """0.02 three times, measured in steps of 0.01: t = 0.02 / (0.01 / sqrt 3) = 3.4641, p = 2 P(t(2) > t) = 0.0742."""
    least = {"arm": Noise(least=0.01**2)}
    one = judge({"arm": [0.02] * 3}, MARGIN, CONFIDENCE, least)["arm"]
    assert one.p == pytest.approx(0.0742, abs=1e-4)
    assert one.interval == pytest.approx((0.02 - 0.02484, 0.02 + 0.02484), abs=1e-5)  # t(0.975, 2) = 4.3027
    uneven = [0.02, 0.021, 0.022]  # have noise of their own, though it is smaller
    assert judge({"arm": uneven}, MARGIN, CONFIDENCE, least) == judge({"arm": uneven}, MARGIN, CONFIDENCE)


@pytest.mark.parametrize("seeds", [2, 3])
def test_a_metric_in_coarse_steps_makes_no_false_claims(seeds):
    rng, false = np.random.default_rng(0), 0
    for values in np.round(0.7 * rng.standard_normal((1000, 2, seeds))):
        false += judge({"arm": (values[1] - values[0]).tolist()}, 0.1, 0.95, {"arm": Noise(least=1.0)})["arm"].p <= 0.05
    assert false / 1000 < 0.05  # 0.12 at two seeds, were equal differences certain


def test_a_real_difference_inside_the_margin_is_equivalent():
    one = judge({"arm": [0.0020, 0.0021, 0.0019, 0.0020]}, MARGIN, CONFIDENCE)["arm"]
    assert one.p_adjusted < 0.05
    assert one.word == "equivalent"


@given(families)
def test_intervals_say_the_same_as_the_words(family):
    for one in judge(family, MARGIN, CONFIDENCE).values():
        outside = one.interval[0] > 0 or one.interval[1] < 0
        inside = one.equivalence_interval[0] > -MARGIN and one.equivalence_interval[1] < MARGIN
        near = min(abs(one.p_adjusted - 0.05), abs(one.p_equivalent - 0.05)) < 1e-9
        if not near and one.interval[0] != one.interval[1]:
            assert outside == (one.p_adjusted <= 0.05)
            assert inside == (one.p_equivalent <= 0.05)
            assert (one.word == "equivalent") == inside
            assert (one.word in ("better", "worse")) == (outside and not inside)


@given(families)
def test_turning_all_signs_swaps_better_and_worse(family):
    swap = {"better": "worse", "worse": "better"}
    there = judge(family, MARGIN, CONFIDENCE)
    back = judge({arm: [-x for x in d] for arm, d in family.items()}, MARGIN, CONFIDENCE)
    for arm in family:
        assert back[arm].word == swap.get(there[arm].word, there[arm].word)
        assert back[arm].mean == -there[arm].mean


@given(families, st.randoms())
def test_the_order_of_seeds_and_arms_does_not_matter(family, random):
    shuffled = {arm: random.sample(d, len(d)) for arm, d in random.sample(list(family.items()), len(family))}
    there, back = judge(family, MARGIN, CONFIDENCE), judge(shuffled, MARGIN, CONFIDENCE)
    for arm in family:
        assert back[arm].p_adjusted == pytest.approx(there[arm].p_adjusted, abs=1e-6)
        assert back[arm].interval == pytest.approx(there[arm].interval, abs=1e-9)


@given(families)
def test_the_unit_does_not_matter(family):
    there = judge(family, MARGIN, CONFIDENCE)
    back = judge({arm: [1024 * x for x in d] for arm, d in family.items()}, 1024 * MARGIN, CONFIDENCE)
    for arm in family:
        assert back[arm].word == there[arm].word
        assert back[arm].mde == pytest.approx(1024 * there[arm].mde)


@given(differences, st.floats(-0.1, 0.1))
def test_shifting_the_differences_shifts_the_interval(d, shift):
    low, high = interval(d, 0.05)
    moved = interval([x + shift for x in d], 0.05)
    assert moved == pytest.approx((low + shift, high + shift), abs=1e-9)
