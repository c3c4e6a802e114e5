"""What a lab knows of its own noise: every pair of runs ever compared, and which of them tell of a new one.

Noise differs between metrics, sizes and kinds of change by factors (one lab's repeats: sd 0.0016 to 0.041), so no
pair speaks for all. Those that speak for an arm, its region, have

    metric    the same, over the same domains
    size      parameters and tokens within a factor of REACH: over a factor of 2.8 in parameters, published seed noise
              fell by 1.7 in sd
    change    the same settings changed: a pair of runs shares what the change leaves alone, so the noise of a
              difference depends on what was changed

Of the earlier arms, those count that changed the first of these of which there are LEAST: the same settings
(`optimizer.lr`), these and more, settings of the same groups (`optimizer`), of these and more. A wide region may be
quieter than the new arm. So earlier arms lend little, and nothing to a study that is noisier than they are: `moderated`
says how much, from all arms of the study that are of one size.

An arm that trained on nothing stands apart: it lends and borrows no noise. What a recipe of `compress` does to a model
is no draw of training, and scatters over models by recipe: eight bits by 0.0001 bits per byte, 2:4 by 0.05.

Runs of the study being judged enter once, as its own arms, and never as those of an earlier study that shares them.
Earlier arms whose bases share a run are correlated, in whatever studies they stand.

    noises(arms_of(evidence), earlier(evidence), "macro")["share_40"].text
    'from its seeds, 3 arms of the study and 11 earlier arms (mixture.weights; davinci_sweep): sd 0.0126, worth 3.5 ...'
"""

import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ablate.run.ledger import now
from ablate.run.settings import UserError
from ablate.run.study_record import StudyRecord, study_record
from ablate.scores.metrics import METRICS, OF_TASK, Scores, metric_of, readings
from ablate.verdict.evidence import Evidence, Run, recall
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
    keys: frozenset[str]  # settings in which it differs
    parameters: float
    tokens: float
    domains: tuple[str, ...]
    ids: frozenset[str]  # of the arm's runs, and of their weights: equal runs may have other ids in another study
    base: frozenset[str]  # those of the base
    pairs: dict[str, list[tuple[float, float]]]  # by metric: values of (base, arm), by seed
    digest: str = ""  # of the study's declaration
    items: str = ""  # digest of those that the study's metric is of, if it is of a task

    @property
    def kind(self) -> frozenset[str]:
        """The groups of these settings."""
        return kind_of(self.keys)

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
    """What is known of an arm's noise beside its own seeds, and from where."""

    noise: Noise
    changed: frozenset[str]  # by the earlier arms: settings, or groups of them
    arms: int  # earlier ones that are like it
    studies: tuple[str, ...]  # of these
    own: int = 0  # arms of the study itself whose noise it may use
    quieter: bool = False  # the earlier arms are, so that they are left out
    apart: bool = False  # the arm trained on nothing

    @property
    def text(self) -> str:
        if self.apart:
            return "from its own seeds alone, as nothing was trained"
        earlier = f"{self.arms} earlier arms ({name_of(self.changed)}; {', '.join(self.studies)})"
        enough = self.arms >= moderated.LEAST
        sources = [f"{self.own} arms of the study"] * (self.own > 2) + [earlier] * (enough and not self.quieter)
        left_out = f"; noisier than {earlier}, which do not count" if enough and self.quieter else ""
        few = "" if enough else f"; fewer than {moderated.LEAST} earlier arms are like it ({self.arms})"
        if not self.noise.df:
            return f"from its own seeds alone{left_out or few}"
        sd, df = math.sqrt(self.noise.variance), self.noise.df
        return f"from its seeds, {' and '.join(sources)}: sd {sd:.4f}, worth {df:.1f} degrees of freedom{left_out}"


def read(outputs: Path | str, focus: str | None = None, leave_out: str = "") -> tuple[Past, ...]:
    """All arms that have two pairs or more: of all studies in a folder of records and in the lab book beside it.

    focus: of the study that is judged, which `rest` leaves out; if not given, each study's own.
    leave_out: the name of a study that is not read.
    """
    return _of(studies(outputs), focus, leave_out)


