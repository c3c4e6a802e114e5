"""What a lab knows of its own noise: every pair of runs ever compared, and which of them tell of a new one.

Noise differs between metrics, sizes and kinds of change by factors (one lab's repeats: sd 0.0016 to 0.041), so no
pair speaks for all. Those that speak for an arm, its region, have

    metric    the same, over the same domains
    size      parameters and tokens within a factor of REACH: over a factor of 2.8 in parameters, published seed noise
              fell by 1.7 in sd
    kind      the same groups of settings changed ({mixture}, {mixture, schedule}): a pair of runs shares what the
              change leaves alone, so the noise of a difference depends on what was changed. Where fewer than
              LEAST arms did just that, those that changed all that and more: they are paired no better

Runs of the study being judged enter once, as its own arms, and never as those of an earlier study that shares them.
Arms whose bases share a run are correlated, in whatever studies they stand.

    noises(arms_of(evidence), earlier(evidence), "macro")["share_40"].text
    '24 like arms (mixture; mix_sweep, qa_sweep): sd 0.0031, worth 9.4 degrees of freedom'
"""

import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ablate.run.record import StudyRecord, study_record
from ablate.scores.metrics import readings
from ablate.verdict.evidence import Evidence, Run
from ablate.verdict.evidence import read as read_evidence
from ablate.verdict.spread import Gain, Pairs, of_pairs
from ablate.verdict.statistics import moderated
from ablate.verdict.statistics.looks import Noise

REACH = 2.0
GROUP = re.compile(r"(start\.)*[^.]+")
BOOK = "experiments"  # the lab book, beside the folder of records


@dataclass(frozen=True)
class Past:
    """One arm beside its base."""

    study: str
    arm: str
    kind: frozenset[str]  # groups of settings in which it differs
    parameters: float
    tokens: float
    domains: tuple[str, ...]
    ids: frozenset[str]  # of the arm's runs, and of their weights: equal runs may have other ids in another study
    base: frozenset[str]  # those of the base
    pairs: dict[str, list[tuple[float, float]]]  # by metric: values of (base, arm), by seed

    def differences(self, metric: str) -> list[float]:
        return [arm - base for base, arm in self.pairs.get(metric, [])]

    def like(self, other: "Past") -> bool:
        """Whether size and domains are those of the same region."""
        near = all(
            max(a, b) <= REACH * min(a, b)
            for a, b in ((self.parameters, other.parameters), (self.tokens, other.tokens))
        )
        return near and self.domains == other.domains


@dataclass(frozen=True)
class Known:
    """What is known of an arm's noise, and from where."""

    noise: Noise
    kind: frozenset[str]
    arms: int  # it is known from
    studies: tuple[str, ...]

    @property
    def text(self) -> str:
        kind = name_of(self.kind)
        if not self.arms:
            return "no two pairs: nothing tells its noise"
        if not self.noise.df:
            return f"only {self.arms} of {moderated.LEAST} arms like it ({kind}): its seeds alone tell its noise"
        sd = math.sqrt(self.noise.variance)
        worth = "exactly" if self.noise.df >= moderated.MOST else f"worth {self.noise.df:.1f} degrees of freedom"
        return f"{self.arms} like arms ({kind}; {', '.join(self.studies)}): sd {sd:.4f}, {worth}"


def read(outputs: Path | str, focus: str | None = None, leave_out: str = "") -> tuple[Past, ...]:
    """All arms that have two pairs or more: of all studies in a folder of records and in the lab book beside it.

    focus: of the study that is judged, which `rest` leaves out; if not given, each study's own.
    leave_out: the name of a study that is not read.
    """
    return _of(studies(outputs), focus, leave_out)


def studies(outputs: Path | str) -> list[StudyRecord]:
    """In a folder of records and in the lab book beside it."""
    return [*recorded(outputs), *_kept(Path(outputs).parent / BOOK)]


def recorded(outputs: Path | str) -> list[StudyRecord]:
    """In a folder of records."""
    names = sorted(path.parent.name for path in Path(outputs).glob("studies/*/study.json"))
    return [study_record(outputs, name) for name in names]


def earlier(evidence: Evidence) -> tuple[Past, ...]:
    """The arms of all other studies of this one's lab; of a study out of the lab book, those in the book."""
    place, focus, name = evidence.study.folder.parent, evidence.scope.focus, evidence.declaration["name"]
    return read(place.parent, focus, name) if place.name == "studies" else _of(_kept(place), focus, name)


def _kept(folder: Path) -> list[StudyRecord]:
    from ablate.verdict.book import Book  # pandas is slow to import, and most verdicts need no book

    return [book for path in sorted(folder.glob("*/study.json")) if (book := Book(path.parent)).exists]


def _of(records: Iterable[StudyRecord], focus: str | None, leave_out: str) -> tuple[Past, ...]:
    """Each run once, though a study may be recorded and in the book too."""
    found: dict[frozenset[str], Past] = {}
    for study in records:
        if study.read()["name"] != leave_out:
            evidence = read_evidence(study)
            found = {one.ids: one for one in arms_of(evidence if focus is None else evidence.with_focus(focus))} | found
    return tuple(found.values())


