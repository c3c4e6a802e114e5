import dataclasses

import pytest
from rich.console import Console

from ablate import report
from ablate.page import terminal
from ablate.page.facts import facts
from tests.verdict.test_card import by_arm, study


def test_without_two_pairs_a_card_says_only_what_is_known(tmp_path):
    for seeds, outcomes in (((0,), {}), ((0, 1), {("qa_20", 0): "diverged", ("qa_20", 1): "not started"})):
        one = by_arm(study(tmp_path / str(len(seeds)), seeds=seeds, outcomes=outcomes))["qa_20"]
        assert (one.shrunken, one.detectable) == (None, {})
        assert {name for name, _ in facts(one)} <= {"change", "against", "budget", "text read", "cost", "note"}


@pytest.mark.parametrize("width", [80, 140])
def test_the_card_of_an_arm_in_a_terminal(tmp_path, width):
    one = by_arm(study(tmp_path))["qa_20"]
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(terminal.card(one, None))
    shown = " ".join(console.export_text().split())
    for text in (
        f"{one.verdict.effect.mean:+.4f}",
        "better",
        "tokens equal",
        "3 arms",
        "other sign",
        "qa 20 %, asked 20 %",
    ):
        assert text in shown


def test_the_card_names_every_share_that_was_asked(tmp_path):
    """Seeds of an arm may have mixtures of their own, which were computed."""
    evidence = study(tmp_path)
    for seed, share in ((0, 0.18), (1, 0.2), (2, 0.23)):
        evidence.by_arm["qa_20"][seed].result["mixture"]["asked"]["qa"] = share
    assert "qa 20 %, asked 18 to 23 %" in by_arm(evidence)["qa_20"].mixture


def test_a_raced_arm_has_the_promise_of_the_race(tmp_path):
    evidence = study(tmp_path)
    decision = {"reason": "better", "look": 4, "rung": 0.0, "word": "better", "mean": -0.02, "interval": [-0.03, -0.01]}
    raced = dataclasses.replace(evidence, race={"qa_20": decision})
    assert "all looks of the race" in dict(facts(by_arm(raced)["qa_20"]))["family"]


def test_the_command(tmp_path, capsys):
    study(tmp_path)
    report.main(["mix_sweep", "--card", "qa_20", "--outputs", str(tmp_path)])
    assert "smallest detectable" in capsys.readouterr().out
    for arguments, message in (
        (["mix_sweep", "--card", "qa_99"], "--card qa_99: no such arm in mix_sweep; there are qa_20, qa_40, qa_12"),
        (["--card", "qa_20"], "--card ARM: of which study?"),
    ):
        with pytest.raises(SystemExit):
            report.main([*arguments, "--outputs", str(tmp_path)])
        assert message in capsys.readouterr().err
