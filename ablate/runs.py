"""Command: the runs there are, what each was, and what they left on disk."""

import argparse
import dataclasses
import difflib
import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from ablate.console.errors import command
from ablate.console.words import Parser, SettingsParser
from ablate.page import run_table
from ablate.page.run_table import Shown
from ablate.run import lookup
from ablate.run.files import make_folder
from ablate.run.identity import flatten
from ablate.run.lineage import Link, lineage
from ablate.run.longer import longer
from ablate.run.record import Record, run_record
from ablate.run.settings import Settings, UserError
from ablate.run.start import parse, teacher_of
from ablate.scores.metrics import METRICS
from ablate.sweep import claims
from ablate.trunks import size_text

if TYPE_CHECKING:
    from ablate.verdict.book import Book
    from ablate.verdict.chain import Chain

USED = {"show": ["figure"], "compare": ["figure"], "delete": ["yes", "force"]}  # flags, by what is done
WHAT = "List runs, show one or several, continue a finished one, or delete what is no longer wanted."
EXAMPLES = """\
  ablate runs                              all, by study
  ablate runs mix_sweep optimizer.lr=3e-3  those that hold every word:
                                           of a name, a state, or a setting
  ablate runs show 48d1b140                settings, numbers and curves of one
  ablate runs compare 48d1b140 mix_sweep/share_40/0
  ablate runs tree 48d1b140                the phases that led to it
  ablate runs extend 48d1b140 tokens=2e6   the same run, further
  ablate runs again experiments/mix_sweep/none/0
                                           a run out of the lab book anew:
                                           its weights must be the same
  ablate runs delete 48d1b140              with all that hangs on it

The state `running?` is of a run that another machine has claimed, which may
be dead by now: a command that needs the run watches for a minute.

RUN is an id, the beginning of an id or of the hash at its end, a folder, or
STUDY/ARM/SEED; of a phase before the judged one STUDY/PHASE/ARM/SEED."""
SHOWN_AT_ONCE = 6  # runs compared: colours of a picture


@command
def main(arguments: list[str] | None = None) -> None:
    parser = _parser()
    options = parser.read(arguments)
    verb, *words = options.words or [""]
    parser.check_used(options, verb if verb in VERBS else "a list", ("words", *USED.get(verb, ())))
    if verb in VERBS:
        VERBS[verb](words, options, Console(highlight=False))
    else:
        _list(options.words, options, Console(highlight=False))


def _list(words: list[str], options: argparse.Namespace, console: Console) -> None:
    """All runs that hold every word."""
    shown, unread = [], []
    read = _reader(options.outputs)
    for record in lookup.runs(options.outputs):
        try:
            run = read(record)
            if all(_holds(run, word) for word in words) and run.scope:
                shown.append(run)
        except UserError as error:
            unread.append(str(error))
    for error in unread:
        console.print(f"cannot be read: {error}", style="red", soft_wrap=True)
    if not shown and not unread:
        of = f" with {' '.join(words)}" if words else "; start one with: ablate train"
        near = difflib.get_close_matches(words[0], VERBS, n=1) if words else []
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"no run in {Path(options.outputs, 'runs')}{of}{hint}")
    if shown:
        console.print(run_table.listed(shown, time.time()))


def _holds(run: Shown, word: str) -> bool:
    key, given, value = word.partition("=")
    if given and (settings := flatten(dataclasses.asdict(run.settings))) and key in settings:
        return _same(settings[key], value)
    return any(word in text for text in (run.record.id, run.state, *map(str, run.places)))


def _same(value: object, text: str) -> bool:
    """Whether a word means a value: 3e-3 and 0.003 are one number."""
    try:
        return float(text) == value
    except ValueError:
        return str(value).lower() == text.lower()


def _show(words: list[str], options: argparse.Namespace, console: Console) -> None:
    """One run in full, and a picture of it beside its record."""
    [run] = _named(words, options, 1, 1)
    links = lineage(run.record)
    chain = _chain(run, links, options)
    phases = importlib.import_module("ablate.page.chain").of_run(chain) if chain else None
    console.print(run_table.one(run, _usual(), links, phases))
    if run.record.rows("train"):
        _draw([run], options.figure or run.record.folder / "curves.png", console)
    if chain:
        drawing = importlib.import_module("ablate.page.drawing.phases")  # matplotlib, as in `_draw`
        console.print(f"figure   {drawing.write(chain, run.record.folder / 'phases.png')}", soft_wrap=True)


