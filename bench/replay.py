"""What the sweep engine saves on a real study, and whether its verdicts stay: davinci_sweep out of the lab book.

216 runs that were all trained: 72 arms, three seeds. Their FLOPs are counted from the plan, as a plain
multirun would spend them (every run alone), with equal beginnings trained once, and with a race as well: of
each segment of the forest only the steps that some run which the race asked for takes. The race is replayed
on the final losses and curves of the very runs, so that its words can be laid beside those of the whole study.

`same word`: arms for which the race says what the whole study says. `not contradicted`: arms for which not one
of the two says better (worse, equivalent) and the other one something else that is not `inconclusive`.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping

from ablate.console.words import SettingsParser
from ablate.run.study import Budget
from ablate.sweep.cost import Prospect, prospect
from ablate.sweep.launcher import planned
from ablate.sweep.study import Plan
from ablate.verdict import compare
from ablate.verdict.book import Book
from ablate.verdict.evidence import Evidence, read
from ablate.verdict.race import Decision, decide
from ablate.verdict.standing import standing
from bench.rounds import ROOT, Row

STUDY = "davinci_sweep"
BOOK = ROOT / "experiments" / STUDY
RUNGS = [0.2, 0.4, 0.6]
BUDGETS = {
    "race=verdicts": Budget(race="verdicts"),
    "race=best": Budget(race="best"),
    "race=best, rungs": Budget(race="best", rungs=RUNGS),
}
FEWER_BY_TRUNKS, FEWER_BY_RACES, SAME = 3.0, 5.0, 0.95


def replay(quick: bool) -> list[Row]:
    """FLOPs of a plain multirun as a multiple of ours, and verdicts that stay"""
    evidence, plan = read(Book(BOOK)), declared(f"experiment={STUDY}")
    found = prospect(plan)
    rows = [Row("trunks alone", "times fewer FLOPs", [found.alone / found.shared], FEWER_BY_TRUNKS)]
    words = {verdict.arm: verdict.word for verdict in compare.verdicts(evidence)}
    for name, budget in BUDGETS.items():
        rows += raced(name, budget, evidence, plan, found, words)
    return rows


def raced(
    name: str, budget: Budget, evidence: Evidence, plan: Plan, found: Prospect, words: Mapping[str, str]
) -> list[Row]:
    study = dataclasses.replace(plan.study, budget=budget)
    finals, curves = standing(evidence, {arm.name: arm.settings.steps for arm in plan.arms})
    decisions = decide(finals, study, curves)
    spent = flops(found, reached(decisions, plan))
    pairs = [(words[arm], decision.word) for arm, decision in decisions.items()]
    same = sum(whole == race for whole, race in pairs) / len(pairs)
    against = Counter(whole != race and "inconclusive" not in (whole, race) for whole, race in pairs)
    return [
        Row(name, "times fewer FLOPs", [found.alone / spent], FEWER_BY_RACES),
        Row(name, "same word", [same], SAME),
        Row(name, "not contradicted", [against[False] / len(pairs)], SAME),
        Row(name, "best arm kept", [float(kept(evidence, decisions))]),
    ]


def kept(evidence: Evidence, decisions: dict[str, Decision]) -> bool:
    """Whether the arm with the lowest mean over all seeds was not dropped."""
    means = {
        arm: sum(d.values()) / len(d) for arm in decisions if (d := evidence.differences(arm, evidence.metric.name))
    }
    best = min(means, key=lambda arm: means[arm])
    return means[best] > 0 or decisions[best].reason in ("", "better", "spent")


def reached(decisions: dict[str, Decision], plan: Plan) -> dict[str, float]:
    """Part of every run that the race asked for, by run id; the base runs as far as some arm needs it."""
    seeds, parts = plan.study.seeds, {}
    last = max((one.look or len(seeds) for one in decisions.values() if one.reason != "behind"), default=1)
    for arm in plan.arms:
        one = decisions.get(arm.name)
        if one and one.reason == "behind":
            parts |= {plan.run(arm, seeds[0]).id: one.rung}
        else:
            looks = (one.look or len(seeds)) if one else last
            parts |= {plan.run(arm, seed).id: 1.0 for seed in seeds[:looks]}
    return parts


def flops(found: Prospect, parts: dict[str, float]) -> float:
    """Of all segments, as far as some run that is wanted goes."""
    total = 0.0
    for segment in (segment for tree in found.trees for segment in tree.walk()):
        ends = [round(parts[run] * (len(found.flops[run]) - 1)) for run in segment.runs if run in parts]
        total += found.of(segment, segment.first) - found.of(segment, _within(ends, segment.first, segment.last))
    return total


def _within(ends: list[int], first: int, last: int) -> int:
    return min(max([first, *ends]), last)


def declared(experiment: str) -> Plan:
    """The plan of a study as the command would make it, without the text that it trains on."""
    return planned(SettingsParser("train", "").read([f"+{experiment}", "controls=none"]))
