"""One idea of a gate carried out: from its overrides, by pairs of runs, to its word (`verdict.statistics.stream`).

    pair 1   incumbent, idea      seed 71234001000 ->  a bet  ->  pair 2  seed 71234001001  ->  ...  ->  a word
    keep     AGAIN pairs more, on seeds that had no part in the word: they say how much better, the others flatter

An idea is a study of one arm, declared with all the pairs that it may come to need, of which the gate trains one after
the other. Seeds are of the idea alone, so that no earlier look has touched their runs, and the incumbent is measured
anew beside every idea. Its runs are scored on held-out rows of its own (`evaluation.part`), as long as there are any.
"""

import math
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ablate.console.compose import loaded, user_errors, words_of
from ablate.data.tokens import num_parts
from ablate.run.gates import GateRecord
from ablate.run.identity import difference
from ablate.run.idle import check_acts
from ablate.run.overrides import OF_STUDY, key_of
from ablate.run.record import run_record
from ablate.run.settings import Settings, UserError
from ablate.run.study import Budget, Controls
from ablate.run.study_record import StudyRecord, study_record
from ablate.scores.metrics import metric_of
from ablate.sweep import study as studies
from ablate.sweep.audit import ask, audit, is_of_text, rescore, with_text
from ablate.sweep.composition import Composer
from ablate.sweep.study import Plan, Run
from ablate.sweep.texts import with_corpora
from ablate.sweep.worker import looked_up
from ablate.verdict.evidence import Evidence, read
from ablate.verdict.ideas import Idea, Stream, Words, merged
from ablate.verdict.statistics import stream
from ablate.verdict.statistics.stream import Judged

if TYPE_CHECKING:
    from ablate.sweep.wave import Wave

INCUMBENT, IDEA = "incumbent", "idea"
AGAIN = 3  # pairs after a keep
SPACE = 1000  # seeds of an idea, and ideas of a gate before they come to those of the next one
DIVERGED = 1e30  # difference of a run that has no end: more than any, and its square is still a number
BEFORE = Judged("", 0, 1.0)  # the first pair


class NoChange(UserError):
    """What was given as an idea leaves the incumbent as it is, or is another seed of it."""


@dataclass(frozen=True)
class Pair:
    """The incumbent and the idea, composed."""

    incumbent: Settings
    idea: Settings
    factor: list[str]


def parted(words: Sequence[str]) -> tuple[Words, Words]:
    """What is said of the idea, and where its runs, and those of the incumbent, are trained. Raises UserError."""
    if "where.dry_run" in map(key_of, words):
        raise UserError("where.dry_run: of a gate that is --dry-run")
    where = [key_of(word).split(".")[0] == "where" for word in words]
    change, place = (tuple(compress(words, one)) for one in ([not one for one in where], where))
    return change, place


def composed(line: Namespace, incumbent: Words, change: Words) -> Pair:
    """Both configurations. Raises NoChange, and UserError for what is no idea."""
    for word in change:
        if key_of(word).split(".")[0] in OF_STUDY:
            raise UserError(f"{word}: is of the whole gate, and stands behind --begin")
    base, idea = (settings(line, one) for one in (incumbent, merged(incumbent, change)))
    differs = {key for key in difference(base, idea) if key != "seed"}
    factor = sorted(differs | set(filter(is_of_text, map(key_of, change))))
    if not factor:
        raise NoChange("another seed is no change" if base.seed != idea.seed else "nothing differs from the incumbent")
    if base.seed != idea.seed:
        raise UserError("seed: must be left out, the pairs of an idea have seeds of their own")
    check_acts(change, idea)
    return Pair(base, idea, factor)


