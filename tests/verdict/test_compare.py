import dataclasses
import json
import math

import pytest
from rich.console import Console

from ablate.page import terminal
from ablate.page.facts import facts
from ablate.run.settings import UserError
from ablate.run.study_record import study_record
from ablate.verdict import compare, registry
from ablate.verdict.card import cards
from ablate.verdict.evidence import Evidence, read
from tests.verdict.worlds import World, write


def study(folder, **changes) -> Evidence:
    return read(write(folder, dataclasses.replace(World(evaluations=5, tokens=300_000), **changes)))


def by_arm(evidence: Evidence) -> dict[str, compare.Verdict]:
    return {verdict.arm: verdict for verdict in compare.verdicts(evidence)}


def text(verdicts: list[compare.Verdict], width: int = 120) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(terminal.verdicts(verdicts))
    return console.export_text()


def test_planted_effects_get_their_words(tmp_path):
    found = by_arm(study(tmp_path))
    assert {arm: v.word for arm, v in found.items()} == {"qa_20": "better", "qa_40": "worse", "qa_12": "equivalent"}
    assert found["qa_20"].effect.interval[0] < -0.021 < found["qa_20"].effect.interval[1]
    assert not any(verdict.provisional or verdict.notes for verdict in found.values())


def test_an_arm_that_raced_has_one_interval_against_zero_and_against_the_margin(tmp_path):
    """The page draws both, and says that the second lies inside the margin just where the word is `equivalent`."""
    evidence = study(tmp_path)
    decision = {"arm": "qa_12", "reason": "equivalent", "look": 2, "rung": 0.0, "word": "equivalent"}
    decision |= {"mean": 0.001, "interval": [-0.008, 0.009]}
    evidence.study.decide({"qa_12": decision})
    verdict = by_arm(read(evidence.study))["qa_12"]
    effect = verdict.effect
    assert effect.interval == effect.equivalence_interval == (-0.008, 0.009)
    assert all(map(math.isnan, (effect.p, effect.p_adjusted, effect.p_equivalent, verdict.detectable)))
    [card] = [one for one in cards(read(evidence.study)) if one.verdict.arm == "qa_12"]
    assert not card.detectable  # neither of these seeds nor of more: both are of a study with one look
    said = dict(facts(card))
    assert "smallest detectable unknown: it raced; margin 0.01" in said["effect"]
    assert "more seeds" not in said


def test_a_null_arm_is_the_base_and_not_in_the_family(tmp_path):
    evidence = study(tmp_path, null_arm="qa_10")
    assert evidence.null_arms == ["qa_10"]
    assert {v.family for v in compare.verdicts(evidence)} == {3}
    assert len(evidence.distinct_runs) == 16


def test_an_arm_that_diverged_is_never_better(tmp_path):
    outcomes = {("qa_20", 0): "diverged", ("qa_40", 1): "diverged", ("qa_12", 2): "diverged"}
    found = by_arm(study(tmp_path, outcomes=outcomes, seeds=tuple(range(6))))
    assert found["qa_20"].effect.word == "better"  # the survivors alone would say so
    assert found["qa_20"].word == "inconclusive"
    assert found["qa_12"].effect.word == "equivalent"
    assert found["qa_12"].word == "inconclusive"
    assert found["qa_40"].word == "worse"
    assert found["qa_20"].notes == ("1 of 6 diverged",)
    assert sorted(found["qa_20"].differences) == [1, 2, 3, 4, 5]
    assert not found["qa_20"].provisional  # diverged is an outcome, not a missing run


def test_a_final_loss_that_is_not_a_number_counts_as_diverged(tmp_path):
    evidence = study(tmp_path)
    path = evidence.by_arm["qa_20"][0].record.folder / "result.json"
    result = json.loads(path.read_text())
    result["sums"]["code"]["nats"] = float("nan")
    path.write_text(json.dumps(result))
    again = read(evidence.study)
    assert again.by_arm["qa_20"][0].outcome == "diverged"
    assert by_arm(again)["qa_20"].word == "inconclusive"


def test_missing_runs_make_a_verdict_provisional_and_are_named(tmp_path):
    outcomes = {("qa_20", 0): "running", ("qa_40", 1): "killed", ("qa_12", 2): "not started"}
    found, early = by_arm(study(tmp_path, outcomes=outcomes)), "not the planned look: judged at level 0.0075"
    assert found["qa_20"].notes == ("1 of 4 running", early)
    assert found["qa_40"].notes == ("1 of 4 killed", early)
    assert found["qa_12"].notes == ("1 of 4 not started", early)
    assert all(verdict.provisional for verdict in found.values())
    assert all(len(verdict.differences) == 3 for verdict in found.values())


def test_a_seed_that_failed_in_the_base_is_paired_with_nothing(tmp_path):
    found = by_arm(study(tmp_path, outcomes={("base", 3): "diverged"}))
    assert all(sorted(v.differences) == [0, 1, 2] for v in found.values())
    assert all("base: 1 of 4 diverged" in v.notes for v in found.values())
    alone = "base diverged with seed 3, qa_20 did not: the effect leaves this out, to the good of base"
    assert alone in found["qa_20"].notes
    assert found["qa_20"].word == "better"


