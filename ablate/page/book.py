"""The whole lab book: the table of claims for its README, and one page over all studies.

    experiments/README.md           a row a claim: what was published, what is found here, whether they agree
    experiments/report/index.html   the same with filters; each row opens the page of its study

Both follow from the folders of the book and from `claims.yaml`: writing them again changes nothing.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment, Template

from ablate.laws import worth
from ablate.laws.curves import Curve
from ablate.page.drawing import book as figures
from ablate.page.drawing import vector
from ablate.page.facts import times
from ablate.page.templates import environment
from ablate.run.files import make_own, write_atomically
from ablate.verdict import spending
from ablate.verdict.claims import Row, Studied
from ablate.verdict.compare import Verdict, bounds
from ablate.verdict.evidence import Evidence, flops_text, taken_over, tokens_text
from ablate.verdict.selftest import SelfTest
from ablate.verdict.validity import controls

DRAWINGS = {"saturation": figures.saturation, "runs": figures.parallel_runs}


@dataclass(frozen=True)
class Totals:
    """Over all studies, a run that several share counted once. FLOPs."""

    studies: int
    runs: int
    hours: float  # of training, what a run took over from another left out
    spent: float
    alone: float  # each study's runs by themselves, one after the other
    repeated: tuple[int, int]  # null controls that are the same to the bit, of how many
    found: tuple[int, int]  # positive controls that were found, of how many


@dataclass(frozen=True)
class Book:
    """What the page and the table show."""

    rows: Sequence[Row]
    studies: Sequence[Studied]
    rates: SelfTest

    @property
    def answers(self) -> Counter[str]:
        return Counter(row.answer for row in self.rows)

    def sides(self, row: Row) -> list[dict[str, Any]]:
        """What stands beside a claim, an entry an arm."""
        expects = row.claim.expects
        return [{"verdict": v, "expected": expects[v.arm], "worth": self._worth(row, v)} for v in row.verdicts]

    @cached_property
    def _curves(self) -> dict[str, Curve | None]:
        return {one.name: worth.of_base(one.evidence) for one in self.studies}

    def _worth(self, row: Row, v: Verdict) -> str:
        """In tokens of the base; empty where its curve tells nothing."""
        curve, (low, high) = self._curves[row.claim.study], v.effect.interval
        if curve is None or worth.problem(curve) or not math.isfinite(high - low):
            return ""
        return times(worth.worth(curve, v.effect.mean, (high - low) / 2))

    @property
    def factors(self) -> list[str]:
        return sorted({factor for row in self.rows for factor in row.factors})

    @property
    def totals(self) -> Totals:
        results = {run.record.id: run.result for one in self.studies for run in one.runs}
        runs = {id: result["flops"] - taken_over(result) for id, result in results.items()}
        hours = sum(result["seconds"] - taken_over(result, "seconds") for result in results.values()) / 3600
        begun = {id: flops for one in self.studies for id, flops in spending.begun(one.evidence).items()}
        alone = sum(one.spent.spent + one.spent.trunks + one.spent.races for one in self.studies)
        repeated = [one.repeated for one in self.studies if one.repeated is not None]
        found = [one for study in self.studies if (one := controls.found(study.evidence)) is not None]
        counts = (sum(repeated), len(repeated)), (sum(found), len(found))
        return Totals(len(self.studies), len(runs), hours, sum((begun | runs).values()), alone, *counts)


def write(folder: Path, book: Book) -> Path:
    """Write the table and the page of a book into its folder; returns the path of the page."""
    place = folder / "report"
    make_own(place)
    drawn = {name: draw(book.studies) for name, draw in DRAWINGS.items()}
    pictures = {name: vector.both(one, place / f"{name}.png") for name, one in drawn.items() if one is not None}
    html = _jinja().get_template("book.html").render(book=book, pictures=pictures)
    write_atomically(place / "index.html", html)
    write_atomically(folder / "README.md", markdown("book.md").render(book=book))
    return place / "index.html"


def markdown(name: str) -> Template:
    return _jinja().get_template(name)


def _jinja() -> Environment:
    jinja = environment()
    jinja.filters |= {"flops": flops_text, "effect": _effect, "signed": "{:+.4f}".format, "number": _number}
    jinja.filters |= {"size": _size, "shape": _shape, "cell": _cell, "found": controls.found}
    return jinja


def _effect(v: Verdict) -> str:
    if not math.isfinite(v.effect.mean):
        return "unknown"
    return f"{v.effect.mean:+.4f} {bounds(v.effect.interval)}".replace("+-", "-")


def _shape(one: Studied) -> str:
    """`3 arms x 5 seeds`"""
    declared, arms = one.evidence.declaration, len(one.evidence.arms)
    return f"{arms} {'arm' if arms == 1 else 'arms'} × {len(declared['seeds'])} seeds"


def _size(one: Studied) -> str:
    return size(one.evidence)


def size(evidence: Evidence) -> str:
    """`0.66 M parameters, 299k tokens` of the base; empty until one has finished."""
    done = [run.result for run in evidence.finished(evidence.base).values()]
    return f"{done[0]['parameters'] / 1e6:.2g} M parameters, {tokens_text(_tokens(evidence))} tokens" if done else ""


def _tokens(evidence: Evidence) -> float:
    """Of all phases."""
    phases = [one.finished(one.base) for one in (*evidence.before, evidence)]
    return sum(next(iter(runs.values())).result["tokens"] for runs in phases if runs)


def _number(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else ""


def _cell(text: str) -> str:
    """Of a table in Markdown: one line, no bar, no tag."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
