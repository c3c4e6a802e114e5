"""What a terminal shows of a study's verdict, whether it is about arms or about factors.

    found = summary(read(study_record("outputs", "mix_sweep")))
    found.sentence       `qa_10` is better than `base` by ...

A study of factors is judged on those: its arms are a fraction of all combinations, none of them a candidate.
"""

from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ablate.analysis import factorial, table
from ablate.analysis.evidence import Evidence
from ablate.analysis.validity import trust


@dataclass(frozen=True)
class Summary:
    table: Table
    sentence: str
    remarks: list[str]
    conclusion: trust.Conclusion

    def show(self, console: Console) -> None:
        """Print all but the sentence: the verdicts, and what was found about the study itself."""
        console.print(self.table)
        for line in self.remarks:
            console.print(escape(line))
        console.print()
        console.print(trust.table(self.conclusion.findings))


def summary(evidence: Evidence) -> Summary:
    """Of a study with at least one finished run."""
    found = trust.conclude(evidence)
    if found.effects:
        return Summary(factorial.table(found.effects), found.sentence, factorial.remarks(found.effects), found)
    return Summary(table.table(found.verdicts), found.sentence, [], found)
