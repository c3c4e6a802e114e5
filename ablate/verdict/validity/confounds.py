"""Did two arms differ in what was declared, and in nothing else? Asked of what their runs really took in.

The audit before a study compares configurations. This compares the traces (`fit.trace`) that runs leave: what
differs must be explained by a key that the arms declare to differ in. So a mixture explains how domains are
interleaved, but not another third window of `code`; a schedule explains rates and nothing else.

    share_15 s1 against base s1    interleaving  differs from step 1    mixture.weights explains it
                                rates         differs from step 40   nothing does: a confound

Every run is asked five things, as far as it has come:

    by the base's steps     which it takes first, whatever it changes itself: the base's own, to the last bit
    against the base        of its seed; where the factor explains a stream, against an arm that has it in common
    against other seeds     of its arm, in streams of which a seed changes nothing
    against its plan        as the launcher worked it out before the first run
    against itself          every try, and the run that its beginning was taken over from, under the same conditions;
                            nothing but steps changed its weights, and what it computes is the same after the last

What is found is reported once for an arm, a seed and a stream. Parts that a step is worked off in (micro-batches,
processes) change the order of additions, not what is added: that is noted, and holds. Not of rounded weights, for
rounding is a jump: there a last bit grows to a margin within some steps.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ablate.run.identity import canonical, digest, flatten
from ablate.verdict.evidence import Evidence, Run
from ablate.verdict.validity.finding import Finding
from ablate.verdict.validity.streams import CUT, STEPS, Declared, explained, of_seed, stream_of

CHECK = "confounds"
CUTS = ("split/micro_tokens", "split/processes", "split/strategy")  # what orders additions; recomputing does not
Values = dict[str, Any]


@dataclass(frozen=True)
class Difference:
    """One key of a stream in which two runs differ; `step`: after which it was first seen, None: from the start."""

    stream: str
    key: str
    ours: Any
    theirs: Any
    step: int | None = None

    def __str__(self) -> str:
        late = self.step is not None
        where = f"first seen after step {self.step}" if late else f"{self.ours} instead of {self.theirs}"
        return f"{self.key}, {where}" if self.key != self.stream else where


@dataclass(frozen=True)
class Traced:
    """One run's trace, flat: a value by key. `own`: as a base, whichever study it was trained for."""

    run: Run
    own: bool = False

    @cached_property
    def starts(self) -> list[dict[str, Any]]:
        return self.run.record.starts()

    @cached_property
    def conditions(self) -> Values:
        """Of the last try."""
        found = {name: value for name, value in self.starts[-1].items() if name not in ("step", "origin")}
        if self.own and "probe" in found:
            found["twin"] = {"of": digest(canonical(self.run.record.settings(), complete=True))} | found["probe"]
        return flatten(found, "/")

    @cached_property
    def as_base(self) -> "Traced":
        """The run as the base of a study, where it took the steps of another study's base."""
        return Traced(self.run, own=True)

    @cached_property
    def rows(self) -> dict[int, Values]:
        """By step: running digests."""
        return {row["step"]: flatten(row, "/") for row in self.run.record.rows("trace")}


def findings(evidence: Evidence) -> list[Finding]:
    """All that is not explained, and what is noted; runs may still be going on. Empty: nothing was found."""
    traced = {run.record.id: Traced(run) for run in evidence.distinct_runs if run.record.starts()}
    untraced = [run for run in evidence.distinct_runs if run.record.done and run.record.id not in traced]
    found = []
    if untraced:
        found.append(Finding(CHECK, "", True, f"{len(untraced)} runs left no trace: what they took in is not known"))
    alone = [one for one in traced.values() if "twin/of" not in one.conditions]
    if alone:
        why = "several devices, compiled steps, kernels that need not repeat, or an older version"
        found.append(Finding(CHECK, "", True, f"{len(alone)} runs took no steps of the base ({why})"))
    promised = evidence.study.promised()
    for arm, runs in evidence.by_arm.items():
        for seed, run in runs.items():
            if run.record.id in traced:
                one = traced[run.record.id]
                found += _of_run(one, promised.get(run.record.id, {}))
                found += _of_contrast(evidence, traced, arm, seed)
    return list(dict.fromkeys(found))


