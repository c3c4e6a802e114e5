"""Which pairs of runs tell of the noise of which arm: judged by what stands on disk."""

import dataclasses
import math

import numpy as np
import pytest

from ablate.run.study_record import study_record
from ablate.scores.metrics import bits_per_byte
from ablate.verdict import book, compare, registry
from ablate.verdict.evidence import Evidence, read
from ablate.verdict.registry import Past, noises, pairings
from tests.verdict.worlds import World, write

MIXTURE, LENGTH = frozenset({"mixture.share"}), frozenset({"length.lengths"})
MANY = {f"qa_{share}": 0.0 for share in (12, 15, 20, 25, 30, 40, 45, 50)}


def arm(study: str, number: int, kind: frozenset[str] = MIXTURE, sd: float = 1.0, **changes) -> Past:
    rng = np.random.default_rng([len(study), *study.encode(), number, len(kind)])
    base, own = rng.standard_normal((2, 3)) * sd / math.sqrt(2)
    one = Past(
        study=study,
        arm=f"{number}",
        keys=kind,
        parameters=1e6,
        tokens=4e5,
        domains=("code", "qa"),
        ids=frozenset({f"{study}-{number}-{''.join(sorted(kind))}"}),
        base=frozenset({study}),
        pairs={"macro": list(zip(base.tolist(), own.tolist(), strict=True))},
    )
    return dataclasses.replace(one, **changes)


def study(name: str, count: int, kind: frozenset[str] = MIXTURE, **changes) -> list[Past]:
    return [arm(name, number, kind, **changes) for number in range(count)]


def known(own: list[Past], past: list[Past]) -> registry.Known:
    return noises(own, past, "macro")[own[0].arm]


def test_earlier_arms_of_the_same_kind_count_and_others_do_not():
    one, like = study("now", 1, sd=0.5), [*study("a", 6), *study("b", 6)]
    found = known(one, like)
    assert (found.arms, found.studies, found.own) == (12, ("a", "b"), 1)
    assert found.noise.df == 1.6  # the most for a lone arm
    assert "12 earlier arms (mixture.share; a, b): sd" in found.text
    for other in (
        lambda past: dataclasses.replace(past, keys=LENGTH),
        lambda past: dataclasses.replace(past, tokens=1e6),
        lambda past: dataclasses.replace(past, parameters=4e5),
        lambda past: dataclasses.replace(past, domains=("code", "qa", "science")),
        lambda past: dataclasses.replace(past, pairs={"code": [(0.0, 0.1), (0.0, 0.2)]}),
    ):
        away = known(one, list(map(other, like)))
        assert (away.arms, away.noise.df) == (0, 0)
        assert away.text == "from its own seeds alone; fewer than 5 earlier arms are like it (0)"


def test_the_narrowest_region_that_has_enough_arms():
    """One that changed a rate is told by those that did; by other changes of the optimizer where there are none."""
    rate, moments, both = (
        frozenset(keys) for keys in (["optimizer.lr"], ["optimizer.betas"], ["optimizer.lr", "size"])
    )
    one = study("now", 1, rate)
    for past, changed, arms in (
        ([*study("a", 5, rate), *study("b", 9, moments)], rate, 5),
        ([*study("a", 4, rate), *study("b", 9, moments)], frozenset({"optimizer"}), 13),
        ([*study("a", 4, rate), *study("b", 9, both)], rate, 13),
    ):
        found = known(one, past)
        assert (found.changed, found.arms) == (changed, arms)


def test_a_study_noisier_than_its_past_lets_it_go_and_says_so():
    quiet = [*study("a", 20, sd=0.1), *study("b", 20, sd=0.1)]
    alone = known(study("now", 1), quiet)
    assert alone.noise.df == 0
    assert (
        alone.text == "from its own seeds alone; noisier than 40 earlier arms (mixture.share; a, b), which do not count"
    )
    several = known(study("now", 4), quiet)
    assert several.noise.df == 2
    assert "from its seeds, 4 arms of the study: sd" in several.text


def test_an_arm_of_two_seeds_borrows_nothing():
    own = study("now", 4)
    short = dataclasses.replace(own[0], pairs={"macro": own[0].pairs["macro"][:2]})
    found = noises([short, *own[1:]], study("a", 9), "macro")
    assert (found["0"].noise.df, found["1"].noise.df > 0) == (0, True)


def test_a_factor_of_two_in_size_is_the_same_region_whichever_way():
    one, like = study("now", 1), study("a", 8)
    for parameters, tokens in ((2e6, 2e5), (5e5, 8e5)):
        assert known(one, [dataclasses.replace(p, parameters=parameters, tokens=tokens) for p in like]).arms == 8


def test_arms_that_changed_more_stand_in_where_the_kind_is_rare():
    one, both = study("now", 1), MIXTURE | LENGTH
    assert known(one, study("a", 8, both)).arms == 8
    assert known(one, [*study("a", 8, both), *study("b", 5)]).arms == 5
    assert known(study("now", 1, both), study("a", 8)).arms == 0  # not the other way round


def test_runs_of_the_study_itself_count_once():
    one = study("now", 6)
    copies = [dataclasses.replace(past, study="copy") for past in one]
    assert noises(one, [*one, *copies], "macro") == noises(one, [], "macro")


def test_noisy_kinds_are_told_from_quiet_ones():
    past = [*study("a", 30, sd=1.0), *study("b", 30, LENGTH, sd=9.0)]
    quiet, loud = (registry.before(arm("now", 0, kind), past, "macro").noise.variance for kind in (MIXTURE, LENGTH))
    assert 20 < loud / quiet < 300


