"""What a race may never do: find more than it states, lose the winner, or depend on the order of events."""

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from ablate.run.parse import from_plain
from ablate.run.settings import SettingsError
from ablate.run.study import Budget, Study
from ablate.verdict.race import Decision, decide, looks_of
from ablate.verdict.statistics.looks import Design, Noise, pool

SEEDS = [3, 1, 4, 15, 9, 2, 6, 5]
RUN = math.sqrt(0.5)  # noise of a run, so that a difference has noise 1


def study(seeds: int = 8, margin: float = 1e-9, **budget: Any) -> Study:
    plain: dict[str, Any] = {"race": "verdicts"} | budget
    return Study(seeds=SEEDS[:seeds], margin=margin, budget=Budget(**plain))


def evidence(rng: np.random.Generator, effects, noise=1.0, base_noise: float = 1.0) -> dict[str, dict[int, float]]:
    """Final values of all runs: what seeds share falls out of the differences, so there is none of it."""
    found = {"base": base_noise * RUN * rng.standard_normal(len(SEEDS))}
    noises = np.broadcast_to(noise, len(effects))
    for i, effect in enumerate(effects):
        found[f"arm {i}"] = effect + noises[i] * RUN * rng.standard_normal(len(SEEDS))
    return {arm: dict(zip(SEEDS, values.tolist(), strict=True)) for arm, values in found.items()}


def share_of_false_claims(studies: int, arms: int, declared: Study, **world) -> tuple[float, float]:
    """Of null studies that call some arm better or worse; and the upper end of its 95 % Clopper-Pearson interval."""
    rng = np.random.default_rng(11)
    false = sum(
        any(one.word in ("better", "worse") for one in decide(evidence(rng, [0.0] * arms, **world), declared).values())
        for _ in range(studies)
    )
    return false / studies, float(binomtest(false, studies).proportion_ci(method="exact").high)


@pytest.mark.slow
@pytest.mark.parametrize("arms", [1, 4])
def test_false_claims_of_a_family_without_futility_are_as_stated(arms):
    share, upper = share_of_false_claims(2000, arms, study(futility=0))
    assert upper <= 0.065
    assert share > 0.035  # the level is spent, not wasted


def test_false_claims_with_the_default_futility_are_fewer():
    assert share_of_false_claims(2000, 4, study())[1] <= 0.05


@pytest.mark.slow
def test_false_claims_where_one_arm_is_three_times_as_noisy():
    assert share_of_false_claims(2000, 8, study(futility=0), noise=np.array([3.0] + 7 * [1.0]))[1] <= 0.075


@pytest.mark.slow
def test_noise_of_one_arm_is_known_no_better_than_arms_scatter():
    """Earlier studies, or the arms themselves, say how much; pooling 40 arms does not make it less."""
    rng, names = np.random.default_rng(5), [f"arm{number}" for number in range(40)]
    first, second = SEEDS[:2]
    runs = {arm: {first: 0.0, second: float(value)} for arm, value in zip(names, rng.standard_normal(40), strict=True)}
    equal = {"base": {first: 0.0, second: 0.0}} | runs
    odd = equal | {arm: {first: 0.0, second: 1e4 * runs[arm][second]} for arm in names[:10]}

    def bound(evidence: dict[str, dict[int, float]], declared: Study) -> tuple[float, Design]:
        found = decide(evidence, declared)["arm0"].bound
        return found, Design(looks_of(declared), 40, 0.05, declared.budget.noise_df)

    found, design = bound(equal, study(futility=0))
    assert found == pytest.approx(design.bound(2, float(pool(0.0, 40, 40, Noise())[1])))  # as pooling has it
    found, design = bound(odd, study(futility=0))
    assert found > design.bound(2, 2)
    found, design = bound(equal, study(futility=0, noise=1.0, noise_df=2.5))  # two seeds borrow nothing
    assert found == pytest.approx(design.bound(2, float(pool(0.0, 40, 40, Noise())[1])))
    for values in equal.values():
        values[SEEDS[2]] = float(rng.standard_normal()) if values[second] else 0.0
    found, design = bound(equal, study(futility=0, noise=1.0, noise_df=2.5))
    assert found == pytest.approx(design.bound(3, 4.5))


def test_one_arm_is_found_more_often_where_the_past_is_like_it():
    """Not where the study is three times as noisy: it then claims no more than without a past."""
    rng, known = np.random.default_rng(5), study(3, noise=1.0, noise_df=40)
    runs = [evidence(rng, [-2.0]) for _ in range(400)]
    after, alone = (np.mean([decide(one, how)["arm 0"].word == "better" for one in runs]) for how in (known, study(3)))
    assert after > alone + 0.15
    assert share_of_false_claims(2000, 1, known, noise=3.0, base_noise=3.0)[1] <= 0.075


