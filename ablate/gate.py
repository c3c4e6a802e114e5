"""Command: one idea after another against an incumbent, so that few are kept falsely however many there are."""

import argparse
import contextlib
import dataclasses
import sys
from typing import TYPE_CHECKING

from rich.console import Console

from ablate.console.errors import command
from ablate.console.words import SettingsParser
from ablate.page import gate_table
from ablate.page.tables import facts
from ablate.run.gates import GateRecord, gate_record
from ablate.run.identity import in_words
from ablate.run.settings import UserError
from ablate.scores.metrics import metric_of
from ablate.verdict import ideas
from ablate.verdict.evidence import flops_text
from ablate.verdict.ideas import Idea, Stream, merged
from ablate.verdict.statistics import stream
from ablate.verdict.statistics.stream import Rule, Word

if TYPE_CHECKING:
    from ablate.sweep.study import Plan

WHAT = """Judge one change after another against an incumbent: keep, discard or retest. Among all ideas that a gate ever
judges, some false one is kept with a probability of at most --alpha."""
EXAMPLES = """\
  ablate gate --begin size=nano tokens=1e6    the first incumbent
  ablate gate optimizer.lr=6e-3               an idea: pairs of runs, and a word
  ablate gate schedule=cosine --dry-run       what it would train, and its cost
  ablate gate                                 all ideas so far

The same command again goes on where it was stopped. After `keep` the change is
part of the incumbent. After `retest` it trains as many pairs again. An idea
that was discarded may be tried again: it is another idea, with seeds and a
stake of its own.

exit code: 0 keep or a dry run, 2 discard, 3 retest, 1 an error, 130 stopped"""
EXITS = {"keep": 0, "discard": 2, "retest": 3}
OF_BEGIN = {"alpha": 0.5, "ideas": 1_000_000, "effect": 10.0}  # and what they must stay below


@command
def main(arguments: list[str] | None = None) -> None:
    parser = _parser()
    options = parser.read(arguments)
    gate = gate_record(options.outputs or "outputs", options.name)
    console, word = Console(highlight=False, soft_wrap=True), "keep"
    used = {"words", "name", "config_dir", "begin"}
    if options.begin:
        parser.check_used(options, "--begin", {*used, *OF_BEGIN})
        begin(gate, options)
    else:
        parser.check_used(options, "an idea", {*used, "dry_run"})
        word = judged(gate, options, console) if options.words else word
    if not options.dry_run:
        gate_table.show(gate.name, known(gate), console)
    if code := EXITS[word]:
        sys.exit(code)


def begin(gate: GateRecord, options: argparse.Namespace) -> None:
    """Write down the first incumbent and the rule. Raises UserError where the gate is there already."""
    from ablate.sweep.gate import settings  # Hydra, which mistakes in the flags should not wait for

    for key, high in OF_BEGIN.items():
        if not 0 < getattr(options, key) < high:
            raise UserError(f"--{key} {getattr(options, key)}: must be above 0 and below {high:,}")
    found = settings(options, tuple(options.words))
    metric = metric_of(found.study.metric, found.data.domains)
    with gate.held():
        if gate.ledger.rows():
            raise UserError(f"gate {gate.name} was begun already; begin another with --name")
        rule = {key: getattr(options, key) for key in OF_BEGIN}
        gate.ledger.add("begun", base=options.words, metric=metric.name, unit=metric.unit, **rule)


def judged(gate: GateRecord, options: argparse.Namespace, console: Console) -> Word:
    """The word of an idea. Raises UserError where there is none."""
    known(gate)  # without one, no folder is made
    with contextlib.nullcontext() if options.dry_run else gate.held():
        return _judged(gate, options, console)


def _judged(gate: GateRecord, options: argparse.Namespace, console: Console) -> Word:
    from ablate.sweep import gate as sweep  # as above

    seen, (change, place) = known(gate), sweep.parted(options.words)
    waiting = seen.open(change)
    idea = waiting or sweep.new(gate, seen, change)
    try:
        pair = sweep.composed(options, merged(seen.incumbent, place), change)
        plan = sweep.planned(pair, idea, sweep.limit_of(idea, seen))
    except sweep.NoChange as error:
        if one := seen.kept(change):
            console.print(f"kept already: idea {one.number}")
            return "keep"
        console.print(f"no idea: {error}")
        if not options.dry_run:
            gate.ledger.add("refused", change=list(change), reason=str(error))
        return "discard"
    if not waiting:
        part, fresh = sweep.part_of(plan, idea.number)
        idea = dataclasses.replace(idea, part=part, fresh=fresh)
    plan = sweep.on_part(plan, idea.part)
    tell(plan, idea, seen, console)
    if options.dry_run:
        return "keep"
    if not waiting:
        gate.ledger.add("opened", **idea.row())
    row = sweep.judge(plan, idea, seen, console)
    gate.ledger.add("judged", number=idea.number, **row)
    return row["word"]


def tell(plan: "Plan", idea: Idea, seen: Stream, console: Console) -> None:
    """What is judged, how, and what that costs."""
    from ablate.sweep import gate as sweep  # as above

    few, limit = stream.fewest(idea.stake, seen.rule), sweep.limit_of(idea, seen)
    one = sweep.cost(plan, 1)
    text = "no earlier idea was scored on them" if idea.fresh else "earlier ideas, or studies, were scored on them"
    rows = {
        f"idea {idea.number}": " ".join(idea.change),
        "differs": in_words(plan.arms[1].difference),
        "incumbent": " ".join(seen.incumbent) or "the defaults",
        "stake": f"{idea.stake:.3g} of the {seen.pot:.3g} in the pot",
        "pairs": f"{few} that all agree keep it; {limit} at most, until a retest; seeds {idea.seed} and on",
        "text": f"part {idea.part} of the held-out rows: {text}",
        "cost": f"{flops_text(one)} a pair, {flops_text(one * few)} for the fewest that keep it, "
        f"{flops_text(one * (limit + sweep.AGAIN))} at most; most changes that do nothing take one to four pairs",
    }
    console.print(facts(rows.items()))


def known(gate: GateRecord) -> Stream:
    """The gate so far. Raises UserError without one."""
    rows = gate.ledger.rows()
    if not rows:
        raise UserError(f"no gate {gate.name!r} in {gate.folder.parent}: ablate gate --begin KEY=VALUE ... begins one")
    if not gate.ledger.whole:
        raise UserError(f"{gate.ledger.path}: rows were deleted or edited, so that nobody knows what was staked")
    return ideas.read(rows)


def _parser() -> SettingsParser:
    parser = SettingsParser("gate", WHAT, EXAMPLES)
    parser.add_argument("--name", default="gate", help="of the folder in outputs/gates (default: gate)")
    parser.add_argument("--begin", action="store_true", help="the settings are the first incumbent")
    parser.add_argument("--dry-run", action="store_true", help="show what would be trained, and train nothing")
    rule = Rule()
    parser.add_argument("--alpha", type=float, default=rule.alpha, help="probability of any false keep (default: 0.05)")
    parser.add_argument(
        "--ideas", type=int, default=rule.ideas, help="ideas by which half of alpha is staked (default: 100)"
    )
    parser.add_argument(
        "--effect",
        type=float,
        default=rule.effect,
        metavar="SD",
        help="size of the ideas looked for, in standard deviations of a difference (default: 2)",
    )
    return parser


if __name__ == "__main__":
    main()
