"""Arms of other text: how much there is of it, and how often a run reads it."""

import dataclasses
from pathlib import Path

import pytest
from rich.table import Table

from ablate.data.tokens import Corpus
from ablate.plan.timeline import timeline
from ablate.run.study import Study
from ablate.sweep.repeats import readings, repeated
from ablate.sweep.study import Plan, plan, with_corpora

SHORT = {"length": {"lengths": [64], "starts": [0]}, "tokens": 10_240}


def text(**tokens: int) -> Corpus:
    domains = {domain: {"train": {"tokens": count}} for domain, count in tokens.items()}
    return Corpus(Path(), {"fingerprint": str(tokens), "domains": domains})


@pytest.fixture
def studied(tiny):
    def make(other: Corpus, difference: dict) -> Plan:
        base = tiny(**SHORT, mixture={"weights": {"general": 2, "code": 1, "qa": 1}})
        found = plan(Study(name="s", factor=["data.level"], seeds=[0]), base, {"less": base})
        found = with_corpora(found, [text(general=10_240, code=10_240, qa=2560), other])
        arms = [found.arms[0], dataclasses.replace(found.arms[1], difference=difference)]
        return dataclasses.replace(found, arms=arms)

    return make


def line(arm):
    return timeline(arm.settings)


def test_epochs_are_tokens_asked_for_over_tokens_that_there_are(studied):
    found = studied(text(general=1024, code=2560, qa=2560), {})
    read = readings(found.arms[1], timeline(found.arms[1].settings))
    assert [(one.unique, one.read, one.epochs) for one in read.values()] == [
        *((1024, 5120, 5.0), (2560, 2560, 1.0), (2560, 2560, 1.0)),
    ]
    assert repeated(found, line) == []  # of equal text there is nothing to say


def test_text_that_is_read_often_or_much_oftener_than_the_bases_is_said(studied):
    found = studied(text(general=1024, code=1280, qa=2560), {"data.text.general": ("a", "b")})
    table, *said = repeated(found, line)
    assert isinstance(table, Table)
    assert list(table.columns[-1].cells) == ["0.5, 0.25, 1", "5, 2, 1"]
    assert said == [
        "less reads its text of general 5.0 times, the base 0.5 times",
        "less reads its text of code 2.0 times, the base 0.2 times",
    ]
