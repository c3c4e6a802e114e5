"""What arms say of held-out pairs: means over seeds, and whether accuracy is more than guessing."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from worlds import DOMAINS, World, write  # pyrefly: ignore  # beside this file

from ablate.page import terminal
from ablate.verdict.evidence import Evidence, read
from ablate.verdict.preferences import preferences

PAIRS = 600  # in all domains together


def told(outputs: Path, right: dict[str, list[float]]) -> Evidence:
    """A study whose runs were asked about pairs: how many were right, by arm and seed."""
    study = write(outputs, World(effects={"dpo": 0.0, "ipo": 0.0}, seeds=(0, 1, 2), null_arm=None))
    for run in (one for runs in read(study).by_arm.values() for one in runs.values()):
        path = run.record.folder / "result.json"
        sums = {"pairs": PAIRS, "right": right[run.arm][run.seed], "likelier": 500.0, "shorter": 0, "shorter_right": 0}
        sums |= {"chosen": -6000.0, "rejected": -9000.0, "chosen_tokens": 9000, "rejected_tokens": 9000}
        sums |= {"chosen_start": -3000.0, "rejected_start": -3000.0}
        of_domain = {name: value / len(DOMAINS) for name, value in sums.items()}
        path.write_text(json.dumps(json.loads(path.read_text()) | {"pairs": dict.fromkeys(DOMAINS, of_domain)}))
    return read(study)


def test_a_share_of_pairs_has_an_interval_over_seeds_and_one_over_pairs(tmp_path):
    base, dpo, ipo = preferences(
        told(tmp_path, {"base": [300, 306, 294], "dpo": [420, 426, 414], "ipo": [330, 540, 390]})
    )
    assert [one.learnt for one in (base, dpo, ipo)] == [False, True, False]  # ipo: seeds differ by too much
    assert dpo.values["acc"] == pytest.approx(0.7)
    assert dpo.over_seeds == pytest.approx((0.7 - 4.3027 * 0.01 / 3**0.5, 0.7 + 4.3027 * 0.01 / 3**0.5), abs=1e-5)
    assert dpo.over_pairs == pytest.approx((0.6621, 0.7352), abs=2e-4)  # Wilson's, of 420 of 600
    assert dpo.values["rise"] == -5.0
    assert dpo.values["distance"] == 7.5
    assert "acc_shorter" not in dpo.values  # no better response is the shorter one
    assert (dpo.seeds, dpo.pairs) == (3, PAIRS)


def test_few_pairs_are_not_more_than_guessing_however_equal_the_seeds(tmp_path):
    _, dpo, _ = preferences(told(tmp_path, {"base": [300] * 3, "dpo": [320, 320, 321], "ipo": [300] * 3}))
    assert dpo.over_seeds[0] > 0.5 > dpo.over_pairs[0]
    assert not dpo.learnt


def test_a_terminal_says_which_arms_have_learnt(tmp_path):
    found = preferences(told(tmp_path, {"base": [300] * 3, "dpo": [420, 426, 414], "ipo": [420, 420, 421]}))
    text = io.StringIO()
    Console(file=text, width=80).print(terminal.pairs(found))
    shown = " ".join(text.getvalue().split())
    assert "dpo 0.700 0.833 -10.0 -5.00 7.50 0.00 [0.675, 0.725] seeds [0.662, 0.735] pairs" in shown
    assert "both intervals above 0.5: dpo, ipo" in shown


def test_runs_without_pairs_have_none(tmp_path):
    assert not preferences(read(write(tmp_path)))
