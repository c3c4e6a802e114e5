"""Command: for which questions a run should write steps before it answers, by its own state behind the question."""

import argparse
import importlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ablate import export
from ablate.console.errors import command
from ablate.console.words import Parser
from ablate.data.questions import KINDS
from ablate.fit.asking import Ask, unanswered
from ablate.run import files, whole
from ablate.run.evaluate import Task
from ablate.run.parts import require_member
from ablate.run.record import Record
from ablate.run.settings import UserError
from ablate.scores import answers
from ablate.scores.answers import Answers
from ablate.scores.items import Row

if TYPE_CHECKING:
    from ablate.verdict.router import Router
    from ablate.verdict.statistics.routing import Judged

WHAT = """Fit a router for a run that can answer at once and write steps first, and grade it on other questions: \
accuracy against the tokens that are written."""
EXAMPLES = """\
  ablate route 48d1b140                      generated questions
  ablate route 48d1b140 --kinds sequences,units --figure curve.png
  ablate route 48d1b140 --task mine          of the run's evaluate.tasks
  ablate generate 48d1b140 "What is 2 + 3?" --route 0.5    goes by it

The same command again asks nothing twice; one that was interrupted goes on."""
QUESTIONS = "questions"  # the task that every run can be asked
ITEMS = 2000  # of them
LEAST = 100  # questions to fit on, and to grade on, no two of one source: folds and draws are of sources
FORMS = 0.5  # of the answers at once must have an end, and of the steps come to an answer
UNTAUGHT = "it has not learnt to {}; data.target={{qa: either}} teaches both"


@command
def main(arguments: list[str] | None = None) -> None:
    options = _parser().read(arguments)
    record = export.find(options.run, Path(options.outputs))
    found = _asked(record, *_task(options, record))
    rows = found.clean()
    _check(record, rows)
    from ablate.verdict.router import halves, independent  # and all that takes time to load

    fit, grade = halves(rows)
    to_fit, to_grade = independent(fit), independent(grade)
    if min(to_fit, to_grade) < LEAST:
        few = f"{to_fit} questions to fit on and {to_grade} to grade on, each of another source, are too few"
        raise UserError(f"{record.id}: {few}; both must be {LEAST} or more: --items {max(4 * LEAST, 2 * len(rows))}")
    router, length = _routers(record, found, fit)
    _keep_items(record, found, router, length, {"fit": fit, "grade": grade})
    _show(options, record, _judged(router, length, grade), len(fit), len(grade))


def saved(record: Record) -> "Router":
    """The router that was fitted last. Raises UserError where there is none of the run's weights."""
    from ablate.verdict.router import Router

    kept = whole.read_if(record.folder / "router" / "router.json", {})
    if kept.get("answers", {}).get("weights_sha256") != (record.result() or {})["weights_sha256"]:
        raise UserError(f"{record.id}: has no router; ablate route {record.id} fits it")
    return Router.of(kept["router"])


def _task(options: argparse.Namespace, record: Record) -> tuple[str, Task]:
    """What is asked, and its name. Raises UserError for a task that there is not, or that cannot be asked so."""
    if options.items is not None and options.items < 1:
        raise UserError(f"--items {options.items}: must be 1 or more")
    if not options.task:
        kinds = options.kinds.split(",") if options.kinds else []
        for kind in kinds:
            require_member("--kinds", kind, KINDS)
        return QUESTIONS, Task(items=options.items or ITEMS, options={"steps": False, "kinds": kinds})
    if options.kinds:
        raise UserError("--kinds: are of generated questions; leave it out with --task")
    known = record.settings().evaluate.tasks
    if options.task not in known:
        raise UserError(f"--task {options.task}: the run has {', '.join(known) or 'no tasks'} (evaluate.tasks)")
    task = known[options.task]
    if task.kind == answers.LM_EVAL:
        raise UserError(f"--task {options.task}: lm_eval asks in its own way")
    return options.task, replace(task, items=min(task.items, options.items or task.items), sha256="")