def test_futility_ends_arms_that_do_nothing_early():
    rng = np.random.default_rng(6)
    looks = [one.look for _ in range(200) for one in decide(evidence(rng, [0.0] * 5), study()).values()]
    assert np.mean(looks) < 5


@pytest.mark.parametrize(("seeds", "arms"), [(3, 20), (8, 5)])
def test_arms_given_up_would_hardly_have_become_better(seeds, arms):
    """Not even where all others went on, which tells the last look more of the noise than it would have known."""
    rng, given_up, better = np.random.default_rng(6), 0, 0
    for _ in range(100):
        runs = evidence(rng, rng.uniform(-12, 12, arms))
        raced, whole = decide(runs, study(seeds)), decide(runs, study(seeds, futility=0))
        futile = [arm for arm, one in raced.items() if one.reason == "futile"]
        given_up, better = given_up + len(futile), better + sum(whole[arm].word == "better" for arm in futile)
    assert given_up > 0.15 * 100 * arms
    assert better <= 0.01 * given_up


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 8])
def test_the_best_arm_stays(seeds):
    """Effects twice the noise of a pair; the true best may be the base. Some saving must come of it too."""
    rng, kept, blocks = np.random.default_rng(8), [], []
    for _ in range(300):
        effects = 2 * rng.standard_normal(10)
        decisions = decide(evidence(rng, effects), study(seeds, race="best"))
        truth = int(effects.argmin())
        kept.append(effects[truth] > 0 or decisions[f"arm {truth}"].reason in ("", "better", "spent"))
        blocks.append(np.mean([one.look for one in decisions.values()]) / seeds)
    assert binomtest(sum(kept), len(kept)).proportion_ci(method="exact").low > 0.95
    assert np.mean(blocks) < (0.85 if seeds == 3 else 0.55)


def unfolding(runs, declared: Study, rng):
    """Runs end one by one in random order, only those that the race wants; every decision on the way."""
    known = {arm: {} for arm in runs}
    while True:
        decisions = decide(known, declared)
        yield decisions
        wanted = [(arm, seed) for arm, one in decisions.items() for seed in declared.seeds[: one.blocks]]
        wanted += [("base", seed) for _, seed in wanted]
        missing = [(arm, seed) for arm, seed in wanted if seed not in known[arm]]
        if not missing:
            return
        arm, seed = missing[rng.integers(len(missing))]
        known[arm][seed] = runs[arm][seed]


