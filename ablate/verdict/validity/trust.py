"""Whether a study can be believed, before what it says: the findings of all checks, and the verdicts they leave.

    conclusion = conclude(read(study_record("outputs", "mix_sweep")))
    conclusion.sentence
    Void: null control: `none` of seed 0, trained twice, is not the same: evaluation after step 14, ...

A finding that is not held withholds words: of its arm, or of all when it is the study's or the base's. The numbers
stay, for whoever looks for the reason; the words are what somebody acts on.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from ablate.run.settings import UserError
from ablate.verdict import compare, history, registry, skips
from ablate.verdict.compare import Verdict
from ablate.verdict.contrasts import Contrast, contrasts
from ablate.verdict.evidence import Evidence, under_first
from ablate.verdict.registry import Past
from ablate.verdict.statistics.paired import Word
from ablate.verdict.validity import confounds, controls, scores
from ablate.verdict.validity.finding import Finding

# Every check of a study; each says what it found, held or not
CHECKS: tuple[Callable[[Evidence], list[Finding]], ...] = (
    controls.findings,
    confounds.findings,
    scores.findings,
    skips.findings,
)

SEED, NUMBER = re.compile(r"\bseed (\d+)"), re.compile(r"\b[0-9a-f]*\d[0-9a-f.,]*")  # 14, 2.31, 5f0c1d2e


@dataclass(frozen=True)
class Conclusion:
    """What a study says (`verdicts`), as far as what was found about it (`findings`) lets it."""

    base: str
    verdicts: list[Verdict]
    findings: list[Finding]
    past: Sequence[Past] = ()  # arms of earlier studies, which told of the noise
    contrasts: Sequence[Contrast] = ()  # of a grid; none that a finding concerns

    @property
    def words(self) -> list[Word]:
        return [verdict.word for verdict in self.verdicts]

    @property
    def broken(self) -> list[Finding]:
        return [finding for finding in self.findings if not finding.held]

    @property
    def void(self) -> bool:
        """Whether no verdict of the study can be believed."""
        return any(_concerns_all(finding, self.base) for finding in self.broken)

    @property
    def sentence(self) -> str:
        """The verdict of the study in one plain sentence, after what voids it, if anything does."""
        if self.void:
            of_all = [f for f in self.broken if _concerns_all(f, self.base)]
            return f"Void: {'; '.join(_said(of_all))}."
        arms = dict.fromkeys(finding.arm for finding in self.broken)
        reasons = "; ".join(f"`{arm}`, {one}" for arm in arms for one in _said(f for f in self.broken if f.arm == arm))
        rest = compare.sentence(self.verdicts)
        return f"Void: {reasons}. {rest}" if reasons else rest


def conclude(evidence: Evidence, past: Sequence[Past] | None = None) -> Conclusion:
    """Judge every arm, check the study, and withhold the words that the checks do not bear.

    past: as in `compare.verdicts`.
    """
    past = registry.earlier(evidence) if past is None else past
    judged = compare.verdicts(evidence, past)  # before what is checked: it says which runs lack the metric
    found = [finding for check in (_record, *CHECKS) for finding in check(evidence)]
    for phase in evidence.before:
        name = phase.declaration["phase"]
        of_phase = [*confounds.findings(phase), *scores.findings(phase)]
        found += [replace(one, text=f"{name}: {one.text}") for one in of_phase]
    verdicts = withheld(judged, found, evidence.base)
    if first := under_first(evidence):
        at_first = _at_first(first, found, past)
        verdicts = [replace(v, notes=(*v.notes, at_first(v.arm))) for v in verdicts]
    broken = {finding.arm for finding in found if not finding.held}
    grid = [one for one in contrasts(evidence) if not broken & {"", evidence.base, *one.terms}]
    return Conclusion(evidence.base, verdicts, found, past, grid)


def look(evidence: Evidence, conclusion: Conclusion) -> None:
    """Note in the study's ledger that somebody is shown what is concluded; with the first look its prior is frozen."""
    registry.freeze(evidence, conclusion.past)
    said = {
        v.arm: {"word": v.word, "mean": v.effect.mean, "error": v.effect.error, "df": v.effect.df}
        | {"level": v.effect.level, "prior_variance": v.known.noise.variance, "prior_df": v.known.noise.df}
        for v in conclusion.verdicts
    }
    history.take(evidence, said)


