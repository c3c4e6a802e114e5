"""What runs read and did not learn from, because it was a spike or because they were told: by arm and by seed.

    `adagc`: learnt 0.4 % fewer tokens (seed 1: steps 120-140)

Steps are absolute, and a window goes up to its second step without that one, as `monitor.skip` has it. Runs of one seed
that left out the same steps have learnt from the same rows; where they did not, the text of an arm and of the base
differs in that. It voids no verdict, for an arm may be good just because it needs no step left out. It is said, and
the study that tells all runs of a seed the same is offered.
"""

from collections.abc import Sequence

from ablate.run.monitor import Window, spelled, union
from ablate.verdict.evidence import Evidence, Run
from ablate.verdict.validity.finding import Finding

CHECK = "skips"
NAMED = 4  # windows of a seed that are named
ALL = "all tokens"


def windows(run: Run) -> list[Window]:
    """Steps that a run left out; none of a run that left out nothing, or has not ended."""
    return [(first, end) for first, end in run.result.get("skipped", {}).get("windows", [])]


def note(evidence: Evidence, arm: str) -> str:
    """What an arm did not learn, where the base left out other steps; or else nothing."""
    pairs = [pair for _, pair in evidence.pairs(arm)]
    if all(windows(base) == windows(ours) for base, ours in pairs):
        return ""
    of_base, of_arm = (_said(runs) for runs in zip(*pairs, strict=True))
    return f"learnt {of_arm}" + (f"; {evidence.base} {of_base}" if of_base != ALL else "")


def _said(runs: Sequence[Run]) -> str:
    """`0.4 % fewer tokens (seed 1: steps 120-140)`: of those that the runs read, together."""
    out = sum(run.result.get("skipped", {}).get("tokens", 0) for run in runs)
    if not out:
        return ALL
    share = 100 * out / sum(run.result["tokens"] for run in runs)
    steps = "; ".join(f"seed {run.seed}: steps {_named(windows(run))}" for run in runs if windows(run))
    return f"{share:.2g} % fewer tokens ({steps})"


def _named(found: Sequence[Window]) -> str:
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return ", ".join(spelled(found)[:NAMED]) + more


def unequal(evidence: Evidence) -> dict[int, list[str]]:
    """By seed all steps that some run of an arm left out, of seeds whose runs did not leave out the same."""
    found: dict[int, list[str]] = {}
    for seed in evidence.declaration["seeds"]:
        of_runs = [windows(runs[seed]) for runs in evidence.by_arm.values() if seed in runs and runs[seed].done]
        if any(one != of_runs[0] for one in of_runs):
            found[seed] = spelled(union(window for one in of_runs for window in one))
    return found


def findings(evidence: Evidence) -> list[Finding]:
    """Where runs of a seed left out other steps, what to add to the study's command so that all leave out the same."""
    told = unequal(evidence)
    if not told:
        return []
    declared = {int(seed): skip for seed, skip in evidence.declaration.get("skips", {}).items()}
    skips = ",".join(f"{seed}:[{','.join(skip)}]" for seed, skip in sorted((declared | told).items()))
    name = evidence.study.name if declared else f"{evidence.study.name}_told"
    seeds = f"seed {', '.join(map(str, told))}"
    offer = f"the study's command with `study.name={name} '+study.skips={{{skips}}}'` tells all arms the same"
    offer = "" if evidence.before else f"; {offer}"  # steps of which phase, nobody could say
    return [Finding(CHECK, "", True, f"arms did not leave out the same steps with {seeds}{offer}")]
