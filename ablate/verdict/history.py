"""What a study had declared and seen, and when: amendments, looks, and the level that each look is judged at.

A *look* shows differences of arms whose runs have finished. Looking again at the same runs is the same look. More
seeds are another look, and a study that is looked at until it says something says too much: a paired t at 3, 5, 8, 12
and 20 seeds, each at 5 %, makes a false claim in 17 % of studies. So the looks share a level between them:

    the planned look        an arm with all runs of the seeds declared at the first look     alpha
    the k-th other look     fewer seeds or more, or an arm that was added later              alpha x LATER / (k (k + 1))

for each arm, in whatever order they come. The series sums to alpha x LATER. So a study that is judged once is judged
as if there were no such rule, and one that is looked at for ever makes a false claim with a probability of at most

    alpha (1 + LATER) = .065 at alpha = .05

by Bonferroni's inequality, and alpha x LATER more for each time that arms were added (`History.bound`). An arm that was
declared at a look stays in the family when it is dropped, and is the same arm under another name. So does a contrast of
a grid, and alpha does not rise again after a look. The same runs read by another metric, or by one of the same name
that means something else (other items, another focus), are another look. Nothing is assumed of the noise, of how looks
hang together, or how many there will be, and Holm's procedure holds for the family at each of them. The inequality is
for looks whose time does not depend on what was seen. Somebody who looks ahead when it pays most gains what its slack
leaves: .059 with one arm and .064 with 20, computed for known noise (dynamic programming over all times of four further
looks, up to 60 seeds).

False claims of any difference at any look, 2,000 to 40,000 null studies, paired t and Holm; nominal .05:

| looks at seeds | arms | no rule | this rule |
|---|---|---|---|
| 3 | 1, 3, 20 | .050 | .050 |
| 3 5 8 12 20 | 1 / 3 / 20 | .173 / .168 / .169 | .054 / .055 / .055 |
| 3 4 5 ... 20 | 1 / 3 / 20 | .229 / .240 / .253 | .052 / .050 / .050 |
| 2, planned 3, 5 8 | 1 / 3 / 20 | .148 / .153 / .156 | .056 / .056 / .055 |

False claims where one chooses after a look at three seeds, 40,000 null studies, paired t and Holm:

| choice | each look for itself | this rule |
|---|---|---|
| all but the best of 3 / 20 arms dropped | .138 / .540 | .049 / .048 |
| one new arm after the other, 5 / 20 in all | .076 / .164 | .058 / .066 |
| renamed at every look, 3 4 5 ... 20 seeds | .081 | .053 |
| eight metrics in turn | .333 | .062 |

With the noise as this house estimates it (`moderated`), looks at 3 5 8 12 20 seeds, 2,000 studies a row:

| world | first look | no rule | this rule |
|---|---|---|---|
| 3 arms, a first study | .037 | .148 | .042 |
| 1 arm, 30 earlier ones | .025 | .135 | .029 |
| 3 arms of threefold noise, 30 earlier ones | .038 | .150 | .042 |
| one of 3 arms of threefold noise, a first study | .061 | .134 | .065 |

What was weighed: a total of alpha would take .8 alpha for the planned look, whose interval at three seeds would be 13 %
wider, in every study, for the sake of the few that are looked at again. Bounds for every number of seeds at once
(always-valid) cost more yet. Who knows beforehand that there will be looks declares them: a race (`verdict.race`) has
more power at the later ones than this rule leaves.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from ablate.run.ledger import Row
from ablate.scores import answers
from ablate.scores.metrics import OF_TASK, metric_of

if TYPE_CHECKING:
    from ablate.verdict.evidence import Evidence

Reading = tuple[str, str, dict[str, list[str]]]  # a metric, what it reads, and the pairs of runs, by seed

LATER = 0.3  # of alpha, for all looks that were not planned
# What an amendment is shown of, in full; of other keys that they changed
SHOWN = ("question", "hypothesis", "metric", "margin", "confidence", "base", "factor", "focus", "seeds")
RUNS = ("runs", "before", "control_runs")
BESIDE = (*RUNS, "name", "digest", "base_digest", "imports", "control_arms", "arms", "grid", "tasks")
JUDGED = ("metric", "margin", "confidence", "base", "focus", "seeds", "arms")  # what a word depends on


@dataclass(frozen=True)
class Amendment:
    """One change of a declaration after there was something to see."""

    key: str
    change: str  # 0.02 -> 0.03
    time: str
    runs: int  # that had finished
    looks: int  # that had been taken

    @property
    def text(self) -> str:
        seen = f"{counted(self.looks, 'look')} at " if self.looks else ""
        return f"amended after {seen}{counted(self.runs, 'finished run')}: {self.key} {self.change}"


@dataclass(frozen=True)
class History:
    """Rows of the ledger that are about the runs of one base, the oldest first."""

    declared: tuple[Row, ...] = ()
    looks: tuple[Row, ...] = ()  # each once
    elsewhere: int = 0  # looks at runs of another base

    @property
    def first(self) -> dict[str, Any] | None:
        """The declaration that stood when the first run finished; None where words are as under the last one."""
        early = list(takewhile(lambda row: not row["runs"] and not row["looks"], self.declared)) or self.declared[:1]
        if not early:
            return None
        first, last = early[-1]["declaration"], self.declared[-1]["declaration"]
        changed = any(first[key] != last[key] for key in JUDGED) or _reads(first) != _reads(last)
        return first if changed else None

    @property
    def amendments(self) -> list[Amendment]:
        """All edits after a run had finished or a look was taken."""
        found = []
        for before, row in zip(self.declared, self.declared[1:], strict=False):
            if row["runs"] or row["looks"]:
                changes = _changes(before["declaration"], row["declaration"])
                found += [Amendment(key, text, row["time"], row["runs"], row["looks"]) for key, text in changes]
        return found

    @property
    def judged(self) -> bool:
        """Whether a look was at an arm with two pairs, so that what was known of the noise is frozen."""
        return any(math.isfinite(one.get("error", math.inf)) for look in self.looks for one in look["arms"].values())

    def undeclared(self, now: dict[str, Any]) -> str:
        """How a declaration differs from the last that the ledger holds; empty where it does not."""
        if not self.declared:
            return "the ledger does not hold it" if "base_digest" in now else ""
        last = self.declared[-1]["declaration"]
        changes = [f"{key} {text}" for key, text in _changes(last, now)]
        for arm, runs in last["runs"].items():
            ours = now["runs"].get(arm, {})
            # an id that was provisional becomes known without a new declaration
            changes += [
                f"run {arm}/{seed}" for seed, run in runs.items() if run[0] != "~" and ours.get(seed, run) != run
            ]
        return f"the ledger has another: {'; '.join(changes)}" if changes else ""

    def written(self, key: str) -> str:
        """When the present value of a key was declared; empty where no ledger says it."""
        row = None
        for one in reversed(self.declared):
            if one["declaration"].get(key) != self.declared[-1]["declaration"].get(key):
                break
            row = one
        if row is None:
            return ""
        if row["looks"]:
            return f"written after {counted(row['looks'], 'look')} at {counted(row['runs'], 'finished run')}"
        if row["runs"]:
            return f"written when {counted(row['runs'], 'run')} had finished"
        after = f" of this base, after {counted(self.elsewhere, 'look')} at runs of another" if self.elsewhere else ""
        return f"written before the first run{after}"

    def shares(self, look: Row) -> dict[str, float]:
        """Of the study's level, what each arm is judged at in a look, which may be one that was taken before."""
        return {arm: self._share(arm, look) for arm in look["arms"]}

    def next_share(self, arm: str, look: Row) -> float:
        """The share that a further look at the arm, with other seeds than now, would have."""
        planned, others = self._seen(arm, look)
        return _series(len(others) + 1) if planned else 1.0

    def dropped(self, look: Row) -> list[str]:
        """Arms declared at looks up to this one and no more: they stay in the family, since dropping is choosing.

        Also those that no pair was seen of: what fails, or is slow, must not make a verdict stronger.
        """
        found: dict[str, Row] = {}
        before = sum(1 for _ in takewhile(lambda one: not same(one, look), self.looks))
        for one in self.looks[: before + 1]:
            for arm in dict.fromkeys([*one["declared"], *one["arms"]]):
                known = arm in look["declared"] or any(_called(arm, one, there) for there in (look, {"arms": found}))
                if not known:
                    found[arm] = one["arms"].get(arm, {"pairs": {}})
        return list(found)

    @property
    def looked_at(self) -> list[dict[str, Any]]:
        """The declarations that stood at a look, the oldest first."""
        until = [*(row["looks"] for row in self.declared[1:]), len(self.looks)]
        return [row["declaration"] for row, looks in zip(self.declared, until, strict=False) if looks > row["looks"]]

    def bound(self, look: Row, alpha: float) -> float:
        """Of the probability that any look so far, or to come, makes a false claim."""
        looks, additions = [*self.looks, look], 0
        for i, one in enumerate(looks):
            new = (arm for arm in one["arms"] if not any(_called(arm, one, before) for before in looks[:i]))
            additions += any(arm not in looks[0]["declared"] for arm in new)
        return alpha * (1 + LATER * (1 + additions))

    def earlier(self, arm: str, look: Row) -> list[tuple[int, str]]:
        """(seeds, word) of the other looks at an arm by this metric, as the words were printed."""
        seen = [(one, called) for one in self.looks if (called := _called(arm, look, one))]
        others = [one["arms"][name] for one, name in seen if _measure(one) == _measure(look)]
        return [(len(one["pairs"]), one["word"]) for one in others if one["pairs"] != look["arms"][arm]["pairs"]]

    def _share(self, arm: str, look: Row) -> float:
        _, others = self._seen(arm, look)
        here = _read(look, arm)
        return _series(others.index(here) + 1) if here in others else 1.0

    def _seen(self, arm: str, look: Row) -> tuple[Reading | None, list[Reading]]:
        """What was read of an arm at its planned look, and at each of the others, in the order taken."""
        looks = [*self.looks, look]
        planned: Reading | None = None
        others: list[Reading] = []
        for one, name in ((one, name) for one in looks if (name := _called(arm, look, one))):
            reading = _read(one, name)
            if planned in (None, reading) and _is_planned(name, one, looks[0]):
                planned = reading
            elif reading not in others and len(reading[2]) > 1:  # one pair shows no difference
                others.append(reading)
        return planned, others


