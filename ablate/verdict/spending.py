"""What a study cost, and what it did not have to spend.

spent      by the runs themselves
trunks     beginnings taken over from another run, exactly as long as they were
races      what runs that a race has left out would have cost, at the price of the same arm's other runs, or of
           the base's where it has none: an estimate, and the only one here

of(evidence).shares        [("spent", 2.1e15, .61), ("saved by shared beginnings", ...), ...]
"""

from dataclasses import dataclass

from ablate.verdict.evidence import Evidence, Run


@dataclass(frozen=True)
class Spending:
    """FLOPs."""

    spent: float
    trunks: float
    races: float
    left_out: int  # runs that races have left out

    @property
    def shares(self) -> list[tuple[str, float, float]]:
        """(what, FLOPs, share of all that would have been spent), what is nothing left out."""
        parts = {
            "spent": self.spent,
            "saved by shared beginnings": self.trunks,
            "saved by races, about": self.races,
        }
        total = sum(parts.values())
        return [(name, flops, flops / total) for name, flops in parts.items() if flops > 0]


def of(evidence: Evidence) -> Spending:
    """Of the whole study, every run counted once."""
    spent, trunks = evidence.spending
    left_out = _left_out(evidence)
    of_begun = sum(begun(evidence).values())
    races = sum(_price(evidence, run.arm) for run in left_out) - of_begun
    return Spending(spent + of_begun, trunks, max(0.0, races), len(left_out))


def begun(evidence: Evidence) -> dict[str, float]:
    """FLOPs of the runs that a search trained, though not to the end, by their ids."""
    return {run.record.id: float(run.evaluations[-1]["flops"]) for run in _left_out(evidence) if run.evaluations}


def _left_out(evidence: Evidence) -> list[Run]:
    stopped = [run for arm in evidence.arms if evidence.stopped(arm) for run in evidence.by_arm[arm].values()]
    return [run for run in stopped if not run.done]


def by_arm(evidence: Evidence) -> list[tuple[str, int, float, float]]:
    """(arm, runs done, FLOPs, seconds) of each arm and control, then of the study, where a run counts once."""
    phases = (*evidence.before, evidence)
    names = [*evidence.by_arm, *dict.fromkeys(run.arm for run in evidence.controls)]
    groups = {name: [run for one in phases for run in (*one.runs, *one.controls) if run.arm == name] for name in names}
    groups["whole study"] = [run for one in phases for run in one.distinct_runs]
    done = {name: [run.result for run in runs if run.done] for name, runs in groups.items()}
    return [(n, len(rs), sum(r["flops"] for r in rs), sum(r["seconds"] for r in rs)) for n, rs in done.items()]


def _price(evidence: Evidence, arm: str) -> float:
    for name in (arm, evidence.base):
        if done := [run.result["flops"] for run in evidence.finished(name).values()]:
            return sum(done) / len(done)
    return 0.0
