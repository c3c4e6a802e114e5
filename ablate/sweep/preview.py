"""What a study will cost, before it is spent: arms, the forest of their beginnings, FLOPs, minutes, and a picture."""

import dataclasses
import statistics
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ablate.data.tokens import NO_TEXT
from ablate.fit import pace
from ablate.model import budget
from ablate.page import tables
from ablate.page.drawing import picture
from ablate.plan.order import rows_asked, rows_read
from ablate.plan.timeline import Timeline, timeline
from ablate.run.identity import in_words
from ablate.run.record import run_record
from ablate.run.settings import Settings, Study
from ablate.run.study_record import study_record
from ablate.scores.metrics import metric_of
from ablate.sweep.cost import Alike, Prospect, drawn, prospect
from ablate.sweep.executors.local import slots
from ablate.sweep.preview_run import UNTRAINED
from ablate.sweep.repeats import repeated
from ablate.sweep.resources import by_strategy, duration, is_large, largest, memory_text, price
from ablate.sweep.study import Arm, Control, Plan
from ablate.sweep.tracks import stride, track
from ablate.verdict import planning
from ablate.verdict.evidence import AA, NULL, POSITIVE, read
from ablate.verdict.statistics.moderated import promised
from ablate.verdict.statistics.paired import detectable_with

SHOWN_ARMS = 12  # of a short plan, at the start of a sweep
FEW = 10  # rows: of a share that asks for fewer the plan says what it comes to
NAMES = 60  # characters that the arms of a segment may take


def preview(plan: Plan, console: Console) -> Prospect:
    """Print the study, its arms, what they share and its cost; a dry run says all of it, and draws the timeline."""
    study, base = plan.study, plan.arms[0].settings
    found = prospect(plan)
    console.print(f"[bold]{escape(study.name)}[/bold]  {escape(study.question)}")
    if study.hypothesis:
        console.print(f"hypothesis: {escape(study.hypothesis)}")
    if plan.before:
        console.print(f"phases: {' -> '.join(one.phase for one in plan.chain)}, which is judged")
    shown = len(plan.arms) if base.where.dry_run else SHOWN_ARMS
    for part in _arms(plan.arms[:shown]):
        console.print(part)
    if len(plan.arms) > shown:
        console.print(f"and {len(plan.arms) - shown} more arms (all of them: where.dry_run=true)", style="dim")
    for line in _mixtures(plan):
        console.print(escape(line))
    for part in repeated(plan, lambda arm: _timeline(plan, arm, study.seeds[0])):
        console.print(part)
    console.print(f"audit passed: no arm differs outside {', '.join(study.factor) or 'nothing'}\n")
    if plan.arms[0].corpus is NO_TEXT:
        console.print(f"text: {base.data.source}, not prepared and not looked at; ids of runs depend on it\n")
    if base.where.trunks:
        console.print(drawn(found.trees, lambda group: _label(group, plan, found)))
    console.print(f"\n{_counts(plan, found)}")
    for line in _costs_of(plan, found):
        console.print(line)
    console.print(_controls(plan, found))
    console.print(_detectable(plan))
    if base.where.dry_run:
        for line in _memory(plan):
            console.print(line)
        if found.alone:
            console.print(f"timeline: {escape(str(_draw(plan, found)))}", soft_wrap=True)
    return found


def _label(group: Alike, plan: Plan, found: Prospect) -> Text:
    runs = {run.id: run for run in plan.distinct()}
    phases = list(dict.fromkeys(runs[run].phase for run in group.runs))
    names = list(dict.fromkeys(runs[run].arm for run in group.runs))
    text, first = Text(group.text), group.segments[0]
    text.append(f"  {len(first.runs)} runs{' each' if len(group.segments) > 1 else ''}" if len(first.runs) > 1 else "")
    text.append(f"  {', '.join(phases)}" if plan.before else "")
    text.append(f"  {shortened(names)}", style="cyan")
    stored = sum(found.on_disk(segment) for segment in group.segments)
    done = sum(all(run not in found.starts for run in segment.runs) for segment in group.segments)
    for count, what in ((done, "done"), (stored, "on disk")):
        if count:
            text.append(f"  {what}" if count == len(group.segments) else f"  {count} {what}", style="green")
    return text