def _record(evidence: Evidence) -> list[Finding]:
    """How often the study was looked at, what was declared anew after there was something to see, what is missing."""
    seen, now = evidence.history, history.look(evidence)
    looks = [one for one in seen.looks if not history.same(one, now)]
    found = [Finding("amended", "", True, one.text) for one in seen.amendments] + _damage(evidence)
    if seen.elsewhere:
        text = f"{history.counted(seen.elsewhere, 'look')} at runs of another base, under the name of this study"
        found.append(Finding("looks", "", True, text))
    if looks and not evidence.race:
        at = ", ".join(
            str(max(len(arm["pairs"]) for arm in one["arms"].values())) for one in (*looks, now) if one["arms"]
        )
        bound = seen.bound(now, 1 - evidence.confidence)
        text = f"{len(looks) + 1}, at {at} seeds; a false claim at any of them has a probability of at most {bound:.3g}"
        found.append(Finding("looks", "", True, text))
    return found


def _damage(evidence: Evidence) -> list[Finding]:
    """What was deleted or edited of the study's own record."""
    seen, ledger, prior = evidence.history, evidence.study.ledger, evidence.study.prior()
    found = []
    if changed := seen.undeclared(evidence.declaration):
        found.append(Finding("record", "", False, f"the declaration was edited by hand, or a row deleted: {changed}"))
    if not ledger.whole:
        found.append(Finding("record", "", False, "rows of the ledger were deleted or edited"))
    if prior and prior["ledger"] not in ("", ledger.begun):
        found.append(Finding("record", "", False, "the ledger is not the one that there was at the first look"))
    if seen.judged and prior is None:
        text = "what earlier studies told at the first look is gone (prior.json): words are from the study's own runs"
        found.append(Finding("record", "", True, text))
    return found


def _at_first(first: Evidence, found: list[Finding], past: Sequence[Past]) -> Callable[[str], str]:
    """What is said of an arm under the first declaration."""
    try:
        words = {v.arm: v.word for v in withheld(compare.verdicts(first, past), found, first.base)}
    except UserError:  # its metric is of a task that nobody has asked, and that is declared no more
        return lambda arm: "the metric of the first declaration was never measured"
    return lambda arm: f"{words[arm]} under the first declaration" if arm in words else "not in the first declaration"


def withheld(verdicts: list[Verdict], found: list[Finding], base: str) -> list[Verdict]:
    """The verdicts, `inconclusive` and with the reason where a finding that is not held concerns the arm."""
    kept = []
    for verdict in verdicts:
        concerned = [f for f in found if not f.held and (f.arm == verdict.arm or _concerns_all(f, base))]
        if concerned:
            notes = (*dict.fromkeys(f"void: {f.check}" for f in concerned), *verdict.notes)
            verdict = replace(verdict, word="inconclusive", notes=notes)
        kept.append(verdict)
    return kept


def _concerns_all(finding: Finding, base: str) -> bool:
    return finding.arm in ("", base)


def _said(findings: Iterable[Finding]) -> list[str]:
    """What was found, once for all seeds where only numbers differ: `confounds: seed 0: ... (with seed 1, 2 too)`."""
    groups: dict[str, dict[str, str]] = {}  # by what is alike, the first of each seed
    for finding in findings:
        said = f"{finding.check}: {finding.text}".rstrip(".")
        seed = SEED.search(said)
        alike = NUMBER.sub("#", said) if seed else said
        groups.setdefault(alike, {}).setdefault(seed[1] if seed else "", said)
    return [_with_seeds(said, more) for (_, said), *more in (group.items() for group in groups.values())]


def _with_seeds(said: str, more: list[tuple[str, str]]) -> str:
    return f"{said} (with seed {', '.join(seed for seed, _ in more)} too)" if more else said
