import dataclasses
import json

import pytest

from ablate.verdict import card, compare
from ablate.verdict.card import Card, cards
from ablate.verdict.evidence import Evidence, read
from tests.verdict.worlds import World, write


def study(folder, **changes) -> Evidence:
    return read(write(folder, dataclasses.replace(World(evaluations=5, tokens=300_000), **changes)))


def by_arm(evidence: Evidence) -> dict[str, Card]:
    return {one.verdict.arm: one for one in cards(evidence)}


def test_a_card_holds_the_verdict_and_what_it_rests_on(tmp_path):
    evidence = study(tmp_path)
    found = by_arm(evidence)
    assert [one.verdict for one in found.values()] == compare.verdicts(evidence)
    one = found["qa_20"]
    assert one.shrunken is not None
    assert abs(one.shrunken.mean) < abs(one.verdict.effect.mean)
    other = found["qa_12"].shrunken
    assert other is not None
    assert one.shrunken.wrong_sign < 0.01 < other.wrong_sign
    assert one.pairing is not None
    assert one.pairing.value > 10
    assert one.level == pytest.approx(0.05 / 3)
    assert (one.kind, one.runs, one.passages) == ("mixture", 4, None)
    assert one.flops == sum(run.result["flops"] for run in evidence.by_arm["qa_20"].values())


def test_arms_that_trained_on_nothing_say_nothing_of_one_another(tmp_path):
    verdicts = compare.verdicts(study(tmp_path))
    assert card._shrunken(verdicts)
    apart = [dataclasses.replace(v, known=dataclasses.replace(v.known, apart=True)) for v in verdicts]
    assert card._shrunken(apart) == {}


def test_more_seeds_buy_what_the_detectable_effect_says(tmp_path):
    one = by_arm(study(tmp_path))["qa_20"]
    sizes = [size for seeds, size in one.detectable.items() if seeds > 4]  # the next look has a level of its own
    assert sizes == sorted(sizes, reverse=True)
    assert one.detectable[4] == pytest.approx(one.verdict.effect.mde)
    needed = one.seeds_for_effect
    assert needed is not None
    sd, level, lent = one.verdict.effect.error * 2, 0.05 / 3, one.verdict.known.noise.df
    assert lent == 1.6  # what three arms lend one another
    assert card.detectable_with(sd, needed, level, lent) <= abs(one.verdict.effect.mean)
    assert card.detectable_with(sd, needed - 1, level, lent) > abs(one.verdict.effect.mean)
    assert by_arm(study(tmp_path / "none", effects={"qa_20": 1e-9, "qa_12": 0.1}))["qa_20"].seeds_for_margin


def test_readings_say_what_was_not_equal(tmp_path):
    evidence = study(tmp_path)
    for run in evidence.by_arm["qa_40"].values():
        run.result["flops"] *= 1.18
    found = by_arm(evidence)
    assert [reading.text for reading in found["qa_20"].readings] == ["tokens equal", "flops equal", "parameters equal"]
    assert [reading.text for reading in found["qa_40"].readings][1] == "flops x1.18"


def test_a_card_is_plain_data(tmp_path):
    one = by_arm(study(tmp_path))["qa_20"]
    plain = dataclasses.asdict(one)
    plain["verdict"]["metric"] = one.verdict.metric.name
    json.dumps(plain, default=lambda kind: sorted(kind))  # the kind of an arm is a set