def _of_run(one: Traced, promised: dict[str, Values]) -> list[Finding]:
    """A run against its plan and against itself."""
    found = []
    for step, plan in sorted((int(step), plan) for step, plan in promised.items()):
        row = one.rows.get(step, plan)
        broken = [name for name in plan if row.get(name) != plan[name]]
        found += [_finding(one, Difference(name, name, "", "", step), "its plan") for name in broken]
    found += _of_process(one)
    own = one.starts[-1]["origin"]
    foreign = [step for step, row in one.rows.items() if row["origin"] != own]
    if foreign:
        found.append(_finding(one, Difference("origin", "origin", "", "", foreign[0]), "the run's own start"))
    for earlier in one.starts[:-1]:
        changed = _differences(
            one.conditions, flatten({k: v for k, v in earlier.items() if k not in ("step", "origin")}, "/")
        )
        found += [_finding(one, d, f"the try that began at step {earlier['step']}") for d in changed]
    for step, row in one.rows.items():
        keys = [key for key in row if key.startswith("evaluated/")]
        wrong = [key for key in keys if row[key] != one.conditions.get(key.replace("evaluated", "evaluation", 1))]
        found += [_finding(one, Difference("evaluated", key, "", "", step), "the rows held out") for key in wrong]
    return _first_of_each(found)


def _of_process(one: Traced) -> list[Finding]:
    """What acted in the run's process after its first step: on the weights, on what was trained, on the code."""
    broken = next(((step, row["custody"]) for step, row in one.rows.items() if row.get("custody")), None)
    found = [Difference("custody", broken[1], "", "", broken[0])] if broken else []
    ended = one.run.record.ended()
    last = ended.get("last step", {"done": "", "again": ""})
    if last["done"] != last["again"]:
        found.append(Difference("last step", "taken once more by a copy", last["again"], last["done"]))
    after = flatten({"twin": ended.get("twin", {})}, "/")
    before = {key: value for key, value in one.conditions.items() if key in after}
    found += list(_differences(after, before))
    return [_finding(one, difference, "the run's own start") for difference in found]


def _of_contrast(evidence: Evidence, traced: dict[str, Traced], arm: str, seed: int) -> list[Finding]:
    """An arm's run against the base's of the same seed, against arms that share streams with it, and other seeds."""
    one, found, seen = traced[evidence.by_arm[arm][seed].record.id], [], set()
    earlier = [name for name in evidence.by_arm if name != arm]
    earlier = earlier[: list(evidence.by_arm).index(arm)]
    for other in earlier:  # the base first
        run = evidence.by_arm[other].get(seed)
        if run and run.record.id in traced and run.record.id != one.run.record.id:
            declared = _declared(evidence, arm, other)
            theirs = traced[run.record.id]
            if other == evidence.base and one.conditions.get("twin/of") != theirs.conditions.get("twin/of"):
                theirs = theirs.as_base
            unexplained, open_streams = _compare(one, theirs, declared)
            found += [_finding(one, d, other) for d in unexplained if d.stream not in seen]
            seen |= open_streams
    first = next((run for run in evidence.by_arm[arm].values() if run.record.id in traced), None)
    if arm != evidence.base and first and first.seed != seed:
        same = [d for d in _all(one, traced[first.record.id]) if not of_seed(d.stream) and d.stream not in seen]
        found += [_finding(one, d, f"seed {first.seed}") for d in same if d.stream != "split"]
    return _first_of_each(found)