WORLDS: dict[str, tuple[dict[str, Any], dict[tuple[str, int], float]]] = {
    "verdicts": ({}, {}),
    "known noise": ({"noise": 1.0, "noise_df": 40}, {}),
    "best": ({"race": "best"}, {}),
    "an arm that diverges": ({}, {("arm 0", 3): math.inf}),
    "one that diverges late": ({"race": "best"}, {("arm 0", 4): math.inf}),
    "one that fails": ({}, {("arm 1", 1): math.nan}),
    "a base that diverges": ({}, {("base", 1): math.inf}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WORLDS)
def test_order_and_restarts_change_nothing_and_stopped_arms_stay_stopped(name):
    budget, special = WORLDS[name]
    declared = study(**budget)
    runs = evidence(np.random.default_rng(12), [-2.0, -1.0, 0.0, 0.3, 2.0, 3.0])
    for (arm, seed), value in special.items():
        runs[arm][seed] = value
    ends = []
    for order in range(6):
        seen: dict[str, Decision] = {}
        for decisions in unfolding(runs, declared, np.random.default_rng(order)):
            assert all(decisions[arm] == one for arm, one in seen.items())
            assert all(one.blocks == 0 for one in seen.values())
            seen = {arm: one for arm, one in decisions.items() if not one.active}
        assert all(not one.active for one in decisions.values())
        ends.append(decisions)
    assert all(end == ends[0] for end in ends)
    whole = decide(dict(reversed(runs.items())), declared)  # runs that the race had not asked for change nothing
    assert {arm: one.reason for arm, one in whole.items()} == {arm: one.reason for arm, one in ends[0].items()}


def test_reasons_are_told_apart():
    base = dict.fromkeys(SEEDS, 0.0)
    wiggle = [0.01 * (-1) ** i for i in range(len(SEEDS))]

    def arm(effect: float) -> dict[int, float]:
        return {seed: effect + w for seed, w in zip(SEEDS, wiggle, strict=True)}

    runs = {"base": base, "good": arm(-1), "bad": arm(1), "same": arm(0), "lost": arm(0) | {SEEDS[0]: math.inf}}
    decisions = decide(runs, study(margin=0.5, noise=0.01, noise_df=40))
    assert {name: one.reason for name, one in decisions.items()} == {
        "good": "better",
        "bad": "worse",
        "same": "equivalent",
        "lost": "diverged",
    }
    good = decisions["good"]
    assert good.look == 2
    assert good.mean == pytest.approx(-1)
    assert good.interval[0] < -1 < good.interval[1] < 0
    assert abs(good.t) > good.bound


def test_the_last_arm_of_a_race_for_the_best_stops_when_it_is_better():
    rng = np.random.default_rng(13)
    decisions = decide(evidence(rng, [-30.0, -20.0, 5.0]), study(race="best", noise=1.0, noise_df=40))
    assert decisions["arm 0"].reason == "better"
    assert decisions["arm 0"].look < 8
    assert decisions["arm 1"].reason == "beaten"
    assert decisions["arm 1"].word == "better"  # a verdict is a verdict, though another arm won


@pytest.mark.slow
def test_arms_that_a_search_has_left_behind_stay_behind_and_in_the_family():
    """The best of the first block's runs are judged by bounds of all that were declared, so that picking costs none."""
    declared, rng, false = study(3, race="search", margin=0.5), np.random.default_rng(17), 0
    for _ in range(1500):
        runs = evidence(rng, [0.0] * 30)
        picked = sorted((arm for arm in runs if arm != "base"), key=lambda arm: runs[arm][SEEDS[0]])[:3]
        out = {arm: Decision(arm, "unstarted") for arm in runs if arm not in ("base", *picked)}
        decisions = decide({arm: {} if arm in out else values for arm, values in runs.items()}, declared, out)
        assert all(decisions[arm] == one for arm, one in out.items())
        false += any(decisions[arm].word in ("better", "worse") for arm in picked)
    assert binomtest(false, 1500).proportion_ci(method="exact").high <= 0.065
    alone = decide({arm: runs[arm] for arm in ("base", *picked)}, declared)
    assert all(decisions[arm].bound > alone[arm].bound for arm in picked)


def test_without_a_race_everything_runs():
    runs = evidence(np.random.default_rng(14), [5.0])
    assert decide(runs, study(race="none"))["arm 0"] == Decision("arm 0", blocks=8)


def test_looks_end_with_the_last_seed():
    assert looks_of(study(4)) == (2, 3, 4)
    assert looks_of(study(3)) == (2, 3)
    assert looks_of(study(1)) == (1,)
    assert decide({"base": {3: 0.0}, "a": {3: -9.0}}, study(1))["a"].word == "inconclusive"  # one pair shows nothing


blocks_asked = partial(decide, study=study(8, futility=0))


def test_blocks_are_asked_for_up_to_the_next_look():
    runs = evidence(np.random.default_rng(15), [-1.0])
    first = {arm: {seed: values[seed] for seed in SEEDS[:2]} for arm, values in runs.items()}
    assert blocks_asked({"base": {}, "arm 0": {}})["arm 0"].blocks == 2
    assert blocks_asked(first)["arm 0"].blocks == 3
    assert blocks_asked(first | {"base": {SEEDS[0]: 0.0, SEEDS[1]: math.inf}})["arm 0"].blocks == 3  # for a second pair


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"budget": {"race": "soon"}}, ["study.budget.race=soon", "'best'"]),
        ({"budget": {"looks": [3, 2]}}, ["study.budget.looks=[3, 2]", "increasing"]),
        ({"budget": {"looks": []}}, ["study.budget.looks=[]", "at least one"]),
        ({"budget": {"looks": [1]}}, ["study.budget.looks.0=1", "2"]),
        ({"budget": {"keep": 1.0}}, ["study.budget.keep=1.0", "less than 1"]),
        ({"budget": {"noise": 0.1}}, ["study.budget.noise_df=0.0", "noise=0.1"]),
        ({"budget": {"race": "search"}, "factor": ["mixture", "schedule.decay"]}, ["schedule.decay", "cross late"]),
        ({"budget": {"race": "search"}, "phases": {"one": [], "two": []}}, ["race=search", "another with phases"]),
        ({"budget": {"spend": 0.0}}, ["study.budget.spend=0.0", "greater than 0"]),
        ({"budget": {"rungs": [0.5]}}, ["study.budget.rungs", "no such setting"]),
        ({"budget": {"tokens": 1e6}}, ["study.budget.tokens", "no such setting"]),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(changes, words):
    with pytest.raises(SettingsError) as error:
        from_plain({"study": changes})
    assert all(word in str(error.value) for word in words), str(error.value)
