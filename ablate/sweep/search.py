"""The search of a study whose arms are mixtures (`laws.search`): from records to the runs that it wants next.

    seeds     0                                    1, 2, ...
    base      whole                                all
    arms      some whole, some stopped, most       the best `laws.search.FINALISTS`, as in race=best
              not started

The first seed block is searched. Its best arms, and the base, then get the study's other seeds; the verdict is that of
a race over all declared arms (`verdict.race`).
"""

import numpy as np

from ablate.laws import mixtures
from ablate.laws.search import Block, Memo, Search, apart, play
from ablate.laws.swarm import importance_of
from ablate.plan.timeline import timeline
from ablate.run.settings import Study
from ablate.sweep.study import Plan
from ablate.verdict.evidence import Evidence
from ablate.verdict.race import Decision, Finals, decide


class Searcher:
    """Replays the search of a plan whenever asked, and remembers what it has chosen."""

    def __init__(self, plan: Plan):
        self.plan, self.memo = plan, Memo()
        differences = {arm.name: arm.difference for arm in plan.arms}
        self.varied, self.rows = mixtures.rows(differences, plan.arms[0].settings.data.domains)
        line = timeline(plan.arms[0].settings)
        self.steps = line.evaluations
        self.parts = np.array(self.steps) / len(line)

    def decisions(self, evidence: Evidence, finals: Finals, study: Study) -> tuple[dict[str, Decision], dict[str, int]]:
        """A decision for every arm but the base, and the arms that the block wants, with the steps to train them to."""
        arms = list(finals)
        found = play(self._block(evidence, finals), study.budget.spend, study.budget.at_once, self.memo)
        out = _left_behind(found, arms)
        if found.wanted:
            steps = {arms[i]: self.steps[int(np.searchsorted(self.parts, part))] for i, part in found.wanted.items()}
            return {arm: out.get(arm, Decision(arm, blocks=1)) for arm in arms if arm != study.base}, steps
        return decide(finals, study, out), {}

    def _block(self, evidence: Evidence, finals: Finals) -> Block:
        """The first seed's runs; `finals` says which of them are lost."""
        seed, domains, varied = self.plan.study.seeds[0], evidence.domains, self.varied
        weights = np.stack([self.rows[name] for name in finals])
        losses = np.full((len(finals), len(self.steps), len(domains)), np.nan)
        metric = np.full(losses.shape[:2], np.nan)
        for arm, name in enumerate(finals):
            for row in evidence.by_arm[name][seed].evaluations:
                at = self.steps.index(row["step"])
                losses[arm, at] = [evidence.value(row, domain) for domain in domains]
                metric[arm, at] = evidence.value(row, evidence.metric.name)
        lost = np.array([not np.isfinite(ends.get(seed, 0.0)) for ends in finals.values()])
        first = [arm for arm in apart(weights) if not lost[arm]][: mixtures.first_arms(len(weights))]
        known = np.zeros(metric.shape, bool)
        known[first] = np.isfinite(metric[first])  # the same ones whenever asked
        return Block(
            weights=weights,
            parts=self.parts,
            losses=losses,
            lost=lost,
            own=tuple(varied.index(domain) if domain in varied else -1 for domain in domains),
            importance=importance_of(evidence, losses[known], metric[known]) if known.any() else np.ones(len(domains)),
        )


def _left_behind(found: Search, arms: list[str]) -> dict[str, Decision]:
    """Arms that the search has stopped; once it is over, those that it has not started, or that are not the best."""
    out = {i: Decision(arms[i], "behind", rung=part, chance_best=chance) for i, (part, chance) in found.stopped.items()}
    if not found.wanted:
        beaten = set(found.whole) - {0, *found.finalists}
        out |= {i: Decision(arms[i], "beaten", rung=1.0) for i in beaten}
        out |= {i: Decision(arms[i], "unstarted") for i in range(len(arms)) if i not in found.started}
    return {arms[i]: decision for i, decision in out.items()}