def test_an_arm_that_is_its_base_to_the_bit_has_no_word(tmp_path):
    effects = {"copy": 0.0, "shifted": 0.02}
    evidence = study(tmp_path, effects=effects, own_noise=0.0, evaluation_noise=0.0, seeds=(0, 1, 2))
    found = by_arm(evidence)
    assert (found["copy"].differences, found["copy"].word) == ({}, "inconclusive")
    assert found["copy"].notes == ("the base itself: equal weights in 3 of 3 seeds, which are no pairs",)
    said = "`copy` is inconclusive against `base`: the base itself: equal weights in 3 of 3 seeds, which are no pairs."
    assert compare.sentence([found["copy"]]) == said


def test_a_shift_that_is_the_same_with_every_seed_is_no_certainty(tmp_path):
    found = by_arm(study(tmp_path, effects={"shifted": 0.02}, own_noise=0.0, evaluation_noise=0.0, seeds=(0, 1)))
    one = found["shifted"]
    assert one.differences == pytest.approx({0: 0.02, 1: 0.02})
    assert one.word == "inconclusive"
    assert 0.05 < one.effect.p < 1
    assert one.effect.interval[0] < 0 < one.effect.interval[1]


def test_one_seed_is_inconclusive_and_says_why(tmp_path):
    found = compare.verdicts(study(tmp_path, seeds=(0,)))
    assert {v.word for v in found} == {"inconclusive"}
    assert all("one seed gives no interval" in v.notes for v in found)
    assert "one seed gives no interval" in text(found)


def test_sentences(tmp_path):
    found = compare.verdicts(study(tmp_path))
    assert compare.sentence(found).startswith("`qa_20` is better than `base` by 0.02")
    assert compare.sentence(found).endswith("(of 3 arms: 1 better, 1 worse, 1 equivalent).")
    assert compare.sentence([v for v in found if v.arm == "qa_40"]).startswith("`qa_40` is worse than `base` by 0.01")
    assert compare.sentence(found[2:]).startswith("`qa_12` is equivalent to `base` within ±0.01 bits per byte")
    null = [dataclasses.replace(v, word="inconclusive") for v in found]
    assert compare.sentence(null).startswith("No arm is shown to be better or worse than `base`")
    early = [dataclasses.replace(v, provisional=True) for v in found]
    assert compare.sentence(early) == f"So far: {compare.sentence(found)}"
    assert compare.sentence([]) == "No arm differs from the base: there is nothing to compare."


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_shows_every_number_whole(tmp_path, width):
    found = compare.verdicts(study(tmp_path))
    shown = text(found, width)
    for v in found:
        assert f"{v.effect.mean:+.4f}" in shown
        assert f"[{v.effect.interval[0]:+.4f}, {v.effect.interval[1]:+.4f}]" in shown
        assert f"{v.effect.mde:.4f}" in shown
        assert v.word in shown


def test_the_factor_is_shown_as_a_difference(tmp_path):
    assert study(tmp_path).factor("qa_40") == (
        "mixture.weights from step 0: general 0.3 → 0.2, code 0.3 → 0.2, science 0.3 → 0.2, qa 0.1 → 0.4"
    )


def test_domain_effects_are_the_planted_ones(tmp_path):
    evidence = study(tmp_path, seeds=tuple(range(8)))
    effects = compare.domain_effects(evidence)
    assert len(effects) == 3 * 4
    assert all(abs(e.mean + 0.021) < 0.004 for e in effects if e.arm == "qa_20")
    assert {e.metric for e in effects} == set(evidence.domains)


def test_the_smallest_effect_of_a_domain_falls_back_on_the_margin(tmp_path):
    evidence = study(tmp_path)
    assert all(0 < mde < 0.02 for mde in compare.smallest_effects(evidence).values())
    one = study(tmp_path / "one", seeds=(0,))
    assert set(compare.smallest_effects(one).values()) == {0.01}


def test_a_study_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"no study 'nope'.*none was started yet"):
        read(study_record(tmp_path, "nope"))


def test_where_an_arm_came_out_as_the_base_it_is_no_pair(tmp_path):
    """Equal weights say nothing of the change: three such seeds made an arm `equivalent`, with certainty."""
    evidence = study(tmp_path)
    base, arm = (evidence.by_arm[name] for name in ("base", "qa_12"))
    whole = by_arm(evidence)["qa_12"]
    for seeds in ([1, 2], [0, 1, 2, 3]):
        for seed in seeds:
            arm[seed].result.update({name: base[seed].result[name] for name in ("weights_sha256", "sums")})
        found = by_arm(evidence)
        left = [seed for seed in (0, 1, 2, 3) if seed not in seeds]
        assert found["qa_12"].differences == {seed: whole.differences[seed] for seed in left}
        assert f"the base itself: equal weights in {len(seeds)} of 4 seeds" in found["qa_12"].notes[0]
        assert (found["qa_20"].word, len(found["qa_20"].differences)) == ("better", 4)
    assert found["qa_12"].word == "inconclusive"
    assert {one.arm for one in registry.arms_of(evidence)} == {"qa_20", "qa_40"}
