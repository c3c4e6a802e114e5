"""What a study will cost, before it is spent: arms and their models, runs done and missing, FLOPs, minutes."""

import statistics

import torch
from rich.console import Console
from rich.table import Table

from ablate.model import budget
from ablate.plan.timeline import timeline
from ablate.record import Record, run_record
from ablate.settings import Settings
from ablate.sweep.local import num_workers
from ablate.sweep.study import Arm, Plan

# Share of the peak of a matrix product that small runs were seen to reach on CPUs; only for the
# prediction of minutes, and only until a run on this machine is done
ASSUMED_MFU = 0.35


def preview(plan: Plan, console: Console) -> None:
    """Print the study, its arms and its cost."""
    study, base = plan.study, plan.arms[0].settings
    records = {run.id: run_record(base.where.outputs, run.id) for run in plan.distinct()}
    flops = {arm.name: training_flops(arm.settings) for arm in plan.arms}
    left = sum(flops[run.arm] for run in plan.distinct() if not records[run.id].done)
    done = sum(record.done for record in records.values())
    total = sum(flops[run.arm] for run in plan.distinct())
    console.print(f"[bold]{study.name}[/bold]  {study.question}")
    if study.hypothesis:
        console.print(f"hypothesis: {study.hypothesis}")
    console.print(_arms(plan))
    seeds = ", ".join(map(str, study.seeds))
    console.print(f"{len(records)} runs, seeds {seeds}: {done} done, {len(records) - done} missing")
    console.print(f"{base.tokens:,} tokens a run, {total:.2e} FLOPs in all, {left:.2e} of them missing")
    if left:
        console.print(f"about {left / _flops_per_second(list(records.values()), base) / 60:.1f} minutes")


def training_flops(settings: Settings) -> float:
    """FLOPs of one run, forward and backward, without evaluations."""
    return float(timeline(settings).flops(budget.of(settings).training_flops)[-1])


def _flops_per_second(records: list[Record], settings: Settings) -> float:
    """Of the whole machine: what the study's finished runs reached, or else a guess from a matrix product."""
    workers = num_workers(settings.where)
    results = [result for record in records if (result := record.result())]
    if results:
        return workers * statistics.median(result["flops"] / result["seconds"] for result in results)
    return workers * ASSUMED_MFU * budget.peak_flops(torch.device("cpu"), torch.float32)


def _arms(plan: Plan) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("arm", "widths", "parameters", "FLOPs/token", "state"):
        table.add_column(heading, header_style="dim", no_wrap=True)
    table.add_column("differs from the base in", header_style="dim", overflow="fold")
    for arm in plan.arms:
        table.add_row(arm.name, *_costs(arm.settings), _difference(arm, plan.arms[0]))
    return table


def _costs(settings: Settings) -> list[str]:
    """The model as built, in rows of the longest length: what `size.match` made equal, and what it did not."""
    cost = budget.of(settings)
    flops, state = cost.training_flops[max(cost.training_flops)], cost.state_bytes / 2**10
    widths = f"{cost.size.width}, {cost.size.hidden}"
    return [widths, f"{cost.parameters / 1e6:.4g} M", f"{flops / 1e6:.4g} M", f"{state:,.0f} KiB"]


def _difference(arm: Arm, base: Arm) -> str:
    if arm is base:
        return "(the base)"
    changes = [f"{key}: {_short(a)} -> {_short(b)}" for key, (a, b) in arm.difference.items()]
    return "; ".join(changes) or "nothing: it is the base"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