def _asked(record: Record, name: str, task: Task) -> Answers:
    """All questions, answered both ways."""
    ask = Ask(record, name, task, "both", max(record.kept()))
    if unanswered([ask]):
        importlib.import_module("ablate.fit.answering").answer([ask], shown=True)  # loads torch
    else:
        print("nothing to ask: every answer is there")
    found = ask.answers
    assert found  # now everything is asked
    return found


def _check(record: Record, rows: Sequence[Row]) -> None:
    """Raises UserError for a model that cannot do both, or whose steps take no tokens."""
    ended, came = (
        sum(found) / max(len(rows), 1) for found in ((r["ended"] for r in rows), (r["steps"]["came"] for r in rows))
    )
    told = f"of {len(rows)} questions"
    if ended < FORMS:
        raise UserError(
            f"{record.id}: {ended:.0%} of its answers at once have an end, {told}: {UNTAUGHT.format('answer at once')}"
        )
    if came < FORMS:
        raise UserError(
            f"{record.id}: {came:.0%} of its steps come to an answer, {told}: {UNTAUGHT.format('write steps')}"
        )
    if sum(row["steps"]["written"] - row["written"] for row in rows) <= 0:
        raise UserError(f"{record.id}: its steps take no more tokens than its answers at once, {told}")


def _routers(record: Record, found: Answers, fit: Sequence[Row]) -> tuple["Router", "Router"]:
    """By the state and by the length, of the same questions; as they were kept, where they are of these answers."""
    from ablate.verdict.router import Router, fitted, lengths, outcomes, states

    path = record.folder / "router" / "router.json"
    kept = whole.read_if(path, {})
    if kept.get("answers") != found.header:
        print(f"fitting on {len(fit):,} questions", flush=True)
        of = outcomes(fit)
        routers = {"router": fitted(states(fit), of).plain(), "length": fitted(lengths(fit), of).plain()}
        kept = {"answers": found.header, **routers}
        files.make_folder(path.parent)
        whole.write(path, kept)
    return Router.of(kept["router"]), Router.of(kept["length"])


def _keep_items(
    record: Record, found: Answers, router: "Router", length: "Router", parts: dict[str, Sequence[Row]]
) -> None:
    """A row a question: its scores, and what came of both ways."""
    from ablate.verdict.router import lengths, states

    lines = []
    for part, rows in parts.items():
        for row, score, by_length in zip(rows, router.score(states(rows)), length.score(lengths(rows)), strict=True):
            at_once = {key: row[key] for key in ("text", "right", "written")}
            told = {key: row[key] for key in ("item", "source", "asked")} | {"part": part}
            told |= {"score": float(score), "length": float(by_length), "at_once": at_once, "steps": row["steps"]}
            lines.append(json.dumps(told, ensure_ascii=False) + "\n")
    files.write_atomically(record.folder / "router" / f"{found.header['task']}.jsonl", "".join(lines))


def _judged(router: "Router", length: "Router", grade: Sequence[Row]) -> "Judged":
    from ablate.verdict.router import lengths, outcomes, states
    from ablate.verdict.statistics.routing import judged

    scores = {"router": router.score(states(grade)), "length": length.score(lengths(grade))}
    return judged(outcomes(grade), scores)


def _show(options: argparse.Namespace, record: Record, found: "Judged", num_fit: int, num_grade: int) -> None:
    from rich.console import Console

    from ablate.page.routes import routed

    print(f"{record.id}: fitted on {num_fit:,} questions, graded on {num_grade:,} others\n")
    Console(highlight=False, soft_wrap=True).print(routed(found))
    if options.figure:
        from ablate.page.drawing import routes_figure

        print(routes_figure.write(found, options.figure))


def _parser() -> Parser:
    parser = Parser("route", WHAT, EXAMPLES)
    parser.add_argument("run", metavar="RUN", help="a run that learnt both: data.target={qa: either}")
    parser.add_argument(
        "--task", default="", metavar="NAME", help="of its evaluate.tasks (default: generated questions)"
    )
    parser.add_argument("--kinds", default="", metavar="KIND,...", help="of generated questions (default: all)")
    parser.add_argument("--items", type=int, metavar="N", help=f"questions, at most (default: {ITEMS}, or the task's)")
    parser.add_figure("accuracy against tokens")
    return parser


if __name__ == "__main__":
    main()
