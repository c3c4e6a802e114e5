"""A study as people find it in the lab book: tables, pictures, and a README until somebody writes a better one.

keep(record, Path("experiments/mix_sweep"))      verdicts.csv forest.png README.md beside the study's own files
"""

from pathlib import Path

from ablate.page import spreadsheet
from ablate.page.book import markdown, size
from ablate.page.drawing import figures, pareto
from ablate.page.drawing.strips import foremost
from ablate.page.drawing.style import png
from ablate.page.page import by_arm
from ablate.run.files import write_atomically
from ablate.run.study_record import StudyRecord
from ablate.verdict import book, compare
from ablate.verdict.evidence import read, spending_text
from ablate.verdict.validity import trust

TABLES = ("verdicts", "phases", "compression", "questions")
DRAWN = 24  # arms in the picture


def keep(study: StudyRecord, folder: Path) -> None:
    """Write a study into a folder of the lab book. A README that is there stays."""
    found = read(study)  # scored again by the report that goes before
    book.keep(found, folder)
    conclusion = trust.conclude(found)
    tables = spreadsheet.tables(found, conclusion.verdicts)
    for name in TABLES:
        if name in tables:
            write_atomically(folder / f"{name}.csv", tables[name])
    pareto.keep(found, conclusion.verdicts, folder)
    if not (folder / "README.md").exists() and found.any_finished:
        drawn = figures.forest(found, foremost(conclusion.verdicts, DRAWN))
        write_atomically(folder / "forest.png", png(drawn, dpi=110))
        text = markdown("kept.md").render(
            evidence=found,
            study=found.declaration,
            conclusion=conclusion,
            effects=by_arm(compare.domain_effects(found, conclusion.past)),
            domains=found.domains,
            size=size(found),
            spending=spending_text(found),
        )
        write_atomically(folder / "README.md", text)