def of(rows: Sequence[Row], base_digest: str | None) -> History:
    """The history of the runs of one base (`run.ledger`)."""
    mine = [row for row in rows if row["base_digest"] == base_digest]
    looks: list[Row] = []
    reads = ""
    for row in mine:
        if row["kind"] == "declared":
            reads = _reads(row["declaration"])
            continue
        seen = row | {"reads": reads}
        if not any(same(seen, one) for one in looks):
            looks.append(seen)
    elsewhere = sum(row["kind"] == "look" and row["base_digest"] != base_digest for row in rows)
    return History(tuple(row for row in mine if row["kind"] == "declared"), tuple(looks), elsewhere)


def look(evidence: "Evidence") -> Row:
    """What somebody sees who looks at the study now: of each arm the pairs of runs, and whether more may come."""
    arms = {}
    base = evidence.finished(evidence.base)
    for arm in evidence.arms:
        pairs = {str(s): [base[s].record.id, run.record.id] for s, run in evidence.finished(arm).items() if s in base}
        if pairs:
            runs = [*evidence.by_arm[arm].values(), *evidence.by_arm[evidence.base].values()]
            arms[arm] = {"pairs": pairs, "whole": all(run.done for run in runs)}
    declared = evidence.declaration
    names = {"metric": declared["metric"], "seeds": declared["seeds"], "declared": evidence.arms}
    return {**names, "reads": _reads(declared), "arms": arms}


