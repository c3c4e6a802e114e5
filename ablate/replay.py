"""Command: a step of a run once more, to tell a bad batch from a bad state. Of the run nothing is written."""

import dataclasses
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from ablate.console.errors import command
from ablate.console.words import Parser
from ablate.run import lookup
from ablate.run.record import Record
from ablate.run.settings import Settings, UserError
from ablate.run.trunks import Trunk, trunk_record

if TYPE_CHECKING:
    from ablate.fit.replay import Question

WHAT = """Take a step of a run once more: was it the batch, or the state that the run was in? The batch and its \
neighbours are looked at with the weights just before the step and with those 20 steps earlier. Where no checkpoint or \
trunk is left, the run is trained again up to there, beside its folder."""
EXAMPLES = """\
  ablate replay 48d1b140                             its first spike
  ablate replay mix_sweep/share_40/0 --step 1200     any step
  ablate replay 48d1b140 --rows 20                   more of the batch's text

batch      the batch stands out, on both weights
state      its neighbours stand out on the weights just before, or the rate does
both       both do; or the batch does on the weights just before alone
neither    neither does"""

SAME = 1e-4  # relative: a run notes seven digits, and processes add in other orders


@command
def main(arguments: list[str] | None = None) -> None:
    options = _parser().read(arguments)
    if options.rows < 0:
        raise UserError(f"--rows {options.rows}: must be 0 or more")
    record = lookup.find(options.run, options.outputs)
    settings = record.settings()
    step = _step(record, settings, options.step)

    from ablate.data.tokens import prepared  # and torch, which is slow to load: mistakes should not wait for it
    from ablate.fit import replay
    from ablate.page import replayed

    corpus, console = prepared(record.folder.parents[1], record.fingerprint), Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="ablate-replay-") as folder:
        scratch = Path(folder)
        asked = replay.question(record, corpus, step, _trunks(record, settings), scratch, shown=True)
        console.print(_to_train(asked), markup=False)
        found = replay.replayed(asked, scratch, shown=True)
    replayed.show(found, record.id, console, options.rows)
    if (noted := _noted(record, step)) is not None:
        console.print(_repeated(noted, found.grad_norm), markup=False)


def _step(record: Record, settings: Settings, asked: int | None) -> int:
    """The step to look at. Raises UserError for one that there is not, and for a run that cannot be trained again."""
    if settings.steps < 2:
        raise UserError(f"{record.id}: has {settings.steps} steps; there is nothing to compare one with")
    if settings.where.strategy.startswith("zero"):
        taken = "DeepSpeed took its steps, and no other process can take them again"
        raise UserError(f"{record.id}: where.strategy={settings.where.strategy}: {taken}")
    allowed = f"a step from 1 to {settings.steps - 1}"
    if asked is None:
        if not (spikes := record.spikes()):
            raise UserError(f"{record.id}: has noted no spike; --step must be given, {allowed}")
        return spikes[0]["at"]
    if not 1 <= asked < settings.steps:
        raise UserError(f"--step {asked}: must be {allowed}")
    return asked


def _noted(record: Record, step: int) -> float | None:
    """The norm of the gradient that the run noted of a step, as a spike or as one of those that were learnt from."""
    of_spikes = {row["at"]: row["grad_norm"] for row in record.spikes()}
    rows = [row for row in record.rows("steps") if row["first"] <= step < row["step"]]
    return of_spikes.get(step, rows[0]["grad_norm"][step - rows[0]["first"]] if rows else None)


def _repeated(noted: float, here: float) -> str:
    """Whether the weights are those that the run had."""
    told = f"the gradient has the norm {here:.6g}, and the run noted {noted:.6g}"
    if math.isclose(noted, here, rel_tol=SAME):
        return f"{told}: the weights are those that it had"
    return f"{told}: another machine, or other code, has led to other weights"


def _trunks(record: Record, settings: Settings) -> list[Trunk]:
    """Beginnings of the run that are left, its own and those of others."""
    from ablate.sweep.trunk import branches_of

    outputs = str(record.folder.parents[1])
    here = dataclasses.replace(settings, where=dataclasses.replace(settings.where, outputs=outputs))
    ways = branches_of(here, record.id, record.fingerprint)
    found = [trunk_record(outputs, branch.key) for branch in ways if not branch.last]
    return [trunk for trunk in found if trunk.exists]


def _to_train(asked: "Question") -> str:
    number = f"{asked.to_train} step{'s' if asked.to_train != 1 else ''}"
    if asked.start is None:
        return f"no checkpoint or trunk is left to go on from: {number} are trained again, from the first"
    return f"trained on from what is left after step {asked.step - asked.to_train}: {number}"


def _parser() -> Parser:
    parser = Parser("replay", WHAT, EXAMPLES)
    parser.add_argument("run", metavar="RUN", help="a run: its id, the beginning of it, STUDY/ARM/SEED, or its folder")
    parser.add_argument("--step", type=int, metavar="S", help="the first step is 0 (default: that of its first spike)")
    parser.add_argument("--rows", type=int, default=8, metavar="N", help="rows of the batch to show (default: 8)")
    return parser


if __name__ == "__main__":
    main()
