"""Command: what a study shows so far, as a table here and as one page with figures.

Records are only read; a report can be made at any time, also while the study runs.
"""

from argparse import Namespace
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from ablate.console.errors import command
from ablate.console.words import Parser
from ablate.run.settings import UserError
from ablate.run.study_record import StudyRecord

# What each flag that asks for something else than the report goes with, and what the report goes with
USED = {
    "self_test": ("self_test",),
    "book": ("book", "workspace"),
    "apply": ("apply", "entity"),
    "workspace": ("name", "workspace"),
    "card": ("name", "card", "rescore"),
    "progress": ("name", "progress"),
}
OF_REPORT = ("name", "rescore", "keep")
WHAT = "Print the verdict of a study and write its page. Without STUDY, list the studies."
EXAMPLES = """\
  ablate report                             the studies there are
  ablate report mix_sweep                   table and page, also while it runs
  ablate report mix_sweep --card share_40   all there is to say about one arm
  ablate report mix_sweep --progress        its tasks, checkpoint by checkpoint
  ablate report experiments/mix_sweep       a study out of the lab book
  ablate report mix_sweep --keep experiments/mix_sweep      into the lab book
  ablate report mix_sweep --workspace FILE  its panels for wandb.ai
  ablate report --apply FILE                puts them there
  ablate report --self-test                 how often this lab is wrong
  ablate report --book experiments          all claims and all studies"""
NAMED = 4  # arms of a sweep in the list


@command
def main(arguments: list[str] | None = None) -> None:
    parser = _parser()
    options = parser.read(arguments)
    asked = next((name for name in USED if getattr(options, name)), "")
    doing = f"--{asked.replace('_', '-')}" if asked else "STUDY" if options.name else "no STUDY"
    parser.check_used(options, doing, USED[asked] if asked else OF_REPORT if options.name else ())
    if options.self_test:
        _self_test(Path(options.outputs))
    elif options.book is not None:
        _book(Path(options.book), options.workspace)
    elif options.apply is not None:
        _apply(Path(options.apply), options.entity)
    elif options.workspace is not None:
        _workspace(_study(options.outputs, _named(options, "--workspace FILE")), Path(options.workspace))
    elif options.card is not None:
        _card(_study(options.outputs, _named(options, "--card ARM")), options.card, options.rescore)
    elif options.progress:
        _progress(_study(options.outputs, _named(options, "--progress")))
    elif options.name is None:
        _list(Path(options.outputs))
    else:
        report(_study(options.outputs, options.name), options.rescore)
        if options.keep:
            from ablate.page.kept import keep  # as in `report`

            keep(_study(options.outputs, options.name), Path(options.keep))
            print(f"kept     {options.keep}")


def _named(options: Namespace, wanted: str) -> str:
    if options.name is None:
        raise UserError(f"{wanted}: of which study? ablate report STUDY {wanted}")
    return options.name


def _card(study: StudyRecord, arm: str, again: bool) -> None:
    from ablate.laws import worth  # as in `_study`
    from ablate.page import terminal
    from ablate.sweep.audit import ask, rescore
    from ablate.verdict import card, evidence
    from ablate.verdict.validity import trust

    seen = evidence.read(study)
    rescore(seen, again)
    ask(seen)
    conclusion = trust.conclude(seen)
    found = {one.verdict.arm: one for one in card.cards(seen, conclusion)}
    if arm not in found:
        raise UserError(f"--card {arm}: no such arm in {study.name}; there are {', '.join(found) or 'none'}")
    trust.look(seen, conclusion)
    Console(highlight=False).print(terminal.card(found[arm], worth.of_base(seen)))


def _progress(study: StudyRecord) -> None:
    from ablate.page import answers  # as in `_study`
    from ablate.sweep.audit import ask
    from ablate.verdict import evidence

    seen = evidence.read(study)
    if not seen.scope.tasks:
        raise UserError(f"--progress: {study.name} asks no tasks; declare some with evaluate=small or evaluate.tasks")
    ask(seen)
    shown = answers.progress(seen)
    if not shown.renderables:
        raise UserError(f"--progress: nobody has asked the runs of {study.name}; ablate evaluate {study.name} does")
    Console(highlight=False).print(shown)


def _workspace(study: StudyRecord, path: Path) -> None:
    from ablate.page import workspace
    from ablate.verdict import evidence  # as in `_study`

    workspace.write(evidence.read(study), path)
    _say_how_to_apply(path)


