"""How fast, against what, measured how: the numbers behind every claim of speed in this repository.

    python -m bench [name ...] [--quick]      tables here, and bench/results/<name>.json

Machines are noisy, so nothing is measured alone: the things to compare take turns, round after
round (A B C A B C ...), each in a process of its own, and what counts is the median of the ratios
within a round. A target that is missed is red; none is a test, because a busy machine is no bug.
`--quick` runs everything briefly, to see that it works, and writes no results.
"""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable
from datetime import date
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ablate.run.machine import environment
from bench.aa import aa
from bench.after import after
from bench.checker import checker
from bench.compress import compress
from bench.compute import compute
from bench.confounds import confounds
from bench.decode import decode
from bench.extrapolation import extrapolation
from bench.filters import filters
from bench.flips import flips
from bench.gate import gate
from bench.gpu import gpu
from bench.interventions import interventions
from bench.ladder import ladder
from bench.memory import memory
from bench.mixers import mixers
from bench.mixtures import mixtures
from bench.monitor import monitor
from bench.mutants import mutants
from bench.planning import planning
from bench.precision import precision
from bench.races import races
from bench.replay import replay
from bench.rounds import Row
from bench.routes import routes
from bench.runtimes import runtimes
from bench.saves import saves
from bench.scoring import scoring
from bench.search import search
from bench.speed import speed
from bench.startup import startup
from bench.suggestions import suggestions
from bench.suspects import suspects
from bench.tasks import tasks
from bench.tokens import tokens
from bench.verdicts import verdicts
from bench.waiting import waiting
from bench.whole import whole

Bench = Callable[[bool], list[Row]]

BENCHES: dict[str, Bench] = {
    "speed": speed,
    "after": after,
    "checker": checker,
    "compress": compress,
    "precision": precision,
    "waiting": waiting,
    "startup": startup,
    "saves": saves,
    "memory": memory,
    "mixers": mixers,
    "decode": decode,
    "races": races,
    "search": search,
    "verdicts": verdicts,
    "tasks": tasks,
    "aa": aa,
    "mixtures": mixtures,
    "suggestions": suggestions,
    "replay": replay,
    "scoring": scoring,
    "routes": routes,
    "runtimes": runtimes,
    "planning": planning,
    "extrapolation": extrapolation,
    "confounds": confounds,
    "monitor": monitor,
    "suspects": suspects,
    "mutants": mutants,
    "filters": filters,
    "flips": flips,
    "gate": gate,
    "tokens": tokens,
    "whole": whole,
    "gpu": gpu,
    "compute": compute,
    "ladder": ladder,
    "interventions": interventions,
}

OTHERS = (
    *("transformers", "accelerate", "lm-eval", "hydra-core", "wandb"),
    *("datatrove", "datasketch", "spacy", "trafilatura"),
)
# litgpt's version: see the Makefile
RESULTS = Path(__file__).parent / "results"
BUSY = 0.3  # load average per core above which results should be taken with care


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure, against what people would use.")
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(BENCHES) + " (default: all)")
    parser.add_argument("--quick", action="store_true", help="run briefly, and write no results")
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="records that `aa` and `tasks` read")
    arguments = parser.parse_args()
    benches = BENCHES | {one.__name__: partial(one, outputs=arguments.outputs) for one in (aa, tasks)}
    unknown = set(arguments.names) - set(BENCHES)
    if unknown:
        parser.error(f"no such bench: {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    for name in arguments.names or BENCHES:
        load = os.getloadavg()[0] / (os.cpu_count() or 1)
        if load > BUSY:
            console.print(f"load is {load:.2f} per core before {name}: something else is running", style="yellow")
        rows = benches[name](arguments.quick)
        console.print(table(name, rows))
        if not arguments.quick:
            write(name, rows, load)


def table(name: str, rows: list[Row]) -> Table:
    """What was measured, for people."""
    shown = Table(title=f"{name}: {BENCHES[name].__doc__}", title_justify="left", box=None, padding=(0, 2))
    for heading in ("case", "what"):
        shown.add_column(heading, no_wrap=True)
    for heading in ("median", "lowest", "highest", "rounds", "target"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        numbers = [f"{value:,.4g}" if value < 1000 else f"{value:,.0f}" for value in row.spread]
        style = "" if row.met is None else "green" if row.met else "red"
        shown.add_row(row.case, row.what, *numbers, str(len(row.values)), row.target, style=style)
    return shown


def write(name: str, rows: list[Row], load: float) -> None:
    """bench/results/<name>.json: every round, and where and when."""
    what = {"bench": name, "date": date.today().isoformat(), "load_per_core_before": round(load, 2)}
    where = {"environment": environment(), "others": _versions()}
    result: dict[str, Any] = what | where | {"rows": [row.plain() for row in rows]}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")


def _versions() -> dict[str, str]:
    """Of what others wrote, as far as it is installed: most benches need none of it."""
    found = {}
    for package in OTHERS:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


if __name__ == "__main__":
    main()
