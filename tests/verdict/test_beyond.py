"""A found effect says whether it is more than the margin, and stands beside no larger "smallest detectable"."""

import dataclasses
import math

import pytest

from ablate.page.drawing import strips
from ablate.page.facts import facts
from ablate.verdict.card import cards
from ablate.verdict.compare import BEYOND, Verdict, sentence, verdicts
from ablate.verdict.evidence import read
from tests.verdict.worlds import World, write


@pytest.fixture
def evidence(tmp_path):
    return read(write(tmp_path, World(effects={"qa_20": -0.005, "qa_40": 0.030}, evaluations=3)))


def altered(verdict: Verdict, **effect) -> Verdict:
    return dataclasses.replace(verdict, effect=dataclasses.replace(verdict.effect, **effect))


def test_an_effect_that_is_more_than_the_margin_is_called_so_everywhere(evidence):
    found = {v.arm: v for v in verdicts(evidence)}
    assert found["qa_40"].beyond
    assert not found["qa_20"].beyond  # within it
    assert found["qa_40"].remarks[0] == BEYOND
    assert ", more than the margin" in sentence([found["qa_40"]])
    assert BEYOND in [row.notes[0] for row in strips.of_verdicts([found["qa_40"]])]
    assert ("note", BEYOND) in facts(next(one for one in cards(evidence) if one.verdict.arm == "qa_40"))
    reaching = altered(found["qa_40"], interval=(0.009, 0.051))
    assert not reaching.beyond
    assert not dataclasses.replace(found["qa_40"], word="inconclusive").beyond


def test_a_found_effect_smaller_than_what_is_usually_detected_hides_that_number(evidence):
    [found] = [v for v in verdicts(evidence) if v.arm == "qa_40"]
    assert "smallest detectable" in sentence([found])
    lucky = altered(found, mde=0.04)
    assert math.isnan(lucky.detectable)
    assert "smallest detectable" not in sentence([lucky])
    missed = dataclasses.replace(lucky, word="inconclusive")
    assert missed.detectable == 0.04