def settings(line: Namespace, words: Words) -> Settings:
    """What these overrides compose. Raises UserError."""
    given = Namespace(words=list(words), outputs=line.outputs, config_dir=line.config_dir)
    loader, master, jobs = loaded(given)
    if len(jobs) > 1:
        raise UserError(f"{' '.join(words)}: must be one configuration; ideas are judged one after another")
    with user_errors():
        found = looked_up(Composer(loader, master)(words_of(given)))
    if found.study.phases:
        raise UserError("study.phases: a gate judges single runs, which have no phases")
    return found


def new(gate: GateRecord, seen: Stream, change: Words) -> Idea:
    """The next idea, not opened yet; the part of the held-out text is found when that is prepared."""
    number = seen.next_number
    seed = int(gate.ledger.begun, 16) * SPACE**2 + number * SPACE  # of this gate, also if its name was used before
    name = f"{gate.name}-{number:03}"
    return Idea(
        number=number,
        change=change,
        incumbent=seen.incumbent,
        stake=seen.next_stake,
        seed=seed,
        part=0,
        fresh=False,
        study=name,
    )


def planned(pair: Pair, idea: Idea, limit: int) -> Plan:
    """The study of an idea, with its text. Raises NoChange, and UserError where the text cannot be had."""
    study = replace(
        pair.incumbent.study,
        name=idea.study,
        question=f"is {' '.join(idea.change)} better than the incumbent?",
        hypothesis="",
        base=INCUMBENT,
        factor=pair.factor,
        arms={},
        grid={},
        seeds=list(range(idea.seed, idea.seed + limit + AGAIN)),
        skips={},
        budget=Budget(),
        controls=Controls(null_seeds=0, positive=[]),
    )
    base, changed = (replace(one, study=study) for one in (pair.incumbent, pair.idea))
    plan = with_text(with_corpora(studies.plan(study, base, {IDEA: changed})))
    if not plan.arms[1].difference:
        raise NoChange("the text is that of the incumbent, and nothing else differs")
    return plan


def on_part(plan: Plan, part: int) -> Plan:
    """The plan whose runs are scored on that part of the held-out rows, audited. Raises UserError."""
    arms = []
    for arm in plan.arms:
        evaluation = replace(arm.settings.evaluation, part=part)
        arms.append(replace(arm, settings=replace(arm.settings, evaluation=evaluation)))
    plan = replace(plan, arms=arms)
    audit(plan)
    return plan


def part_of(plan: Plan, number: int) -> tuple[int, bool]:
    """The part of an idea of that number, and whether no earlier one had it. Part 0 is what other studies look at."""
    s = plan.arms[0].settings
    corpora = [arm.corpus for arm in plan.arms]
    parts = min(num_parts(one, name, s.data.span, s.evaluation.spans) for one in corpora for name in s.data.domains)
    return (1 + (number - 1) % (parts - 1), number < parts) if parts > 1 else (0, False)


def judge(plan: Plan, idea: Idea, seen: Stream, console: Console) -> dict[str, Any]:
    """Train pairs until there is a word; what the ledger is to hold of it. Raises UserError: a run failed, or the study
    of a keep is void."""
    from ablate.sweep import conduct  # torch, which mistakes should not wait for
    from ablate.sweep.cost import prospect

    record = study_record(plan.arms[0].settings.where.outputs, idea.study)
    conduct.mend(plan, record)
    conduct.begin(plan)
    studies.announce(plan, record)
    bets = Bets(plan, record, idea, seen, console)
    outcomes = conduct.trained(plan, prospect(plan), bets.waves(), console)
    conduct.refuse_unfinished(plan, outcomes, console)
    assert bets.judged.word  # or a run was given up
    if bets.judged.word == "keep":
        check(record)
    return bets.row()


def check(record: StudyRecord) -> None:
    """Raises UserError where the study of an idea cannot be believed."""
    from ablate.verdict.validity import trust

    evidence = read(record)
    rescore(evidence)
    if broken := trust.conclude(evidence).broken:
        raise UserError(f"{record.name} is void, and the idea has no word: {'; '.join(one.text for one in broken)}")