def same(one: Row, other: Row) -> bool:
    """Whether two looks are at the same runs, by the same metric."""
    return _measure(one) == _measure(other) and _pairs(one) == _pairs(other)


def take(evidence: "Evidence", said: dict[str, dict[str, Any]]) -> None:
    """Note a look, and what was said of each arm, unless these runs were looked at before or lie in a lab book."""
    row = look(evidence)
    if row["arms"] and not evidence.study.kept and not any(same(row, one) for one in evidence.history.looks):
        row["arms"] = {arm: one | said[arm] for arm, one in row["arms"].items()}
        del row["reads"]  # the declaration before it says so
        evidence.study.ledger.add("look", base_digest=evidence.declaration.get("base_digest"), **row)


def counted(number: int, what: str) -> str:
    """1 look, 2 looks"""
    return f"{number} {what}{'s' if number != 1 else ''}"


def _pairs(look: Row) -> dict[str, Any]:
    return {arm: one["pairs"] for arm, one in look["arms"].items()}


def _read(look: Row, arm: str) -> Reading:
    return *_measure(look), look["arms"][arm]["pairs"]


def _measure(look: Row) -> tuple[str, str]:
    return look["metric"], look.get("reads", "")


def _reads(declaration: dict[str, Any]) -> str:
    """What a declared metric means beside its name: which items, asked how; or the domain that may be left out."""
    name = declaration["metric"]
    if not name.startswith(OF_TASK):
        return "" if name in ("macro", "micro", *declaration["domains"]) else declaration.get("focus", "")
    asked = metric_of(name, ()).asked
    assert asked is not None
    task = declaration["tasks"][asked.task]
    return json.dumps([answers.without_protocols(task), asked.protocol or answers.protocols_of(task)[0]])


