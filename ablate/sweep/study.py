"""A study as a value: arms that differ from one base in the declared factor and in nothing else.

    none ──┬── share_05   mixture.weights: ...     x seeds 0, 1, 2  ->  runs
           ├── share_15   mixture.weights: ...
           └── share_00   (no difference)          a null arm: the base's own runs
    controls: the base again, the base under further seeds, an arm whose effect is known (`sweep.controls`)

Arms are compared with the base key by key before the first run. One that differs outside the factor
is refused by name: its verdict would not be about the factor.

With `study.phases` a plan has another one before it, of the phase that its runs begin from:

    phase pretrain     none s0 ══ weights ══> none s0        phase tune, judged
                   share_40 s0 ══ weights ══> share_40 s0

The id of a run holds the sha256 of the weights that it begins with. Until these are there the run has a provisional
id, which begins with `~`; `refreshed` looks again. A difference of an arm in the phase before is one of `start`:
`start.mixture.weights@0.qa`.
"""

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ablate.data import promised
from ablate.data.tokens import NO_TEXT, Corpus
from ablate.laws import mixtures
from ablate.plan import digests
from ablate.plan.timeline import timeline
from ablate.run.identity import canonical, digest, record_name
from ablate.run.monitor import told
from ablate.run.record import plain, run_record
from ablate.run.settings import Settings, SettingsError, Study
from ablate.run.start import PHASE, TO_COME, Start, parse, teacher_of
from ablate.run.study import Ladder
from ablate.run.study_record import StudyRecord
from ablate.sweep.adapted import adapted
from ablate.sweep.contrast import changed, check_factor
from ablate.verdict import history
from ablate.verdict.evidence import AA, NULL, POSITIVE

PROMISES = 16  # of a run, that its trace is held against
PROMISED_STEPS = 20_000  # of a longer run only the beginning is worked out
PROMISED_TOKENS = 2**20  # that are read to promise the very rows: 50 ms
Promise = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Arm:
    """`difference`: {key: (value in the base, value here)}, of all phases so far; empty for the base and null arms."""

    name: str
    settings: Settings
    difference: dict[str, tuple[Any, Any]]
    corpus: Corpus = NO_TEXT


@dataclass(frozen=True)
class Control(Arm):
    """Beside the arms: never audited against the factor, in a family or in a race."""

    seeds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Run:
    """One run of a study. `parent`: the run of the phase before that it begins from."""

    arm: str
    seed: int
    settings: Settings
    id: str
    corpus: Corpus
    phase: str = ""
    parent: "Run | None" = None

    @property
    def name(self) -> str:
        """The arm, and of a study with phases the phase."""
        return f"{self.phase}: {self.arm}" if self.phase else self.arm

    @property
    def known(self) -> bool:
        """Whether the run can begin, and has its final id: the weights that it begins with are there."""
        return self.parent is None or _is_known(self.settings.start)