def studies(outputs: Path | str) -> list[StudyRecord]:
    """In a folder of records and in the lab book beside it."""
    book = Path(outputs).parent / BOOK
    return [*recorded(outputs), *(_kept(book) if book != Path(outputs) else [])]


def recorded(outputs: Path | str) -> list[StudyRecord]:
    """In a folder of records, or in a lab book."""
    names = sorted(path.parent.name for path in Path(outputs).glob("studies/*/study.json"))
    return [study_record(outputs, name) for name in names] or _kept(Path(outputs))


def earlier(evidence: Evidence) -> tuple[Past, ...]:
    """The arms of all other studies that there were when this one was first looked at.

    Before that, those that there are now: of this one's lab, or of the lab book for a study out of it. None where what
    was kept at that look is gone: later studies must not change the words.
    """
    if (frozen := evidence.study.prior()) is not None:
        # what the metric `rest` is depends on the focus
        same = frozen["focus"] == evidence.scope.focus
        return tuple(_thawed(one) for one in frozen["arms"]) if same else ()
    if evidence.history.judged:
        return ()
    place, focus, name = evidence.study.folder.parent, evidence.scope.focus, evidence.declaration["name"]
    return read(place.parent, focus, name) if place.name == "studies" else _of(_kept(place), focus, name)


def freeze(evidence: Evidence, past: Iterable[Past]) -> None:
    """Keep with a study what earlier ones tell of the noise of its arms, so that later ones never change its words.

    Nothing is kept before the study has two pairs, nor twice, nor in a lab book.
    """
    own, study = arms_of(evidence), evidence.study
    if not own or study.kept or study.prior() is not None or evidence.history.judged:
        return
    found = [one for one in past if any(one.like(arm) for arm in own)]
    study.keep_prior(
        {
            "time": now(),
            "ledger": study.ledger.begun,
            "focus": evidence.scope.focus,
            "studies": dict(sorted({one.study: one.digest for one in found}.items())),
            "arms": [_frozen(one) for one in found],
        }
    )


def _frozen(one: Past) -> dict[str, Any]:
    return {key: sorted(value) if isinstance(value, frozenset) else value for key, value in asdict(one).items()}


def _thawed(plain: dict[str, Any]) -> Past:
    sets = {key: frozenset(plain[key]) for key in ("keys", "ids", "base")}
    pairs = {metric: [(base, arm) for base, arm in found] for metric, found in plain["pairs"].items()}
    values: dict[str, Any] = plain | sets | {"domains": tuple(plain["domains"]), "pairs": pairs}
    return Past(**values)


def _kept(folder: Path) -> list[StudyRecord]:
    from ablate.verdict.book import Book  # pandas is slow to import, and most verdicts need no book

    return [book for path in sorted(folder.glob("*/study.json")) if (book := Book(path.parent)).exists]


def _of(records: Iterable[StudyRecord], focus: str | None, leave_out: str) -> tuple[Past, ...]:
    """Each run once, though a study may be recorded and in the book too. A study that cannot be read is told."""
    found: dict[frozenset[str], Past] = {}
    for study in records:
        try:
            if study.read()["name"] != leave_out:
                seen = recall(study)
                found = {one.ids: one for one in arms_of(seen if focus is None else seen.with_focus(focus))} | found
        except UserError as error:
            print(f"tells nothing of the noise: {error}", flush=True)
    return tuple(found.values())


def arms_of(evidence: Evidence) -> list[Past]:
    """The arms of one study that have two pairs or more."""
    return [_past(evidence, arm) for arm in evidence.arms if len(evidence.pairs(arm)) > 1]


def _past(evidence: Evidence, arm: str) -> Past:
    arms = evidence.finished(arm)
    first = next(iter(arms.values())).result
    base = evidence.finished(evidence.base)
    both = [[_values(evidence, run) for run in pair] for _, pair in evidence.pairs(arm)]
    known = [name for name in both[0][0] if all(name in values for pair in both for values in pair)]
    return Past(
        study=evidence.declaration["name"],
        digest=evidence.declaration.get("digest", ""),
        arm=arm,
        keys=keys_of(evidence.declaration["arms"].get(arm, {})),
        parameters=first["parameters"],
        tokens=first["tokens"],
        domains=tuple(evidence.domains),
        ids=_names(arms.values()),
        base=_names(base.values()),
        items=_items(evidence, first),
        pairs={name: [(of_base[name], of_arm[name]) for of_base, of_arm in both] for name in known},
    )


