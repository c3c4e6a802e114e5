"""The weights of a study's runs scored once more, before its verdict leans on what the runs reported."""

import importlib

from ablate.verdict.evidence import Evidence
from ablate.verdict.validity import scores


def rescore(evidence: Evidence) -> None:
    """Score the runs that were not scored since their weights were written; the second time there are none."""
    if runs := scores.unchecked(evidence):
        importlib.import_module("ablate.fit.saved").rescore(runs)  # loads torch, which takes seconds