@dataclass(frozen=True)
class Plan:
    """What a study will train, in one phase of its runs; `before`: the plan of the phase before. The first arm is the
    base."""

    study: Study
    arms: list[Arm]
    controls: list[Control] = field(default_factory=list)
    phase: str = ""
    before: "Plan | None" = None
    _made: dict[tuple[str, int], Run] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def chain(self) -> list["Plan"]:
        """The plans of all phases, this one last."""
        return [*(self.before.chain if self.before else []), self]

    def of(self, study: Study) -> "Plan":
        """The same plan in all its phases, of a study that differs in its seeds, say."""
        return dataclasses.replace(self, study=study, before=self.before and self.before.of(study))

    def refreshed(self) -> "Plan":
        """The plan as the records on disk are now: more weights may be there to begin from."""
        return dataclasses.replace(self, before=self.before.refreshed()) if self.before else self

    @cached_property
    def runs(self) -> list[Run]:
        """All runs of arms in this phase, seed block by seed block, so that an unfinished study has whole blocks."""
        return [self.run(arm, seed) for seed in self.study.seeds for arm in self.arms]

    @cached_property
    def control_runs(self) -> list[Run]:
        return [self.run(control, seed) for control in self.controls for seed in control.seeds]

    def run(self, arm: Arm, seed: int) -> Run:
        """One run: the arm's settings with the seed, and with what the logger needs to know."""
        if (arm.name, seed) not in self._made:
            self._made[arm.name, seed] = self._run(arm, seed)
        return self._made[arm.name, seed]

    def _run(self, arm: Arm, seed: int) -> Run:
        where = dataclasses.replace(arm.settings.where, arm=arm.name)
        monitor = told(arm.settings.monitor, self.study.skips.get(seed, []))
        settings = dataclasses.replace(arm.settings, seed=seed, where=where, study=self.study, monitor=monitor)
        if not self.before:
            settings = adapted(settings)
            id = record_name(settings, arm.corpus.fingerprint)
            return Run(arm.name, seed, settings, id, arm.corpus, self.phase)
        parent = self.before.run(self.before.named(arm.name), seed)
        settings = adapted(self._taught(dataclasses.replace(settings, start=_end_of(parent)), arm, seed))
        known = _is_known(settings.start) and _is_known(settings.distill.teacher)
        id = ("" if known else "~") + record_name(settings, arm.corpus.fingerprint)
        return Run(arm.name, seed, settings, id, arm.corpus, self.phase, parent)

    def _taught(self, settings: Settings, arm: Arm, seed: int) -> Settings:
        """With the run of the arm and seed for a teacher that is named by its phase, and with what it costs."""
        teacher = teacher_of(settings)
        if teacher is None or teacher.kind != PHASE:
            return settings
        plan = next(plan for plan in self.chain if plan.phase == teacher.place)
        run = plan.run(plan.named(arm.name), seed)
        budget = importlib.import_module("ablate.model.budget")  # loads torch
        lengths = tuple(sorted(set(settings.length.lengths)))
        theirs = run.settings
        cost = budget.of_model(theirs.model, budget.of(theirs).size, theirs.data.vocabulary, lengths)
        distill = dataclasses.replace(
            settings.distill, teacher=_end_of(run), flops=cost["forward_flops"], parameters=cost["parameters"]
        )
        return dataclasses.replace(settings, distill=distill)

    def named(self, name: str) -> Arm:
        """The arm or control of that name."""
        return next(one for one in (*self.arms, *self.controls) if one.name == name)

    def distinct(self) -> list[Run]:
        """Each run of all phases once, whatever arms it belongs to, controls among them, in the order to train them.

        A base that is trained twice comes after the arms of its block: it grows from what they leave, if they
        share anything, and its replicate, which does not, then proves that growing is exact.
        """
        runs = [*self.runs, *self.control_runs]
        ids = {run.id: run for run in reversed(runs)}
        repeated = {run.seed for run in self.control_runs if run.settings.where.replicate}
        seeds = list(dict.fromkeys(run.seed for run in runs))

        def place(run: Run) -> tuple[int, bool, bool]:
            base_of_two = run.arm == self.study.base and run.seed in repeated
            return seeds.index(run.seed), run.arm in {control.name for control in self.controls}, base_of_two

        return [*(self.before.distinct() if self.before else []), *sorted(reversed(ids.values()), key=place)]


def _end_of(run: Run) -> str:
    """The `start` of what begins with a run's final weights."""
    record = run_record(run.settings.where.outputs, run.id)
    whole = run.known and not record.damage()  # a damaged one will be trained again
    result = (record.result() or {}) if whole else {}
    finished = result.get("outcome") == "finished"
    return str(Start("run", run.id, result["weights_sha256"] if finished else f"{TO_COME}{run.id}"))


def _is_known(start: str) -> bool:
    parent = parse(start)
    return parent is None or parent.known