def shortened(names: list[str]) -> str:
    """As many names as fit, and how many more there are."""
    fit = [name for number, name in enumerate(names) if len(", ".join(names[: number + 1])) <= NAMES] or names[:1]
    return ", ".join(fit) + (f" and {len(names) - len(fit)} more" if len(fit) < len(names) else "")


def _counts(plan: Plan, found: Prospect) -> str:
    total, missing = len(found.flops), len(found.starts)
    seeds = ", ".join(map(str, plan.study.seeds))
    controls = total - len({run.id for one in plan.chain for run in one.runs})
    tokens = " + ".join(f"{one.arms[0].settings.tokens:,}" for one in plan.chain)
    of_them = f" ({controls} of them controls)" if controls else ""
    return f"{total} runs{of_them}, seeds {seeds}: {total - missing} done, {missing} missing; {tokens} tokens a run"


def _controls(plan: Plan, found: Prospect) -> Table | str:
    """Each control, its runs, what they cost beside the arms, as a share of what these do, and what it is for."""
    if not plan.controls:
        return "controls: none; nothing will show that runs repeat to the bit, or that a known effect is found"
    arms = {run.id for one in plan.chain for run in one.runs}
    runs = [run for one in plan.chain for run in one.control_runs if run.id not in arms]
    ids = [{run.id for run in runs if run.arm == control.name} for control in plan.controls]
    costs = [found.alone_of(one) for one in ids]
    of_arms = found.shared - sum(costs)
    table = tables.table("control", ">runs", ">FLOPs", ">of the arms'", "what for")
    for control, runs, cost in zip(plan.controls, ids, costs, strict=True):
        table.add_row(
            control.name, str(len(runs)), f"{cost:.2e}", f"{cost / (of_arms or 1):.1%}", _purpose(control, plan.study)
        )
    return table


def _purpose(control: Control, study: Study) -> str:
    if control.name == POSITIVE:
        changes = _difference(control)
        return f"{changes}: known to be {study.controls.expected}; trained if an arm is not found to differ"
    seeds = ", ".join(map(str, control.seeds))
    return {
        NULL: f"{study.base} of seed {seeds} once more, alone: the same bits, or the study is void",
        AA: f"{study.base} under seed {seeds}: how far equal runs lie apart",
    }[control.name]


def _costs_of(plan: Plan, found: Prospect) -> list[str]:
    if not found.alone:
        return [UNTRAINED]
    saved = 1 - found.shared / found.alone
    lines = [f"{found.alone:.2e} FLOPs alone, {found.shared:.2e} shared ({saved:.0%} saved), {found.left:.2e} left"]
    where = plan.arms[0].settings.where
    if found.left and (
        where.executor == "local" or is_large(largest(arm.settings for arm in plan.arms))
    ):  # of a cluster, no step is measured
        speed, source = _flops_per_second(plan, found)
        hours = f"{found.left / speed / 3600 * where.devices * where.nodes:,.3g} device hours"
        lines.append(f"about {hours}{price(where, found.left / speed)} ({source}), evaluations not counted")
        if where.executor == "local":
            workers = min(slots(where).total, len(found.starts))
            longest = max(found.flops[run][-1] - found.flops[run][start] for run, start in found.starts.items())
            # no run is faster than one worker, however many others idle
            lines.append(f"about {duration(max(found.left / workers, longest) / speed)} with {workers} at once")
    return lines


def _memory(plan: Plan) -> list[str]:
    """Of the largest arm on one device, once it may be too large: tracing it takes most of a second."""
    settings = largest(arm.settings for arm in plan.arms)
    if not is_large(settings):
        return []
    name = escape(next(arm.name for arm in plan.arms if arm.settings is settings))
    line = f"memory: {memory_text(settings)} in a step of {name}, the largest, beside what Python takes"
    return [line, *(f"        {text}" for text in by_strategy(settings))]


def _flops_per_second(plan: Plan, found: Prospect) -> tuple[float, str]:
    """Of one worker, and how it is known: the study's finished runs, or else by `fit.pace`."""
    outputs = plan.arms[0].settings.where.outputs
    results = [r for run in found.flops if (r := run_record(outputs, run).result()) and r.get("seconds")]
    if results:
        return statistics.median(r["flops"] / r["seconds"] for r in results), f"as {len(results)} finished runs"
    bases = (one.run(one.arms[0], plan.study.seeds[0]).id for one in plan.chain)
    first = next(run for run in bases if len(found.beginnings[run].moves))  # a phase may take no steps
    return pace.predicted(timeline(found.beginnings[first].settings))