def _compare(one: Traced, other: Traced, declared: Declared) -> tuple[list[Difference], set[str]]:
    """What differs and is not explained; and the streams that could have differed so."""
    differences = list(_all(one, other))
    unexplained = [d for d in differences if not explained(d.stream, declared)]
    streams = {*STEPS, "windows", *(stream_of(key, "as", "is") for key in one.conditions)}
    compared = {stream for stream in streams if not explained(stream, declared)}
    return unexplained, compared


def _all(one: Traced, other: Traced) -> Iterator[Difference]:
    """Every key that both have, or should have, with other values; of a running digest the first step."""
    yield from _differences(one.conditions, other.conditions)
    # Groups of parameters that are cut in pieces hold other numbers
    cut = one.conditions.get("split/strategy") != other.conditions.get("split/strategy")
    parted: set[str] = {"numbers"} if cut else set()
    for step in sorted(one.rows.keys() & other.rows.keys()):
        ours, theirs = one.rows[step], other.rows[step]
        for key in sorted(set(STEPS) & (ours.keys() | theirs.keys()) - parted):
            if ours.get(key) != theirs.get(key):
                parted.add(key)
                yield Difference(key, key, ours.get(key), theirs.get(key), step)
    yield from _windows(one, other)


def _windows(one: Traced, other: Traced) -> Iterator[Difference]:
    """The first difference of each domain's own stream, at counts of spans that both noted."""
    ours, theirs = (_marks(traced) for traced in (one, other))
    parted: set[str] = set()
    for key in ours:
        domain = key.split("/")[1]
        if domain not in parted and key in theirs and ours[key][1] != theirs[key][1]:
            parted.add(domain)
            yield Difference("windows", f"windows of {domain}", "", "", ours[key][0])


def _marks(traced: Traced) -> dict[str, tuple[int, str]]:
    rows = traced.rows.items()
    return {key: (step, row[key]) for step, row in rows for key in row if key.startswith("windows/")}


def _differences(ours: Values, theirs: Values) -> Iterator[Difference]:
    """Keys of conditions with other values, of groups that both could note: some strategies hide their optimizer."""
    groups = {key.split("/")[0] for key in ours} & {key.split("/")[0] for key in theirs}
    if ours.get("twin/of") != theirs.get("twin/of"):  # steps of two bases: one of the runs is of another study
        groups -= {"twin"}
    classes = (found[key] for found in (ours, theirs) for key in found if key.endswith("/class"))
    rounded = any(name in ("Ternary", "Quantised") for name in classes)
    for key in sorted(key for key in ours.keys() | theirs.keys() if key.split("/")[0] in groups):
        a, b = ours.get(key), theirs.get(key)
        if a != b:
            yield Difference(CUT if rounded and key in CUTS else stream_of(key, a, b), key, a, b)


def _declared(evidence: Evidence, arm: str, other: str) -> Declared:
    """The keys that two arms are declared to differ in."""
    ours, theirs = (
        {key: values[1] for key, values in evidence.declaration["arms"].get(name, {}).items()} for name in (arm, other)
    )
    base = {
        key: values[0] for name in (arm, other) for key, values in evidence.declaration["arms"].get(name, {}).items()
    }
    return frozenset(key for key in base if ours.get(key, base[key]) != theirs.get(key, base[key]))


def _finding(one: Traced, difference: Difference, other: str) -> Finding:
    held = difference.stream == "split"
    why = "the same sums, added in another order" if held else "nothing declared explains it"
    text = f"seed {one.run.seed}: {difference.stream} differs from {other} ({difference}): {why}"
    return Finding(CHECK, one.run.arm, held, text)


def _first_of_each(found: list[Finding]) -> list[Finding]:
    """One finding a stream and opponent: the first, with the number of others."""
    groups: dict[str, list[Finding]] = {}
    for finding in found:
        groups.setdefault(finding.text.split(" (")[0], []).append(finding)
    return [
        group[0] if len(group) == 1 else replace(group[0], text=f"{group[0].text}; so do {len(group) - 1} more")
        for group in groups.values()
    ]