def plan(study: Study, base: Settings, arms: dict[str, Settings], phase: str = "", before: Plan | None = None) -> Plan:
    """Audit the arms against the base. Raises SettingsError naming the first arm and all keys outside the factor."""
    check_factor(study.factor)
    if study.base in arms:
        raise SettingsError(f"study.arms.{study.base}: is the name of the base; call the arm something else")
    if taken := [name for name in (study.base, *arms) if name in (NULL, AA, POSITIVE)]:
        raise SettingsError(f"study.arms.{taken[0]}: is the name of a control; call the arm something else")
    audited = [Arm(study.base, base, {})]
    for name, settings in arms.items():
        differs = changed(study, f"{name}.{phase}".rstrip("."), base, settings)
        audited.append(Arm(name, settings, inherited(before, name) | differs))
    found = Plan(study, audited, phase=phase, before=before)
    if study.budget.race == "search":
        mixtures.searched({arm.name: arm.difference for arm in audited}, base.data.domains, study.budget.spend)
    return found


def inherited(before: Plan | None, name: str) -> dict[str, tuple[Any, Any]]:
    """How an arm, or a control, differs from the base in where it starts: as it did in the phase before."""
    return {f"start.{key}": pair for key, pair in before.named(name).difference.items()} if before else {}


def with_corpora(plan: Plan, corpora: list[Corpus]) -> Plan:
    """The plan once the text of every arm is prepared: ids depend on it. Controls have the text of the base."""
    arms = [dataclasses.replace(arm, corpus=corpus) for arm, corpus in zip(plan.arms, corpora, strict=True)]
    data = arms[0].settings.data
    controls = [
        dataclasses.replace(one, settings=dataclasses.replace(one.settings, data=data), corpus=corpora[0])
        for one in plan.controls
    ]
    return dataclasses.replace(plan, arms=arms, controls=controls)


def declare(plan: Plan, record: StudyRecord) -> None:
    """Write the declaration before the first run, and into the ledger, where earlier ones stay, if it has changed."""
    declaration = {**_declared(plan.study), **_of_phase(plan), **_tasks(plan)}
    if plan.before:
        declaration["before"] = {one.phase: _of_phase(one) for one in plan.before.chain}
    # an id that was provisional and becomes known is no change of what is declared
    declaration["digest"] = digest(declaration | _settled(plan) if plan.before else declaration)
    declaration["base_digest"] = digest([_what(one.arms[0]) for one in plan.chain])
    declaration["imports"] = plan.arms[0].settings.where.imports  # where a metric of the user's own is found
    rows = record.ledger.rows()
    last = next((row["declaration"] for row in reversed(rows) if row["kind"] == "declared"), {})
    if any(last.get(key) != declaration[key] for key in ("digest", "base_digest")):
        looks = len(history.of(rows, declaration["base_digest"]).looks)
        known = {run.id for run in plan.distinct()}
        for row in history.of(rows, declaration["base_digest"]).declared:
            known |= _ids(row["declaration"])  # also those that are no longer declared: they may have been seen
        outputs = plan.arms[0].settings.where.outputs
        done = sum(run_record(outputs, run).done for run in known)
        record.ledger.add(
            "declared", base_digest=declaration["base_digest"], runs=done, looks=looks, declaration=declaration
        )
    record.write(declaration)


def announce(plan: Plan, record: StudyRecord) -> None:
    """Note what is to be trained, and what each run will do, before the first run whose id is known now."""
    declare(plan, record)
    record.promise(promises(plan, record.promised()))
    record.keep_bases([_base(one) for one in plan.chain])


def _base(plan: Plan) -> dict[str, Any]:
    """A phase's base, for every run of the phase: where it runs is the run's own, and so is the seed."""
    base = plan.arms[0]
    settings = {name: value for name, value in plain(base.settings).items() if name not in ("where", "study")}
    ids = {run.id for run in (*plan.runs, *plan.control_runs)}
    return {"runs": sorted(ids), "settings": settings, "fingerprint": base.corpus.fingerprint}


