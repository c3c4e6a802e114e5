"""What a terminal shows of a study's verdict, whether it is about arms or about factors.

    found = summary(read(study_record("outputs", "mix_sweep")))
    found.sentence       `qa_10` is better than `base` by ...

A study of factors is judged on those: its arms are a fraction of all combinations, none of them a candidate.
"""

from dataclasses import dataclass

from rich.table import Table

from ablate.analysis import compare, factorial
from ablate.analysis.evidence import Evidence


@dataclass(frozen=True)
class Summary:
    table: Table
    sentence: str
    remarks: list[str]  # lines to go between the two


def summary(evidence: Evidence) -> Summary:
    """Of a study with at least one finished run."""
    if factorial.is_factorial(evidence.declaration):
        effects = factorial.effects(evidence)
        return Summary(factorial.table(effects), factorial.sentence(effects), factorial.remarks(effects))
    results = compare.verdicts(evidence)
    return Summary(compare.table(results), compare.sentence(results), [])
