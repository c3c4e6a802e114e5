"""A replay of a step in a terminal (`run.replay`): the word, the numbers that it follows from, and the rows."""

import math
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from ablate.page import tables
from ablate.run.replay import ENOUGH, FACTOR, Replay

# Of a word, and of `both` where neither stands out alone
SENTENCES = {
    "batch": "It was the batch: it stands out on healthy weights too, and the state is as it was.",
    "state": "It was the state: it is not as it was, and the batch does not stand out on both weights.",
    "both": "It was both: the batch stands out on healthy weights too, and the state is not as it was.",
    "neither": "It was neither: the state is as it was, and the batch does not stand out on both weights.",
    "together": "It was both: the batch stands out on the weights just before, and not on healthy ones.",
}
RULE = (
    "Losses are nats/token. z: deviations above the others, as the monitor of a run has them. `sum` adds those of the "
    f"loss and the gradient, and stands out above {ENOUGH:g}. A rate stands out above {FACTOR:g} times the usual one."
)


def show(found: Replay, name: str, console: Console, num_rows: int) -> None:
    """`name`: of the run."""
    console.print(f"\n{name}, step {found.step}: {found.word}", markup=False, style="bold")
    console.print(sentence(found), markup=False)
    console.print()
    console.print(numbers(found))
    console.print()
    console.print(tables.facts(facts(found)))
    if num_rows:
        console.print()
        console.print(rows(found, num_rows))
    console.print(f"\n{RULE}", markup=False, style="dim")


def sentence(found: Replay) -> str:
    alone = found.batch.strength > ENOUGH
    return SENTENCES["together" if found.word == "both" and not alone else found.word]


def numbers(found: Replay) -> Table:
    """Loss by domain and gradient, of the batch and of the others, on both weights; and of the others on one of them
    against the other."""
    headings = [f">{weights}\n{name}" for weights in ("before", "healthy") for name in ("batch", "others", "z")]
    table = tables.table("weights\n", *headings, ">others,\nz")
    state = {one.name: one for one in found.state.measures}
    for before, healthy in zip(found.before.measures, found.batch.measures, strict=True):
        cells = [text for one in (before, healthy) for text in (f"{one.one:.4g}", f"{one.other:.4g}", _z(one.z))]
        table.add_row(tables.lines(before.name), *cells, _z(state[before.name].z))
    strengths = [_z(one.strength) for one in (found.before, found.batch, found.state)]
    table.add_row("sum", "", "", strengths[0], "", "", *strengths[1:], style="bold")
    return table


def facts(found: Replay) -> Iterator[tuple[str, str]]:
    """What the numbers are of, and what else is known of the step."""
    yield "weights", f"before: after {found.step} steps; healthy: after {found.healthy}"
    yield "others", f"{found.neighbours} batches of steps before {found.healthy} or after {found.step}"
    highest, times = found.rate
    yield "rate", f"at most {times:.3g} times the usual one, at step {highest}"
    ours, theirs = found.shares
    yield "odd bytes", f"{ours.odd:.1%} of the batch, {theirs.odd:.1%} of the others"
    yield "repeated", f"{ours.repeated:.1%} of the runs of tokens, {theirs.repeated:.1%} of those of the others"
    for one in found.float32[:2]:  # loss and gradient
        yield f"{one.name} in float32", f"{one.one:.6g} after {found.step} steps; {one.other:.6g} as it was trained"


def rows(found: Replay, number: int) -> Table:
    """Those of the batch whose loss lies highest above what is usual in their domain."""
    shown = f"{min(number, len(found.rows))} of {len(found.rows)} rows"
    title = f"{shown}, the worst for their domain first, after {found.healthy} steps"
    table = tables.table("domain", ">token", ">nats", ">odd", ">repeated", title=title, expand=True)
    table.add_column("text", no_wrap=True, overflow="ellipsis", ratio=1)
    for row in found.rows[:number]:
        shares = f"{row.odd:.0%}", f"{row.repeated:.0%}"
        table.add_row(tables.lines(row.domain), f"{row.start}", f"{row.nats:.2f}", *shares, tables.lines(row.text))
    return table


def _z(z: float) -> str:
    return f"{z:+.1f}" if math.isfinite(z) else "no number"