def _values(evidence: Evidence, run: Run) -> dict[str, float]:
    """What the registry keeps of a run: all that its weights can do, and the study's metric whatever that is."""
    metric, known = evidence.declaration["metric"], readings(run.result, evidence.scope)
    value = evidence.value(run.result, metric) if metric.startswith(OF_TASK) or metric in METRICS else None
    return known if value is None else known | {metric: value}


def _items(evidence: Evidence, result: Scores) -> str:
    metric = evidence.declaration["metric"]
    asked = metric_of(metric, evidence.domains).asked if metric.startswith(OF_TASK) else None
    answers = asked.answers(result, evidence.scope) if asked else None
    return answers.header["items_digest"] if answers else ""


def _names(runs: Collection[Run]) -> frozenset[str]:
    weights = (run.result.get("weights_sha256") for run in runs)
    return frozenset(run.record.id for run in runs) | frozenset(one for one in weights if one)


def keys_of(difference: Iterable[str]) -> frozenset[str]:
    """The settings in which an arm differs: `mixture.weights`, whatever their stages and entries."""
    return frozenset(key.split("@")[0] for key in difference)


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
    return {one.arm: _lent(one, own, _earlier(one, others, metric), metric) for one in own}


def before(one: Past, past: Iterable[Past], metric: str) -> Known:
    """What earlier arms tell of the noise of an arm, all of it: how much it may use is said when it has seeds."""
    return _earlier(one, _others([one], past), metric)


def regions(past: Iterable[Past], metric: str) -> list[Known]:
    """What all studies together tell of the noise of each kind of arm, at each size that there was."""
    groups: list[list[Past]] = []
    for one in past:
        found = next((group for group in groups if group[0].kind == one.kind and group[0].like(one)), None)
        groups.append([one]) if found is None else found.append(one)
    paired = ([one for one in group if len(one.differences(metric)) > 1] for group in groups)
    return [_told(group[0].kind, arms, metric) for group, arms in zip(groups, paired, strict=True)]


def _earlier(one: Past, others: Sequence[Past], metric: str) -> Known:
    """By the narrowest region that has enough arms."""
    near = [other for other in others if one.tokens and other.like(one) and len(other.differences(metric)) > 1]
    if metric.startswith(OF_TASK):  # other items have other noise
        near = [other for other in near if other.items == one.items]
    found = [
        (one.keys, [other for other in near if other.keys == one.keys]),
        (one.keys, [other for other in near if other.keys >= one.keys]),
        (one.kind, [other for other in near if other.kind == one.kind]),
        (one.kind, [other for other in near if other.kind >= one.kind]),
    ]
    return _told(*next((region for region in found if len(region[1]) >= moderated.LEAST), found[-1]), metric)


def _told(changed: frozenset[str], arms: Sequence[Past], metric: str) -> Known:
    blocks = [[arms[i].differences(metric) for i in block] for block in _blocks([arm.base for arm in arms])]
    return Known(moderated.estimate(blocks), changed, len(arms), tuple(sorted({arm.study for arm in arms})))


def _lent(one: Past, own: Sequence[Past], earlier: Known, metric: str) -> Known:
    """The part of it that an arm of this study may use, and what the other arms of the study add."""
    if not one.tokens:
        return replace(earlier, noise=Noise(), apart=True)
    if len(one.differences(metric)) < moderated.SEEDS:
        return replace(earlier, noise=Noise())
    block = [arm.differences(metric) for arm in own if arm.like(one)]
    return replace(
        earlier,
        noise=moderated.lent(earlier.noise, block),
        own=sum(len(d) >= moderated.SEEDS for d in block),
        quieter=not moderated.past(earlier.noise, block).df,
    )


def _blocks(bases: Sequence[frozenset[str]]) -> list[list[int]]:
    """Positions of bases that have a run in common, directly or through others."""
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
