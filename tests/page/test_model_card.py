"""The card of an exported model: text with licences, intervals over seeds, what compression cost, and what it is not
for."""

import json
import re

import numpy as np
import pytest
from runs import losses, record_of, train_run
from scipy import stats

from ablate.data.tokens import prepared
from ablate.fit.parents import resolved
from ablate.interchange.forms import FORMS
from ablate.page.model_card import NEVER, USES, card
from ablate.run.record import Record, plain
from ablate.run.study_record import study_record

CHECKED = ["logits differ by at most 2e-06"]


def shown(record: Record, form: str = "hf") -> str:
    manifest = prepared(record.folder.parents[1], record.fingerprint).folder / "manifest.json"
    return card(record, form, json.loads(manifest.read_text()), CHECKED)


@pytest.fixture
def seeds(tiny):
    """Two seeds of one arm of a study."""
    found = {}
    for seed in (0, 1):
        settings = tiny(seed=seed, study={"name": "s", "question": "Which is best?"}, where={"arm": "base"})
        train_run(settings)
        found[str(seed)] = record_of(settings)
    runs = {"base": {seed: record.id for seed, record in found.items()}}
    study_record(settings.where.outputs, "s").write(
        {"name": "s", "question": "Which is best?", "base": "base", "arms": {"base": {}}, "runs": runs}
        | {"domains": plain(settings)["data"]["domains"], "metric": "macro", "margin": 0.01, "confidence": 0.95}
    )
    return list(found.values())


def test_scores_have_intervals_over_the_seeds_of_their_arm(seeds):
    said = shown(seeds[0])
    values = [losses(record.result() or {})["macro"] for record in seeds]
    low, high = stats.t.interval(0.95, 1, np.mean(values), stats.sem(values))
    assert f"| macro | {values[0]:.4f} | bits per byte | {np.mean(values):.4f} [{low:.4f}, {high:.4f}] |" in said
    assert "Trained for: Which is best? (study `s`, arm `base`)" in said


def test_text_is_told_with_where_it_is_from_and_its_licences(seeds):
    said = shown(seeds[0])
    assert re.search(r"\| code \| Python and its packages \| [\d,]+ \| [\d,]+ \| [\d,]+ \|", said)
    assert "| qa | generated questions |" in said
    assert re.search(r"Licences, by packages: .*MIT \(\d+\)", said)
    assert NEVER in said
    assert "- It was trained on no dialogues, so it follows no instructions." in said
    assert f"- {CHECKED[0]}" in said


def test_what_compression_cost_stands_beside_the_start(tiny):
    train_run(settings := tiny())
    before = record_of(settings)
    asked = {"to": "int4", "group": 16}
    result = train_run(small := resolved(tiny(tokens=0, start=f"run:{before.id}", compress=asked)))
    said = shown(record_of(small), "compressed-tensors")
    then, now = losses(before.result() or {})["macro"], losses(result)["macro"]
    found = re.search(rf"\| macro \| {then:.4f} \| {now:.4f} \| (.\d\.\d+) \[(.\d\.\d+), (.\d\.\d+)\] \|", said)
    assert found
    change, low, high = map(float, found.groups())
    assert low < change < high
    assert change == pytest.approx(now - then, abs=1e-4)
    assert f"{result['compressed']['file_bytes']:,} bytes in all" in said
    assert f"It went on from {before.id}, " in said
    assert "It went on from" not in shown(before)
    assert "What compression cost" not in shown(before)


def test_every_form_says_how_it_is_used():
    assert set(USES) == set(FORMS)