def _say_how_to_apply(path: Path | str) -> None:
    print(f"workspace {path}; put it on wandb.ai with: ablate report --apply {path}")


def _apply(path: Path, entity: str) -> None:
    from ablate.page import workspace  # as in `_study`

    print(f"workspace {workspace.apply(path, entity)}")


def _self_test(outputs: Path) -> None:
    from ablate.page import terminal  # as in `_study`
    from ablate.verdict import selftest

    Console(highlight=False).print(terminal.self_test(selftest.self_test(outputs)))


def _book(folder: Path, workspace: str | None) -> None:
    from rich.progress import track

    from ablate.page import book, page  # as in `_study`
    from ablate.page import workspace as workspaces
    from ablate.verdict import claims, selftest
    from ablate.verdict.ladder import read_ladder

    claimed, studies = claims.claims(folder), []
    for record in track(claims.records(folder), "studies", transient=True):
        studies.append(one := claims.studied(record))
        page.of(one.evidence, one.conclusion, read_ladder(one.evidence))
    found = book.Book(claims.rows(claimed, studies), studies, selftest.self_test(folder))
    console = Console(highlight=False)
    console.print(", ".join(f"{answer} {count}" for answer, count in found.answers.most_common()))
    console.print(f"page     {escape(str(book.write(folder, found)))}", soft_wrap=True)
    if workspace is not None:
        workspaces.write_book([one.evidence for one in studies], Path(workspace))
        _say_how_to_apply(workspace)


def report(study: StudyRecord, again: bool = False) -> None:
    """Print the verdict, write the page, and say where it is. Raises UserError when there is no such study.

    again: score all runs once more, whatever was noted of them.
    """
    from ablate.page import terminal  # as in `_study`
    from ablate.sweep.audit import ask, rescore
    from ablate.verdict import evidence
    from ablate.verdict.ladder import read_ladder
    from ablate.verdict.validity import trust

    console = Console(highlight=False)
    found = evidence.read(study)
    rescore(found, again)
    ask(found)
    conclusion = trust.conclude(found)
    trust.look(found, conclusion)
    rungs = read_ladder(found)
    terminal.show(found, conclusion, console, rungs)
    from ablate.page import page  # draws: matplotlib is slow to import, the table should not wait

    console.print(f"\npage     {escape(str(page.of(found, conclusion, rungs)))}", soft_wrap=True)


def _study(outputs: str, name: str) -> StudyRecord:
    from ablate.verdict.book import study_named  # pandas is slow to import, and not needed to list studies

    return study_named(outputs, name)


def _list(outputs: Path) -> None:
    console = Console(highlight=False)
    studies = sorted(path.parent for path in (outputs / "studies").glob("*/study.json"))
    if not studies:
        raise UserError(f"no study in {outputs / 'studies'}; start one with: ablate train +experiment=NAME -m")
    for folder in studies:
        console.print(f"{folder.name:24} {escape(_question(StudyRecord(folder)))}", soft_wrap=True)


def _question(study: StudyRecord) -> str:
    """What a study asks, a sweep without a question its arms, or why it cannot be read: the others are listed too."""
    try:
        declaration = study.read()
    except UserError as error:
        return str(error)
    arms = list(declaration["arms"])
    more = f" and {len(arms) - NAMED} more" if len(arms) > NAMED else ""
    return declaration["question"] or f"{' | '.join(arms[:NAMED])}{more}"


def _parser() -> Parser:
    parser = Parser("report", WHAT, EXAMPLES)
    parser.add_argument("name", nargs="?", metavar="STUDY", help="a study's name, or its folder in the lab book")
    parser.add_argument("--keep", metavar="FOLDER", help="write the study's tables into this folder of a lab book")
    parser.add_argument("--card", metavar="ARM", help="show all that the verdict of this arm rests on")
    parser.add_argument("--progress", action="store_true", help="what each arm could do at each checkpoint, by task")
    parser.add_argument("--rescore", action="store_true", help="score the saved weights of all its runs again")
    parser.add_argument("--workspace", metavar="FILE", help="write the study's workspace for Weights & Biases")
    parser.add_argument("--apply", metavar="FILE", help="save a workspace on wandb.ai, as the user who is logged in")
    parser.add_argument("--entity", default="", help="user or team to save it for (default: the user's own)")
    parser.add_argument("--self-test", action="store_true", help="measure the error rates of this lab on its own runs")
    parser.add_argument("--book", metavar="FOLDER", help="write the table of claims and the page of a whole lab book")
    return parser


if __name__ == "__main__":
    main()
