"""False differences between seeds of one arm, over the trained studies of a folder of records.

    python -m bench aa --outputs outputs

Seeds of an arm differ by noise alone: `verdict.selftest` makes pseudo-arms of their contrasts, which have mean zero in
truth, and judges them as verdicts are. Beside it the rules that do without: the sign of one pair, and the plain t.
Rates are means over many groupings of the same pairs; from, to: Clopper-Pearson 95 % of one grouping.
"""

from pathlib import Path

from ablate.verdict.selftest import Rate, self_test
from bench.rounds import Row

ALPHA = 0.05
PAIRS = 60  # of trained models, fewer tell little


class Counted(Row):
    """A rate that was counted elsewhere, with its interval."""

    @property
    def spread(self) -> tuple[float, float, float]:
        share, low, high = self.values
        return share, low, high

    @property
    def median(self) -> float:
        return self.values[0]


def aa(quick: bool, outputs: Path = Path("outputs")) -> list[Row]:
    """share of pseudo-arms of trained models; from, to: Clopper-Pearson 95 %"""
    found = self_test(outputs)
    rows: list[Row] = [Row(outputs.name, "A/A pairs of trained models", [float(found.pairs)], PAIRS)]
    for what, rate, limit in (
        ("false, judged alone", found.moderated, ALPHA),
        ("false, plain t", found.plain, None),
        ("studies with any false, corrected", found.families, ALPHA),
    ):
        if rate.trials:
            rows.append(Counted(f"{rate.trials} trials", what, _values(rate), limit, "at most"))
    return rows


def _values(rate: Rate) -> list[float]:
    return [rate.value, rate.low, rate.bound]
