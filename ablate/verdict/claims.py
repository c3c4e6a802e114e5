"""What others claim, and what the studies of a lab book say of it.

    experiments/claims.yaml   - id: A1
                                system: daVinci-LLM
                                claim: Code that a model chose beats code that passes rules
                                figure: MBPP +3.40
                                source: arXiv 2603.27164, Table 7
                                study: depth_code            its folder beside the file
                                expects: {classifier: better}
                                differs: what is otherwise here

A claim that cannot be asked has `cannot: why` in place of `study` and `expects`. A claim is confirmed when every arm
has the word that the claim expects, and contradicted when one has another; `inconclusive` is neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import yaml
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked

from ablate.run.files import Damaged, reading
from ablate.run.parse import fitted
from ablate.run.settings import SettingsError, UserError
from ablate.run.study_record import StudyRecord
from ablate.verdict import registry, spending
from ablate.verdict.compare import Verdict
from ablate.verdict.evidence import NULL, Evidence, Run, read
from ablate.verdict.spending import Spending
from ablate.verdict.validity import controls, trust

FILE = "claims.yaml"
Answer = Literal["agrees", "contradicts", "too small to tell", "void", "not asked", "not trained yet"]


@checked(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Claim:
    """One claim, as it was published."""

    id: str
    system: str
    claim: str
    figure: str
    source: str
    study: str = ""
    expects: dict[str, Literal["better", "worse", "equivalent"]] = field(default_factory=dict)
    differs: str = ""  # between the claim's setting and ours
    cannot: str = ""  # why it cannot be asked here

    def __post_init__(self) -> None:
        asked = bool(self.study and self.expects)
        if asked == bool(self.cannot) or bool(self.study) != bool(self.expects):
            raise ValueError(f"{self.id}: must have either a study with what it expects, or cannot")


@dataclass(frozen=True)
class Studied:
    """A study of the book, read and concluded."""

    evidence: Evidence
    conclusion: trust.Conclusion
    spent: Spending

    @property
    def name(self) -> str:
        return self.evidence.study.folder.name

    @property
    def verdicts(self) -> dict[str, Verdict]:
        return {verdict.arm: verdict for verdict in self.conclusion.verdicts}

    @property
    def repeated(self) -> bool | None:
        """Whether what was trained twice is the same to the bit; None where nothing was."""
        first = self.evidence.by_arm[self.evidence.base]
        again = self.evidence.control(NULL).items()
        twice = [(first[seed], run) for seed, run in again if run.done and first[seed].done]
        return not any(controls.first_difference(*both) for both in twice) if twice else None

    @property
    def runs(self) -> list[Run]:
        """Done, of all phases, each once."""
        phases = (*self.evidence.before, self.evidence)
        return [run for one in phases for run in one.distinct_runs if run.done]


@dataclass(frozen=True)
class Row:
    """A claim, and what the book says of it."""

    claim: Claim
    studied: Studied | None

    @property
    def verdicts(self) -> list[Verdict]:
        """Of the arms that the claim is about, in the order that it names them."""
        return [self.studied.verdicts[arm] for arm in self.claim.expects] if self.studied else []

    @property
    def factors(self) -> list[str]:
        """In what the study's arms differ."""
        return list(self.studied.evidence.declaration["factor"]) if self.studied else []

    @property
    def answer(self) -> Answer:
        if self.claim.cannot:
            return "not asked"
        if self.studied is None or any(verdict.provisional for verdict in self.verdicts):
            return "not trained yet"
        said = [(verdict.word, self.claim.expects[verdict.arm]) for verdict in self.verdicts]
        broken = {finding.arm for finding in self.studied.conclusion.broken}
        if self.studied.conclusion.void or broken & set(self.claim.expects):
            return "void"
        if any(word not in (expected, "inconclusive") for word, expected in said):
            return "contradicts"
        return "agrees" if all(word == expected for word, expected in said) else "too small to tell"


def claims(folder: Path) -> list[Claim]:
    """Of a lab book. Raises UserError, one line."""
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; it lists the claims that the book answers")
    with reading(path):
        try:
            found = fitted(list[Claim], yaml.safe_load(path.read_text(encoding="utf-8")))
        except (yaml.YAMLError, SettingsError) as error:
            raise Damaged(path, f"cannot be read: {' '.join(str(error).split())}") from None
    ids = [claim.id for claim in found]
    if twice := sorted({one for one in ids if ids.count(one) > 1}):
        raise UserError(f"{path}: two claims have the id {twice[0]}")
    return found


def records(folder: Path) -> list[StudyRecord]:
    """The studies of a lab book. Raises UserError, one line, where there is none, or half of one."""
    found = registry.recorded(folder)
    whole = {one.folder for one in found}
    files = [path for name in ("runs.csv", "study.json") for path in sorted(folder.glob(f"*/{name}"))]
    if half := [path.parent for path in files if path.parent not in whole]:
        raise Damaged(half[0], "lacks study.json or runs.csv")
    if not found:
        raise UserError(f"{folder}: no study in it; ablate report STUDY --keep {folder / 'STUDY'} puts one there")
    return found


def studied(study: StudyRecord) -> Studied:
    """Raises UserError for a study that cannot be read."""
    evidence = read(study)
    return Studied(evidence, trust.conclude(evidence), spending.of(evidence))


def rows(claimed: Sequence[Claim], studies: Sequence[Studied]) -> list[Row]:
    """Raises UserError for a claim about an arm that its study does not have."""
    by_name = {one.name: one for one in studies}
    found = [Row(claim, by_name.get(claim.study)) for claim in claimed]
    for row in found:
        if row.studied and (missing := [arm for arm in row.claim.expects if arm not in row.studied.verdicts]):
            raise UserError(f"{FILE}: {row.claim.id} expects something of {missing[0]}, no arm of {row.claim.study}")
    return found