def _called(arm: str, look: Row, other: Row) -> str:
    """The name in another look of an arm of this one: its own, or that of an arm which has a run of it; or empty."""
    runs = {run for _, run in look["arms"].get(arm, {"pairs": {}})["pairs"].values()}
    found = (name for name, one in other["arms"].items() if runs & {run for _, run in one["pairs"].values()})
    return next(found, arm if arm in other["arms"] else "")


def _is_planned(arm: str, look: Row, first: Row) -> bool:
    """Whether the look is what was declared when the first was taken, as far as it is about the arm."""
    as_declared = _measure(look) == _measure(first) and sorted(look["seeds"]) == sorted(first["seeds"])
    return look["arms"][arm]["whole"] and as_declared and arm in first["declared"]


def _series(k: int) -> float:
    return LATER / (k * (k + 1))


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, str]]:
    found = [(key, f"{_text(before[key])} -> {_text(after[key])}") for key in SHOWN if before[key] != after[key]]
    if arms := _changed_entries(before["arms"], after["arms"]):
        found.append(("arms", arms))
    if tasks := _changed_entries(before.get("tasks", {}), after.get("tasks", {})):
        found.append(("tasks", tasks))
    others = [key for key in after if key not in (*SHOWN, *BESIDE) and before.get(key) != after[key]]
    return [*found, *((key, "changed") for key in others)]


def _changed_entries(before: dict[str, Any], after: dict[str, Any]) -> str:
    """+ added, - dropped, ~ changed"""
    signs = [f"+ {arm}" for arm in after if arm not in before] + [f"- {arm}" for arm in before if arm not in after]
    return ", ".join(signs + [f"~ {arm}" for arm in after if arm in before and after[arm] != before[arm]])


def _text(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return ", ".join(map(str, value)) if isinstance(value, Sequence) else str(value)