def promises(plan: Plan, known: Mapping[str, Promise]) -> dict[str, Promise]:
    """What every run will do, as digests by run id, steps taken and stream, where its trace has rows.

    `known`: what was promised before, and is not worked out again: an id names the steps and the text.

    A run is trained by another process, later, perhaps on another machine or after the sources have changed. Its trace
    must show the layout, the interleaving, the rows, the rates and the shares that were meant (`validity.confounds`),
    also where the declared factor explains that they differ from the base's.
    """
    found = {}
    for run in (run for run in plan.distinct() if run.known and run.settings.steps):
        if run.id in known:
            found[run.id] = known[run.id]
            continue
        table = timeline(run.settings)
        at = {step for step in table.evaluations if step <= PROMISED_STEPS}
        at |= {max(1, min(len(table), PROMISED_STEPS) * (i + 1) // PROMISES) for i in range(PROMISES)}
        read = promised.rows(table, run.corpus, {step for step in at if table.tokens[step] <= PROMISED_TOKENS})
        found[run.id] = {
            str(step): streams | ({"rows": read[step]} if step in read else {})
            for step, streams in digests.planned(table, at).items()
        }
    return found


def _declared(study: Study) -> dict[str, Any]:
    """All that was declared; of phases, skips, a ladder and a search nothing where there are none, as before."""
    unsaid = (["phases", "judge"] if not study.phases else []) + (["skips"] if not study.skips else [])
    unsaid += ["ladder"] if study.ladder == Ladder() else []
    found = {key: value for key, value in dataclasses.asdict(study).items() if key not in unsaid}
    budget = dataclasses.asdict(study.budget)
    if study.budget.race != "search":  # the same digest as ever
        budget = {key: value for key, value in budget.items() if key not in ("spend", "at_once")} | {"rungs": []}
    return found | {"budget": budget}


def _tasks(plan: Plan) -> dict[str, Any]:
    """What the final weights of the judged runs are asked; nothing where that is nothing, as it once was."""
    tasks = plain(plan.arms[0].settings)["evaluate"]["tasks"]
    return {"tasks": tasks} if tasks else {}


def _of_phase(plan: Plan) -> dict[str, Any]:
    base = plan.arms[0]
    return {
        "arms": {arm.name: _plain(arm.difference) for arm in plan.arms},
        "fingerprint": base.corpus.fingerprint,
        "domains": base.settings.data.domains,
        "focus": base.settings.data.focus,
        "runs": {arm.name: {str(seed): plan.run(arm, seed).id for seed in plan.study.seeds} for arm in plan.arms},
        "control_arms": {one.name: _plain(one.difference) for one in plan.controls},
        "control_runs": {one.name: {str(seed): plan.run(one, seed).id for seed in one.seeds} for one in plan.controls},
    }


def _ids(declared: dict[str, Any]) -> set[str]:
    """Of all runs that were declared, those of phases before and of controls among them."""
    phases = [declared, *declared.get("before", {}).values()]
    return {
        id for one in phases for key in ("runs", "control_runs") for ids in one[key].values() for id in ids.values()
    }


def _settled(plan: Plan) -> dict[str, Any]:
    """What stands in a digest for the ids of runs: the configurations, as they are before any weights are known."""
    what = [part for one in plan.chain for part in _settled_arms(one, [*one.arms, *one.controls])]
    return {"runs": what, "control_runs": [], "before": []}


def _settled_arms(plan: Plan, arms: Sequence[Arm]) -> list[list[Any]]:
    return [[arm.name, *_what(arm)] for arm in arms]


def _what(arm: Arm) -> list[Any]:
    """What its runs are, whatever it is called."""
    return [canonical(arm.settings), arm.corpus.fingerprint]


def _plain(difference: dict[str, tuple[Any, Any]]) -> dict[str, list[Any]]:
    return {key: list(values) for key, values in difference.items()}
