"""How often each arm reads its text, where arms have other text: unique tokens and epochs, domain by domain.

A level that removes text leaves less of it, and a run of as many tokens reads what is left more often: a difference of
more than an epoch is another question than the one of the text.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from ablate.data.tokens import Corpus
from ablate.page import tables
from ablate.plan.timeline import Timeline
from ablate.sweep.study import Arm, Plan

MANY = 4.0  # epochs: text that is read more often is worth much less each time (Muennighoff et al. 2023)
APART = 1.0  # epochs, between an arm and the base


class Reading(NamedTuple):
    """Of a domain in an arm's run."""

    unique: int  # tokens that there are
    read: float  # tokens that the mixture asks for

    @property
    def epochs(self) -> float:
        return self.read / max(1, self.unique)


def readings(arm: Arm, line: Timeline) -> dict[str, Reading]:
    """What the run of an arm reads of each domain."""
    tokens_D = (line.table["rows"] * line.table["length"]) @ line.weights[line.table["stage"]]
    domains = arm.settings.data.domains
    pairs = zip(domains, tokens_D.tolist(), strict=True)
    return {domain: Reading(arm.corpus.num_tokens(domain, "train"), read) for domain, read in pairs}


def repeated(plan: Plan, line: Callable[[Arm], Timeline]) -> list[Table | str]:
    """A table of the arms, and a line for each that reads its text much more often; nothing where all texts are one.

    `line`: the timeline of an arm.
    """
    if not any(key.startswith(("data.text.", "data.tokens")) for arm in plan.arms for key in arm.difference):
        return []
    found = {arm.name: readings(arm, line(arm)) for arm in plan.arms}
    base = found[plan.arms[0].name]
    table = tables.table("arm", *(f">{domain}, unique tokens" for domain in base), ">epochs")
    for name, by_domain in found.items():
        epochs = ", ".join(f"{reading.epochs:.2g}" for reading in by_domain.values())
        table.add_row(name, *(f"{reading.unique:,}" for reading in by_domain.values()), epochs)
    warnings = [
        f"{name} reads its text of {domain} {reading.epochs:.1f} times, the base {base[domain].epochs:.1f} times"
        for name, by_domain in found.items()
        for domain, reading in by_domain.items()
        if reading.epochs > MANY or abs(reading.epochs - base[domain].epochs) > APART
    ]
    paid = [line for arm in plan.arms for line in taught(arm.name, arm.corpus, Path(arm.settings.where.outputs))]
    return [table, *warnings, *paid]


def taught(arm: str, corpus: Corpus, outputs: Path) -> list[str]:
    """A line for each domain whose text a teacher wrote or mended: what that took."""
    made = corpus.manifest.get("corpus", {})
    if not made:
        return []
    from ablate.corpus import report  # with pyarrow, which text without levels is found without

    found = []
    for domain, names in made.items():
        folders = [folder for name in names["training"] if (folder := outputs / "corpus" / name).exists()]
        if paid := report.costs(folders):
            found.append(f"{arm}: the text of {domain} took a teacher {report.in_words(paid)}")
    return found
