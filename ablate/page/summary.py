"""What a terminal shows of a study's verdict, whether it is about arms or about factors.

    found = summary(conclude(read(study_record("outputs", "mix_sweep"))))
    found.sentence       `qa_10` is better than `base` by ...

A study of factors is judged on those: its arms are a fraction of all combinations, none of them a candidate.
"""

from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ablate.page import factorial, table
from ablate.verdict.validity import trust
from ablate.verdict.validity.finding import Finding


@dataclass(frozen=True)
class Summary:
    table: Table
    sentence: str
    remarks: list[str]
    findings: list[Finding]

    def show(self, console: Console) -> None:
        """Print all but the sentence: the verdicts, and what was found about the study itself."""
        console.print(self.table)
        for line in self.remarks:
            console.print(escape(line))
        console.print()
        console.print(trust.table(self.findings))


def summary(found: trust.Conclusion) -> Summary:
    """Of a study with at least one finished run."""
    if found.effects:
        remarks = factorial.remarks(found.effects)
        return Summary(factorial.table(found.effects), found.sentence, remarks, found.findings)
    return Summary(table.table(found.verdicts), found.sentence, [], found.findings)
