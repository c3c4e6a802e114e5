"""What the sweep engine saves on a real study, and whether its verdicts stay: davinci_sweep out of the lab book.

216 runs that were all trained: 72 arms, three seeds. Their FLOPs are counted from the plan, as a plain
multirun would spend them (every run alone), with equal beginnings trained once, and with a race as well: only the
segments of the forest that some run which the race asked for has. The race is replayed on the final losses of the very
runs, so that its words can be laid beside those of the whole study.

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
BUDGETS = {
    "race=verdicts": Budget(race="verdicts"),
    "race=best": Budget(race="best"),
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
    decisions = decide(standing(evidence), study)
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


def reached(decisions: dict[str, Decision], plan: Plan) -> set[str]:
    """Ids of the runs that the race asked for; the base runs as far as some arm needs it."""
    seeds, wanted = plan.study.seeds, set[str]()
    looks = {arm: one.look or len(seeds) for arm, one in decisions.items()}
    for arm in plan.arms:
        wanted |= {plan.run(arm, seed).id for seed in seeds[: looks.get(arm.name, max(looks.values()))]}
    return wanted


def flops(found: Prospect, runs: set[str]) -> float:
    """Of all segments that some run which is wanted has."""
    segments = (segment for tree in found.trees for segment in tree.walk())
    wanted = (segment for segment in segments if runs & set(segment.runs))
    return sum(found.of(segment, segment.first) for segment in wanted)


def declared(experiment: str) -> Plan:
    """The plan of a study as the command would make it, without the text that it trains on."""
    return planned(SettingsParser("train", "").read([f"+{experiment}", "controls=none"]))