@dataclass
class Bets:
    """The pairs of one idea, as they come; differences are better below 0 whatever the metric."""

    plan: Plan
    record: StudyRecord
    idea: Idea
    seen: Stream
    console: Console
    judged: Judged = BEFORE
    reason: str = ""
    differences: list[float] = field(default_factory=list)  # that were judged
    again: list[float] = field(default_factory=list)  # after a keep

    def waves(self) -> Iterator["Wave"]:
        """A pair at a time until there is a word, and after a keep AGAIN together; or until a run is given up."""
        from ablate.sweep.wave import Wave

        number, limit = 0, limit_of(self.idea, self.seen)
        while not self.judged.word:
            number += 1
            if wanted := self._missing(number):
                yield Wave(self.plan, wanted, {})
            if self._missing(number):
                return
            self._look(number, limit)
        if self.judged.word == "keep":
            if wanted := self._missing(number + AGAIN):
                yield Wave(self.plan, wanted, {})
            self.again = differences(read(self.record), self.plan.study.seeds[number : number + AGAIN])

    def row(self) -> dict[str, Any]:
        """In the metric's own direction."""
        sign = metric_of(self.plan.study.metric, self.plan.arms[0].settings.data.domains).sign
        used = [one for one in self.differences if one < DIVERGED]
        return {
            "word": self.judged.word,
            "reason": self.reason,
            "pairs": self.judged.pairs,
            "wealth": self.judged.wealth,
            "mean": sign * math.fsum(used) / len(used) if used else None,
            "again": [sign * one for one in self.again],
        }

    def _look(self, number: int, limit: int) -> None:
        """Bet on the pairs of the first so many seeds, and tell."""
        evidence, seeds = read(self.record), self.plan.study.seeds[:number]
        ask(evidence)
        self.differences = differences(evidence, seeds)
        self.judged = stream.judge(self.differences, self.idea.stake, self.seen.rule, limit)
        if set(evidence.itself(IDEA)) & set(seeds):
            self.judged = replace(self.judged, word="discard")
            self.reason = "its weights are those of the incumbent, to the bit"
        elif number == limit and not self.judged.word:  # an incumbent that diverged left it without some pairs
            self.judged = replace(self.judged, word="retest")
        if DIVERGED in self.differences:
            self.reason = "diverged"
        needed = f"kept at {1 / self.idea.stake:,.0f}, discarded at {self.seen.rule.hopeless}"
        self.console.print(f"pair {number}  wealth {self.judged.wealth:.3g} ({needed})  {self.judged.word}")

    def _missing(self, number: int) -> list[Run]:
        """Of the runs of the first so many seeds."""
        seeds = self.plan.study.seeds[:number]
        runs = [run for run in self.plan.runs if run.seed in seeds]
        return [run for run in runs if not run_record(run.settings.where.outputs, run.id).done]


def differences(evidence: Evidence, seeds: Sequence[int]) -> list[float]:
    """Of these seeds. An idea that diverged is worse than any; a pair of which only the incumbent did is none."""
    found = {seed: evidence.metric.sign * d for seed, d in evidence.differences(IDEA, evidence.metric.name).items()}
    for seed, run in evidence.by_arm[IDEA].items():
        if run.outcome == "diverged" and evidence.by_arm[INCUMBENT][seed].outcome == "finished":
            found[seed] = DIVERGED
    return [found[seed] for seed in seeds if seed in found]


def limit_of(idea: Idea, seen: Stream) -> int:
    """Pairs that an idea may have before it is left: as many again for each retest."""
    return (1 + idea.retests) * stream.most(idea.stake, seen.rule)


def cost(plan: Plan, pairs: int) -> float:
    """FLOPs of so many pairs, equal beginnings trained once."""
    from ablate.sweep.cost import prospect  # torch

    return prospect(plan.of(replace(plan.study, seeds=plan.study.seeds[:pairs]))).shared
