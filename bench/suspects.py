"""Whether a replay tells a bad batch from a bad state (`ablate.fit.replay`), at the size of `bench.monitor`.

Trouble is planted in one step. What is asked about is the first spike that the monitor has found since; where it has
found none, and in a clean run, the step of the trouble, or of a rate the one after it. What stands out was chosen on
the runs of some seeds, and is graded on others. A rate that is too high is seen in the plan; so for `rate` there is
also what the weights alone say.
"""

import contextlib
import itertools
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from ablate.data.tokens import opened
from ablate.fit import replay
from ablate.fit.run import train_run
from ablate.run.parse import from_plain
from ablate.run.replay import ENOUGH, Replay
from ablate.run.trunks import Growth
from ablate.sweep.worker import alone
from bench import cases
from bench.rounds import Row
from bench.trained import TINY
from bench.troubled import AT, LATE

SEEDS = {"tuned on": range(10), "graded on": range(100, 120)}
WORDS = {"noise": "batch", "repeated": "batch", "corrupt": "batch", "rate": "state", "none": "neither"}


def suspects(quick: bool) -> list[Row]:
    """bad batches and bad states told apart, by a replay of the step"""
    rows = []
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        for what, seeds in ({"graded on": range(100, 101)} if quick else SEEDS).items():
            for kind, word in WORDS.items():
                found = list(pool.map(replayed, itertools.repeat(kind), seeds))
                rows += _rows(f"{kind}, {what} {len(seeds)} seeds", word, found)
    return rows


def _rows(case: str, word: str, found: list[Replay]) -> list[Row]:
    batch = [min(one.batch.strength, one.before.strength) for one in found]
    state = [one.state.strength for one in found]
    rows = [Row(case, f"share `{word}`", [_share([one.word == word for one in found])], 1.0)]
    if word == "state":
        rows.append(Row(case, "share by the weights alone", [_share([one > ENOUGH for one in state])], 1.0))
    return [*rows, Row(case, "strength of the batch", batch), Row(case, "strength of the state", state)]


def _share(yes: list[bool]) -> float:
    return sum(yes) / len(yes)


def replayed(kind: str, seed: int) -> Replay:
    """Of a run with trouble that was stopped soon after it."""
    with cases.outputs() as outputs, tempfile.TemporaryDirectory() as scratch:
        where = {"outputs": str(outputs), "device": "cpu", "wandb": "off", "progress": False, "saves": 5}
        trouble = {} if kind == "none" else {"trouble": {"kind": kind, "start": AT}}
        task = alone(from_plain(TINY | {"where": where, "monitor": {"act": "skip"}, "seed": seed} | trouble))
        corpus = opened(task.corpus)
        with contextlib.suppress(SystemExit):
            train_run(task.settings, corpus, task.record, Growth(until=AT + LATE + 1))
        spikes = [row["at"] for row in task.record.spikes() if row["at"] >= AT]
        step = spikes[0] if spikes and kind != "none" else AT + (kind == "rate")
        asked = replay.question(task.record, corpus, step, [], Path(scratch), shown=False)
        return replay.replayed(asked, Path(scratch), shown=False)