def _chain(run: Shown, links: list[Link], options: argparse.Namespace) -> "Chain | None":
    """What the phases that led to a run did; None of a run that is not done, or began with nothing that is recorded."""
    read = _reader(options.outputs)
    records = {f"{lookup.short(one)}\n{read(one).arm}": one for one in (link.record for link in links) if one}
    if len(records) < 2 or not run.record.done:
        return None
    from ablate.verdict import chain  # scipy is slow to import, listing should not wait

    return chain.of_run(records, run.metric.name if run.metric else "macro")


def _compare(words: list[str], options: argparse.Namespace, console: Console) -> None:
    """Several runs: settings that differ, numbers, curves in one picture."""
    runs = _named(words, options, 2, SHOWN_AT_ONCE)
    console.print(run_table.compared(runs))
    console.print("\nOne run against another holds the noise of seeds: a study gives a verdict.", style="dim")
    name = "-".join(lookup.short(run.record) for run in runs)
    _draw(runs, options.figure or Path(options.outputs, "figures", f"{name}.png"), console)


def _draw(runs: list[Shown], path: Path, console: Console) -> None:
    from ablate.page.drawing import run_curves  # matplotlib is slow to import, tables should not wait

    make_folder(path.parent)
    named = {f"{lookup.short(run.record)}  {run.arm}": run.record for run in runs}
    metric = runs[0].metric or METRICS["macro"]
    console.print(f"\nfigure   {run_curves.write(named, metric, runs[0].scope, path)}", soft_wrap=True)


def _tree(words: list[str], options: argparse.Namespace, console: Console) -> None:
    """The chain of phases that ends with a run, and what began with its weights."""
    [run] = _named(words, options, 1, 1)
    console.print(run_table.chain(lineage(run.record), _reader(options.outputs)))


def _delete(words: list[str], options: argparse.Namespace, console: Console) -> None:
    """Take runs away with all that hangs on them, after asking."""
    records = [run.record for run in _named(words, options, 1, None)]
    names = {record.id for record in records}
    for record in records:
        if claims.settled(record) == "running":
            raise UserError(f"{record.id} is being trained; stop it first")
        needed = [need for need in lookup.needs(record) if need.removeprefix("run ") not in names]
        if needed and not options.force:
            raise UserError(f"{record.id} is needed by {', '.join(needed)}; --force deletes it all the same")
    paths = [path for record in records for path in lookup.belongings(record)]
    for path in paths:
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        console.print(f"{size_text(size):>8}  {path}", soft_wrap=True)
    if not options.yes:
        if not sys.stdin.isatty():
            raise UserError("nobody is there to ask; --yes deletes without asking")
        if input(f"delete {', '.join(sorted(names))}? [y/N] ").strip().lower() not in ("y", "yes"):
            raise UserError("nothing was deleted")
    lookup.remove(paths)
    console.print(f"deleted {', '.join(sorted(names))}", soft_wrap=True)


def _extend(words: list[str], options: argparse.Namespace, console: Console) -> None:
    """Train the same run further, from its last state where that was kept."""
    from ablate.sweep.trunk import growth
    from ablate.sweep.worker import alone
    from ablate.train import train  # loads torch, which listing should not wait for

    [run] = _named(words[:1], options, 1, 1)
    if run.state != "finished":
        raise UserError(f"{run.record.id} is {run.state}: only a finished run can be extended")
    settings = longer(run.settings, words[1:])
    settings = dataclasses.replace(settings, where=dataclasses.replace(settings.where, outputs=options.outputs))
    task = alone(settings)
    start = growth(options.outputs, list(task.ways)).start  # pyrefly: ignore
    step, steps = start.read()["step"] if start else 0, run.settings.steps
    console.print(f"{task.record.id} goes on from step {step:,} of {steps:,} of {run.record.id}", soft_wrap=True)
    if step < steps:
        console.print("the last state of that run was not kept; where.keep_last=true keeps it", style="yellow")
    train(settings)