def test_pairing_is_what_the_values_say():
    rng = np.random.default_rng(0)
    shared, own = rng.standard_normal((2000, 3, 1)) * 3, rng.standard_normal((2000, 3, 2))
    arms = [arm("a", i, pairs={"macro": [tuple(pair) for pair in rows]}) for i, rows in enumerate(shared + own)]
    one = pairings(arms, "macro")[frozenset({"mixture"})]
    assert one.value == pytest.approx(10, rel=0.1)
    assert one.correlation == pytest.approx(0.9, abs=0.01)
    assert (one.arms, one.df) == (2000, 4000)


def recorded(folder, name: str, **changes) -> Evidence:
    world = dataclasses.replace(World(evaluations=5, tokens=300_000, effects=MANY, null_arm=None), **changes)
    return read(write(folder, world, name))


def rename_runs(evidence: Evidence) -> Evidence:
    """Other runs than those of a study of the same seeds: new ids."""
    declaration = evidence.study.read()
    for seeds in declaration["runs"].values():
        for seed, run in seeds.items():
            folder = evidence.study.folder.parent.parent / "runs" / run
            seeds[seed] = f"{run}-{evidence.study.name}"
            if folder.exists():
                folder.rename(folder.with_name(seeds[seed]))
    evidence.study.write(declaration)
    return read(evidence.study)


def test_a_verdict_uses_the_other_studies_of_its_lab_and_its_book(tmp_path):
    outputs = tmp_path / "outputs"
    first = rename_runs(recorded(outputs, "first", seeds=(0, 1, 2), own_noise=0.002))
    second = rename_runs(recorded(outputs, "second", seeds=(3, 4, 5), own_noise=0.002))
    found = {verdict.arm: verdict for verdict in compare.verdicts(second)}["qa_20"]
    assert (found.known.arms, found.known.own) == (len(MANY), len(MANY))
    assert found.known.studies == ("first",)
    assert found.effect.df == found.known.noise.df + 2
    alone = {verdict.arm: verdict for verdict in compare.verdicts(second, [])}["qa_20"]
    assert (alone.known.arms, alone.known.own) == (0, len(MANY))
    assert alone.known.noise != found.known.noise
    book.keep(first, tmp_path / "experiments" / "first")
    assert compare.verdicts(second) == compare.verdicts(second)
    (outputs / "studies" / "first" / "study.json").unlink()
    again = {verdict.arm: verdict for verdict in compare.verdicts(second)}["qa_20"]
    assert again.known == found.known


def test_rest_of_an_earlier_study_leaves_out_the_focus_of_the_study_that_is_judged(tmp_path):
    """`first` varied qa; a study that varies code asks how noisy the mean over the others is, qa among them."""
    rename_runs(recorded(tmp_path / "outputs", "first", seeds=(0, 1)))
    second = rename_runs(recorded(tmp_path / "outputs", "second", seeds=(2, 3)))
    past = registry.earlier(second.with_focus("code"))[0]
    sums = read(study_record(tmp_path / "outputs", "first")).by_arm[past.arm][0].result["sums"]
    others = [bits_per_byte(sums[name]["nats"], sums[name]["bytes"]) for name in ("general", "science", "qa")]
    assert past.study == "first"
    assert past.pairs["rest"][0][1] == pytest.approx(sum(others) / 3, rel=1e-12)


def test_two_arms_alone_are_judged_as_by_the_plain_t(tmp_path):
    evidence = recorded(tmp_path, "small", effects={"qa_20": 0.0, "qa_40": 0.0})
    for verdict in compare.verdicts(evidence):
        assert verdict.known.noise.df == 0
        assert verdict.effect.df == 3
        assert verdict.known.text.startswith("from its own seeds alone; fewer than 5 earlier arms")


def test_arms_that_trained_on_nothing_lend_and_borrow_no_noise():
    quiet, loud = [arm("now", 0, tokens=0, sd=1e-4)], study("now", 7, tokens=0, sd=1.0)[1:]
    found = noises([*quiet, *loud], study("a", 9, tokens=0), "macro")
    assert {one.noise.df for one in found.values()} == {0}
    assert found["0"].text == "from its own seeds alone, as nothing was trained"
    assert noises(study("now", 7), [], "macro")["0"].noise.df > 0  # while others do


def test_earlier_arms_of_two_studies_with_one_base_are_one_block_of_correlated_arms():
    one, apart = study("now", 1)[0], [*study("a", 6), *study("b", 6)]
    together = [dataclasses.replace(past, base=frozenset({"a"})) for past in apart]
    named = [dataclasses.replace(past, study="a") for past in together]
    told, alike, other = (registry.before(one, past, "macro").noise for past in (together, named, apart))
    assert told == alike != other


def test_equal_runs_under_other_names_count_once(tmp_path):
    """A setting may change what a run is called and nothing else."""
    rename_runs(recorded(tmp_path / "outputs", "first", seeds=(0, 1, 2)))
    second = rename_runs(recorded(tmp_path / "outputs", "second", seeds=(0, 1, 2)))
    assert compare.verdicts(second)[0].known.arms == 0


def test_kinds_are_those_of_the_declaration(tmp_path):
    assert registry.kinds(read(write(tmp_path, World()))) == {"mixture": ["qa_20", "qa_40", "qa_12"]}