def _detectable(plan: Plan) -> str:
    study, family = plan.study, max(1, sum(bool(arm.difference) for arm in plan.arms[1:]))
    base = plan.arms[0].settings
    own = study_record(base.where.outputs, study.name)
    known = planning.of_study(read(own).with_focus(base.data.focus), study.metric) if own.exists else None
    sd, source = (
        (known.noise.value, f"noise of {known.noise.df:g} degrees of freedom, from its finished pairs")
        if known
        else (study.budget.noise, "noise as assumed in study.budget.noise")
    )
    if not sd or len(study.seeds) < 2:
        return "smallest effect that the seeds can detect: unknown until two seed blocks are done"
    lent = promised(family) if base.steps else 0.0
    smallest = detectable_with(sd, len(study.seeds), (1 - study.confidence) / family, lent)
    unit = metric_of(study.metric, base.data.domains).unit
    return f"smallest effect that {len(study.seeds)} seeds can detect: {smallest:.4f} {unit} ({source})"


def _draw(plan: Plan, found: Prospect) -> Path:
    """The timeline of every arm in the last phase that takes steps, as plan.png, beside the study's declaration."""
    first = plan.study.seeds[0]
    plan = next((one for one in reversed(plan.chain) if one.arms[0].settings.steps), plan)
    every = stride([arm.settings for arm in plan.arms])
    tracks = {arm.name: track(_timeline(plan, arm, first), every) for arm in plan.arms}
    folder = study_record(plan.arms[0].settings.where.outputs, plan.study.name).folder
    return picture.write(tracks, plan.arms[0].settings.data.domains, folder / "plan.png")


def _arms(arms: list[Arm]) -> list[Table | str]:
    """What each arm changes, and what its model costs: in one line where all models cost the same."""
    changes = tables.table("arm", "differs from the base in")
    for arm in arms:
        changes.add_row(arm.name, "(the base)" if arm is arms[0] else _difference(arm))
    costs = {arm.name: _costs(arm.settings) for arm in arms}
    if len(set(map(tuple, costs.values()))) == 1:
        widths, parameters, flops, state = costs[arms[0].name]
        one = f"every model: widths {widths}; {parameters} parameters; {flops} FLOPs a token; state of {state}"
        return [changes, f"\n{one}"]
    models = tables.table("arm", ">widths", ">parameters", ">FLOPs/token", ">state")
    for name, cells in costs.items():
        models.add_row(name, *cells)
    return [changes, "", models]


def _mixtures(plan: Plan) -> list[str]:
    """Of arms that change the mixture: the rows of each domain that their shares come to, where rounding matters."""
    arms = [arm for arm in plan.arms if any(key.startswith("mixture.") for key in arm.difference)]
    said = []
    for arm in arms:
        line = _timeline(plan, arm, plan.study.seeds[0])
        asked_D = rows_asked(line)
        few = np.flatnonzero((asked_D > 0) & (asked_D < FEW))
        if few.size:  # seeds differ in nothing but the rows that are drawn
            lines = [dataclasses.replace(line, settings=plan.run(arm, seed).settings) for seed in plan.study.seeds]
            rows_SD = np.array([rows_read(one) for one in lines])
            said += [f"{arm.name}: {_rows(rows_SD[:, d], asked_D[d])} of {arm.settings.data.domains[d]}" for d in few]
    return said[:SHOWN_ARMS]


def _rows(rows_S: np.ndarray, asked: float) -> str:
    """0 to 1 rows where 0.6 are asked"""
    fewest, most = rows_S.min(), rows_S.max()
    return f"{fewest}{f' to {most}' if most > fewest else ''} rows where {asked:.3g} are asked"


def _timeline(plan: Plan, arm: Arm, seed: int) -> Timeline:
    return timeline(plan.run(arm, seed).settings)


def _costs(settings: Settings) -> list[str]:
    """The model as built, in rows of the longest length: what `size.match` made equal, and what it did not."""
    cost = budget.of(settings)
    flops, state = cost.training_flops[max(cost.training_flops)], cost.state_bytes / 2**10
    widths = f"{cost.size.width}, {cost.size.hidden}"
    return [widths, f"{cost.parameters / 1e6:.4g} M", f"{flops / 1e6:.4g} M", f"{state:,.0f} KiB"]


def _difference(arm: Arm) -> str:
    return in_words(arm.difference) or "nothing: it is the base"
