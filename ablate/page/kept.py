"""A study as people find it in the lab book: tables, pictures, and a README until somebody writes a better one.

keep(record, Path("experiments/mix_sweep"))      verdicts.csv forest.png README.md beside the study's own files
"""

from pathlib import Path

from matplotlib.figure import Figure

from ablate.page import spreadsheet
from ablate.page.book import markdown, size
from ablate.page.drawing import figures, ladder, pareto
from ablate.page.drawing.doses import doses
from ablate.page.drawing.strips import foremost
from ablate.page.drawing.style import png
from ablate.page.page import COLOURED, by_arm
from ablate.run.files import write_atomically
from ablate.run.study_record import StudyRecord
from ablate.verdict import book, compare
from ablate.verdict.evidence import Evidence, read, spending_text
from ablate.verdict.interventions import interventions
from ablate.verdict.ladder import read_ladder
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
        drawings = _drawings(found, conclusion)
        for name, (_, figure) in drawings.items():
            write_atomically(folder / f"{name}.png", png(figure, dpi=110))
        text = markdown("kept.md").render(
            evidence=found,
            study=found.declaration,
            conclusion=conclusion,
            effects=by_arm(compare.domain_effects(found, conclusion.past)),
            domains=found.domains,
            size=size(found),
            spending=spending_text(found),
            pictures={name: caption for name, (caption, _) in drawings.items()},
        )
        write_atomically(folder / "README.md", text)


def _drawings(found: Evidence, conclusion: trust.Conclusion) -> dict[str, tuple[str, Figure]]:
    """{name: what it shows, the picture}"""
    shown = foremost(conclusion.verdicts, DRAWN)
    drawn = {"forest": ("Differences and their intervals", figures.forest(found, shown))}
    if rungs := read_ladder(found):
        arms = [v.arm for v in shown[:COLOURED]]
        drawn["ladder"] = ("Effects by size, and what they foretell", ladder.ladder(rungs, arms))
    for place, one in enumerate(interventions(found), 1):
        drawn[f"inserted_{place}"] = ("What answers gain by how often a text was read", doses(one))
    return drawn