def _again(words: list[str], options: argparse.Namespace, console: Console) -> None:
    """Train a run out of the lab book anew, after those that it begins from. Raises UserError where one is another."""
    book, kept = _out_of_the_book(" ".join(words))
    console.print(f"{kept.id}: the same weights, {_trained_again(book, kept, options.outputs)}", soft_wrap=True)


def _trained_again(book: "Book", kept: Record, outputs: str) -> str | None:
    """The sha256 of its weights, if it has any. Raises UserError where it is not the same run, or has others."""
    from ablate.sweep.worker import alone, train  # loads torch, which listing should not wait for

    settings, was = kept.settings(), (kept.result() or {}).get("weights_sha256")
    result = run_record(outputs, kept.id).result()
    if result is None:  # a run that is done needs its parent no more
        for parent in (parse(settings.start), teacher_of(settings)):
            if parent and parent.kind == "run" and not run_record(outputs, parent.place).done:
                _trained_again(book, book.run(parent.place), outputs)
        here = dataclasses.replace(settings.where, outputs=outputs, executor="local", wandb="off")
        task = alone(dataclasses.replace(settings, where=here))
        if task.record.id != kept.id:
            raise UserError(f"{kept.id} would be {task.record.id}: the text or this version is another")
        result = train(task)
    if (now := result.get("weights_sha256")) != was:
        raise UserError(f"{kept.id}: its weights were {was} and are {now}; ablate runs show says where it ran")
    return now


def _out_of_the_book(name: str) -> "tuple[Book, Record]":
    """The run of FOLDER/(PHASE/)ARM/SEED, and the book."""
    from ablate.verdict.book import Book  # pandas is slow to import

    path = Path(name)
    for folder in [*path.parents][1:3]:
        if (book := Book(folder)).exists:
            return book, book.run(lookup.in_study(book, path.relative_to(folder).as_posix()))
    raise UserError(f"{name or 'no RUN'}: must be FOLDER/ARM/SEED or FOLDER/PHASE/ARM/SEED, FOLDER of the lab book")


def _usual() -> Settings:
    """The settings of `ablate train` alone."""
    from ablate.console import compose  # loads Hydra

    found: list[Settings] = []
    compose.single(SettingsParser("train", "").read([]), found.append)
    return found[0]


def _named(words: list[str], options: argparse.Namespace, least: int, most: int | None) -> list[Shown]:
    """The runs of those names."""
    if not least <= len(words) <= (most or len(words)):
        wanted = str(least) if least == most else f"{least} to {most}" if most else f"{least} or more"
        raise UserError(f"{' '.join(words) or 'no RUN'}: must be {wanted} RUN; see ablate runs --help")
    found = [lookup.find(word, options.outputs) for word in words]
    if absent := [record.id for record in found if not record.folder.exists()]:
        raise UserError(f"{absent[0]} has not been started")
    return list(map(_reader(options.outputs), found))


def _reader(outputs: str) -> Callable[[Record], Shown]:
    """From a record to the run as it is shown: how far it is, and which studies use it."""
    declared = lookup.studies(outputs)
    places = lookup.places(declared)

    def shown(record: Record) -> Shown:
        used = places.get(record.id, [])
        return Shown(record, _state(record), used, declared[used[0].study] if used else None)

    return shown


def _state(record: Record) -> str:
    """finished, diverged, running 43 %, or why it is not done: crashed, interrupted, stopped.

    running?: claimed by another machine, of which one look tells no more.
    """
    state = claims.state(record)
    if state == "done":
        return (record.result() or {})["outcome"]
    if state == "failed":
        return (record.failure() or {})["outcome"]
    row = record.last_row()
    part = f" {row['step'] / record.settings().steps:.0%}" if row else ""
    if state == "running":
        return ("running" if claims.certain(record) else "running?") + part
    return f"stopped{part}"


def _parser() -> Parser:
    parser = Parser("runs", WHAT, EXAMPLES)
    parser.add_argument("words", nargs="*", metavar="WORD", help="what to do, and the runs; or what to list")
    parser.add_figure("where show and compare draw")
    parser.add_argument("--yes", action="store_true", help="delete without asking")
    parser.add_argument("--force", action="store_true", help="delete also what studies or other runs need")
    return parser


VERBS = {"show": _show, "compare": _compare, "tree": _tree, "extend": _extend, "again": _again, "delete": _delete}

if __name__ == "__main__":
    main()