def arms_of(evidence: Evidence) -> list[Past]:
    """The arms of one study that have two pairs or more."""
    base = evidence.finished(evidence.base).keys()
    return [_past(evidence, arm) for arm in evidence.arms if len(evidence.finished(arm).keys() & base) > 1]


def _past(evidence: Evidence, arm: str) -> Past:
    arms = evidence.finished(arm)
    first = next(iter(arms.values())).result
    base = evidence.finished(evidence.base)
    both = [[readings(runs[seed].result, evidence.scope) for runs in (base, arms)] for seed in arms if seed in base]
    known = [name for name in both[0][0] if all(name in values for pair in both for values in pair)]
    return Past(
        study=evidence.declaration["name"],
        arm=arm,
        kind=kind_of(evidence.declaration["arms"].get(arm, {})),
        parameters=first["parameters"],
        tokens=first["tokens"],
        domains=tuple(evidence.domains),
        ids=_names(arms.values()),
        base=_names(base.values()),
        pairs={name: [(of_base[name], of_arm[name]) for of_base, of_arm in both] for name in known},
    )


def _names(runs: Collection[Run]) -> frozenset[str]:
    weights = (run.result.get("weights_sha256") for run in runs)
    return frozenset(run.record.id for run in runs) | frozenset(one for one in weights if one)


def kind_of(difference: Iterable[str]) -> frozenset[str]:
    """The groups of the keys in which an arm differs; `start.mixture` where it did so in the phase before."""
    return frozenset(found[0] for key in difference if (found := GROUP.match(key)))


def name_of(kind: frozenset[str]) -> str:
    return " + ".join(sorted(kind)) or "no change"


def kinds(evidence: Evidence) -> dict[str, list[str]]:
    """Arms by the groups of settings in which they differ from the base: `model`, `mixture + schedule`."""
    found: dict[str, list[str]] = {}
    for arm in evidence.arms:
        found.setdefault(name_of(kind_of(evidence.declaration["arms"].get(arm, {}))), []).append(arm)
    return found


def noises(own: Sequence[Past], past: Iterable[Past], metric: str) -> dict[str, Known]:
    """Of every arm of a study, what its own arms and earlier studies tell of its noise in this metric."""
    others = _others(own, past)
    found: dict[tuple[frozenset[str], float, float], Known] = {}
    for one in own:
        region = (one.kind, one.parameters, one.tokens)
        if region not in found:
            found[region] = _known(one, own, others, metric)
    return {one.arm: found[one.kind, one.parameters, one.tokens] for one in own}


def regions(past: Iterable[Past], metric: str) -> list[Known]:
    """What all studies together tell of the noise of each kind of arm, at each size that there was."""
    seen: list[Past] = []
    for one in (everything := list(past)):
        if not any(one.kind == other.kind and one.like(other) for other in seen):
            seen.append(one)
    return [_known(one, [], everything, metric) for one in seen]


def before(like: Past, past: Iterable[Past], metric: str) -> Known:
    """What earlier studies alone tell of the noise of an arm that has no pairs yet."""
    return _known(like, [], _others([like], past), metric)


def _known(one: Past, own: Sequence[Past], others: Sequence[Past], metric: str) -> Known:
    near = [other for other in (*others, *own) if other.like(one) and len(other.differences(metric)) > 1]
    same = [other for other in near if other.kind == one.kind]
    chosen = same if len(same) >= moderated.LEAST else [other for other in near if other.kind >= one.kind]
    ours, *rest = _blocks([own[0].base if own else frozenset(), *(other.base for other in chosen)])
    differences = [[chosen[i - 1].differences(metric) for i in block if i] for block in (ours, *rest)]
    studies = tuple(sorted({other.study for other in chosen}))
    return Known(
        moderated.estimate([block for block in differences[1:] if block], differences[0]),
        one.kind,
        len(chosen),
        studies,
    )


def _blocks(bases: Sequence[frozenset[str]]) -> list[list[int]]:
    """Positions of bases that have a run in common, directly or through others; that of the first base first."""
    found: list[tuple[set[str], list[int]]] = []
    for number, base in enumerate(bases):
        touched = [one for one in found if one[0] & base]
        found = [one for one in found if one not in touched]
        joined = ({run for one in touched for run in one[0]} | base, [i for one in touched for i in one[1]] + [number])
        found.append(joined)
    return sorted(sorted(numbers) for _, numbers in found)


def _others(own: Sequence[Past], past: Iterable[Past]) -> list[Past]:
    """Arms of other studies, each of its runs once, and none that the study being judged has too."""
    seen = {run for one in own for run in one.ids}
    found = []
    for one in past:
        if one.study not in {ours.study for ours in own} and not one.ids & seen:
            found.append(one)
            seen |= one.ids
    return found


def pairings(arms: Iterable[Past], metric: str) -> dict[frozenset[str], Gain]:
    """The gain from pairing that was measured, by kind of arm."""
    groups: dict[frozenset[str], list[Pairs]] = {}
    for one in arms:
        if len(pairs := one.pairs.get(metric, [])) > 1:
            groups.setdefault(one.kind, []).append(pairs)
    return {kind: found for kind, group in groups.items() if (found := of_pairs(group)) is not None}
