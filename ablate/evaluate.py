"""Command: ask trained models for tasks, and show what they answered. What was asked before is not asked again."""

import dataclasses
import importlib
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from rich.console import Console

from ablate.console.errors import command
from ablate.console.words import Parser
from ablate.fit.asking import Ask, Foreign, Steps, asks_of, unanswered
from ablate.run import lookup
from ablate.run.evaluate import Evaluate, Task
from ablate.run.parse import fitted
from ablate.run.record import Record
from ablate.run.settings import UserError
from ablate.run.study_record import StudyRecord, study_record
from ablate.scores import answers

WHAT = "Ask the weights of a run, or of all runs of a study, for tasks: items are kept, not means."
EXAMPLES = """\
  ablate evaluate 48d1b140                 the tasks that the run was told of
  ablate evaluate mix_sweep                of all runs of a study
  ablate evaluate 48d1b140 --tasks small   a group of conf/evaluate
  ablate evaluate 48d1b140 --steps all     also the weights kept on the way
  ablate evaluate models/SmolLM2 --tasks small   a folder of transformers
  ablate evaluate 48d1b140 --protocol generate --limit 50

The same command again asks nothing twice; one that was interrupted goes on."""


@command
def main(arguments: list[str] | None = None) -> None:
    options = _parser().read(arguments)
    study, records = _asked(options.name, options.outputs)
    tasks = _tasks(options, study, next(iter(records.values())))
    steps = _steps(options.steps)
    asks = {name: asks_of(record, tasks, steps) for name, record in records.items()}
    open_ = unanswered(ask for group in asks.values() for ask in group)
    if open_:
        importlib.import_module("ablate.fit.answering").answer(open_, shown=True)  # loads torch
    else:
        print("nothing to ask: every answer is there")
    _show(asks, study, options)


def _show(asks: Mapping[str, Sequence[Ask]], study: StudyRecord | None, options: Namespace) -> None:
    from ablate.page.answers import answered  # scipy, which mistakes should not wait for

    found: dict[str, list] = {}
    for name, group in asks.items():
        arm = name.rpartition(" ")[0] or name  # of a study: the mean over seeds
        found.setdefault(arm, []).extend(one for ask in group if (one := ask.answers))
    Console(highlight=False, soft_wrap=True).print(answered(found))
    if study and study.read().get("tasks"):
        print(f"\nits verdict and its curves: ablate report {study.name}, and with --progress")


def _asked(name: str, outputs: str) -> tuple[StudyRecord | None, dict[str, Record]]:
    """The finished runs that a name means, by what they are called. Raises UserError where there is none."""
    if (Path(name) / "config.json").exists():
        return None, {Path(name).name: Foreign(Path(name).resolve(), Path(outputs))}
    if (Path(name) / "study.json").exists():
        raise UserError(f"{name}: a lab book keeps answers and no weights: ablate report {name} --progress")
    study = None if "/" in name else study_record(outputs, name)  # STUDY/ARM/SEED is a run
    if not (study and study.exists):
        study, record = None, lookup.find(name, outputs)
        records = {record.id: record}
    else:
        records = {f"{arm} {seed}": record for arm, seed, record in (*study.records(), *study.controls())}
    done = {called: record for called, record in records.items() if _is_finished(record)}
    if not done:
        raise UserError(f"{name}: no run of it has finished; the command that started it goes on with it")
    return study, done


def _is_finished(record: Record) -> bool:
    return (record.result() or {}).get("outcome") == "finished" and record.weights.exists()


def _tasks(options: Namespace, study: StudyRecord | None, first: Record) -> dict[str, Task]:
    """Those that were declared, chosen or changed by the flags. Raises UserError where there are none."""
    declared = study.read().get("tasks", {}) if study else {}
    known = fitted(Evaluate, {"tasks": declared}).tasks
    if not declared and not isinstance(first, Foreign):
        told = first.settings().evaluate.tasks  # of files as they are now: no study holds to what they were
        known = {name: dataclasses.replace(task, sha256="") for name, task in told.items()}
    if options.tasks:
        known = _chosen(options.tasks, known)
    if not known:
        groups = ", ".join(sorted(_groups()))
        raise UserError(f"{options.name}: was told of no tasks (evaluate.tasks); --tasks takes a group: {groups}")
    if options.protocol:
        protocols = options.protocol.split(",")
        known = {name: dataclasses.replace(task, protocols=protocols) for name, task in known.items()}
        answers.check(known)
    if options.limit is not None:
        if options.limit < 1:
            raise UserError(f"--limit {options.limit}: must be 1 or more")
        known = {name: dataclasses.replace(task, items=min(task.items, options.limit)) for name, task in known.items()}
    return known


def _chosen(text: str, known: dict[str, Task]) -> dict[str, Task]:
    """By name, or all of a group of conf/evaluate."""
    chosen, groups = dict[str, Task](), _groups()
    for name in text.split(","):
        if name in known:
            chosen[name] = known[name]
        elif name in groups:
            plain = yaml.safe_load(groups[name].read_text(encoding="utf-8"))
            chosen |= fitted(Evaluate, plain, f"evaluate={name}").tasks
        else:
            there = ", ".join([*known, *sorted(groups)])
            raise UserError(f"--tasks {name}: no such task or group; there are {there}")
    return chosen


def _groups() -> dict[str, Path]:
    folder = Path(__file__).parent / "conf" / "evaluate"
    return {path.stem: path for path in folder.glob("*.yaml") if path.stem != "none"}


def _steps(text: str) -> Steps:
    if text in ("last", "all"):
        return text
    if not all(step.isdecimal() for step in text.split(",")):
        raise UserError(f"--steps {text}: must be last, all, or steps: 12000,24000")
    return [int(step) for step in text.split(",")]


def _parser() -> Parser:
    parser = Parser("evaluate", WHAT, EXAMPLES)
    parser.add_argument("name", metavar="NAME", help="a run, a study, or a folder that transformers loads")
    parser.add_argument("--tasks", metavar="NAME,...", help="some of its tasks, or groups of conf/evaluate")
    parser.add_argument("--steps", default="last", help="last (default), all that are kept, or steps: 12000,24000")
    parser.add_argument("--protocol", metavar="NAME,...", help="how to ask, if not as the tasks say")
    parser.add_argument("--limit", type=int, metavar="N", help="items of each task, at most")
    return parser


if __name__ == "__main__":
    main()
