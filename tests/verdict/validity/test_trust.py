"""What a check does not bear is not said: words are withheld, and the reason comes first."""

import io

import pytest
from rich.console import Console

from ablate.page import page
from ablate.page.terminal import show
from ablate.verdict import compare
from ablate.verdict.evidence import Evidence, read
from ablate.verdict.validity import trust
from ablate.verdict.validity.finding import Finding
from tests.verdict.worlds import World, write


@pytest.fixture
def study(tmp_path):
    return write(tmp_path, World(null_seeds=(0,)))


def concluded(evidence: Evidence, monkeypatch, *found: Finding) -> trust.Conclusion:
    monkeypatch.setattr(trust, "CHECKS", (lambda _: list(found),))
    return trust.conclude(evidence)


def test_what_held_changes_nothing(study):
    conclusion = trust.conclude(read(study))
    assert conclusion.verdicts == compare.verdicts(read(study))
    assert conclusion.sentence == compare.sentence(conclusion.verdicts)
    assert [finding.check for finding in conclusion.findings] == ["null control", "confounds", "scores"]


@pytest.mark.parametrize("arm", ["", "base"])
def test_what_concerns_all_withholds_every_word(study, monkeypatch, arm):
    conclusion = concluded(read(study), monkeypatch, Finding("null", arm, False, "not `base` again."))
    assert conclusion.void
    assert {verdict.word for verdict in conclusion.verdicts} == {"inconclusive"}
    assert all(verdict.notes[0] == "void: null" for verdict in conclusion.verdicts)
    assert conclusion.sentence == "Void: null: not `base` again."
    before = compare.verdicts(read(study))
    assert [verdict.effect for verdict in conclusion.verdicts] == [verdict.effect for verdict in before]


def test_what_concerns_an_arm_withholds_its_word_alone(study, monkeypatch):
    before = {verdict.arm: verdict for verdict in compare.verdicts(read(study))}
    assert (before["qa_20"].word, before["qa_40"].word) == ("better", "worse")
    conclusion = concluded(read(study), monkeypatch, Finding("drift", "qa_20", False, "two processors"))
    after = {verdict.arm: verdict for verdict in conclusion.verdicts}
    assert not conclusion.void
    assert (after["qa_20"].word, after["qa_20"].notes) == ("inconclusive", ("void: drift",))
    assert {arm: verdict for arm, verdict in after.items() if arm != "qa_20"} == {
        arm: verdict for arm, verdict in before.items() if arm != "qa_20"
    }
    assert conclusion.sentence.startswith("Void: `qa_20`, drift: two processors. `qa_40` is worse than `base`")


def test_what_is_alike_with_every_seed_is_said_once_with_the_seeds(study, monkeypatch):
    texts = [f"seed {seed}: rows differs from base (5f{seed}c instead of 7{seed}): alarm" for seed in (0, 1, 3)]
    found = [
        Finding("confounds", "qa_20", False, text) for text in (*texts, texts[0], "seed 1: rates differs", "no seed")
    ]
    said = concluded(read(study), monkeypatch, *found).sentence
    assert said.startswith(
        "Void: `qa_20`, confounds: seed 0: rows differs from base (5f0c instead of 70): alarm (with seed 1, 3 too); "
        "`qa_20`, confounds: seed 1: rates differs; `qa_20`, confounds: no seed. "
    )
    whole = concluded(read(study), monkeypatch, *(Finding("confounds", "base", False, text) for text in texts))
    assert whole.sentence.endswith("alarm (with seed 1, 3 too).")


def test_page_and_table_show_findings_and_what_is_void(study):
    def shown() -> tuple[str, str]:
        text = io.StringIO()
        evidence = read(study)
        show(evidence, trust.conclude(evidence), Console(file=text, width=200))
        return text.getvalue(), page.write(study).read_text()

    terminal, html = shown()
    assert "is the same to the bit" in terminal
    assert "is the same to the bit" in html
    assert "Void" not in terminal
    assert ">void<" not in html
    record = read(study).control("null control")[0].record
    weights = (record.result() or {})["weights_sha256"]
    result = record.folder / "result.json"
    result.write_text(result.read_text().replace(weights, "1" * 64))
    terminal, html = shown()
    for text in (terminal, html):
        assert "Void: null control: " in text
        assert f"final weights {weights[:12]}, 111111111111" in text
        assert "void: null control" in text
        assert "is better than" not in text
    assert ">void<" in html
