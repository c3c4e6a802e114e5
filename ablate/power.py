"""Command: how many seeds and FLOPs a study needs before anything is trained, and what its seeds can see.

The numbers are those of the verdict's own rules (`ablate.verdict.statistics.power`), not of a normal approximation,
which at three seeds would promise twice too much.
"""

import argparse
import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from ablate.console.errors import command
from ablate.console.words import SettingsParser
from ablate.page.planner import show
from ablate.run.files import make_folder
from ablate.run.parse import fitted
from ablate.run.settings import Study, UserError
from ablate.run.study import Budget
from ablate.run.study_record import study_record
from ablate.scores.metrics import metric_of
from ablate.verdict import planning, registry
from ablate.verdict.book import study_named
from ablate.verdict.evidence import Evidence, read
from ablate.verdict.planning import Measured
from ablate.verdict.question import Question
from ablate.verdict.registry import Past
from ablate.verdict.statistics.moderated import promised
from ablate.verdict.statistics.power import Power

if TYPE_CHECKING:
    from ablate.sweep.study import Plan

SURE = 0.999999  # chances above have no quantile that can be found
MOST = 100_000  # seeds, or degrees of freedom
CURVES = 6  # of seed numbers in a picture
WHAT = "Say how many seeds a study needs, what they cost, and what they can see and rule out."
EXAMPLES = """\
  ablate power +experiment=mix_sweep
  ablate power +experiment=mix_sweep size=micro --noise 0.004 --figure power.png
  ablate power mix_sweep --margin 0.005                a study that has begun
  ablate power --noise 0.004 --margin 0.01 --arms 5    no study at all

columns:
  detects           smallest effect that is called better or worse with
                    probability --power
  sees the margin   chance that an effect as large as the margin is called
                    better or worse
  shows no effect   chance that an arm without effect is called equivalent;
                    it often needs more seeds"""


@command
def main(arguments: list[str] | None = None) -> None:
    options = _parser().read(arguments)
    console = Console(highlight=False)
    question = ask(options)
    show(question, console)
    if options.figure:
        from ablate.page.drawing import power_figure  # matplotlib is slow to import

        make_folder(options.figure.parent)
        drawn = power_figure.write(question.power, curves(question), question.unit, options.figure)
        console.print(f"figure   {escape(str(drawn))}", soft_wrap=True)


def ask(options: argparse.Namespace) -> Question:
    """The question that the command line means. Raises UserError."""
    if options.seeds is not None and not 1 <= options.seeds <= MOST:
        raise UserError(f"--seeds {options.seeds}: must be at least 1 and at most {MOST:,}")
    overrides = [word for word in options.words if "=" in word]
    names = [word for word in options.words if "=" not in word]
    if len(names) > 1 or (names and overrides):
        raise UserError(f"{' '.join(options.words)}: must be the name of one study, or overrides like +experiment=NAME")
    if overrides:
        from ablate.sweep.launcher import planned  # Hydra and torch, which --help should not wait for

        return _of_plan(options, planned(options))
    if names:
        return _of_record(options, names[0])
    if options.noise is None or options.arms is None or options.margin is None:
        raise UserError("without a study --noise, --margin and --arms must be given")
    return Question(
        power=_power(options, None, options.arms, None), num_arms=options.arms + 1, seeds=options.seeds or 0
    )


def curves(question: Question) -> list[int]:
    """At most CURVES numbers of seeds: those declared, those needed, and others between."""
    kept = {n for n in (question.seeds, question.power.seeds_needed) if n >= 2}
    others = [n for n in question.rows() if n not in kept]
    step = -(-len(others) // (CURVES - len(kept)))
    return sorted(int(n) for n in kept | set(others[::step]) if math.isfinite(n))


def _of_plan(options: argparse.Namespace, plan: "Plan") -> Question:
    from ablate.sweep.cost import prospect  # imports torch
    from ablate.sweep.wave import as_past

    study, outputs = plan.study, plan.arms[0].settings.where.outputs
    own, focus = study_record(outputs, study.name), plan.arms[0].settings.data.focus
    asked = [as_past(plan, arm) for arm in plan.arms if arm.difference]
    evidence = read(own).with_focus(focus) if own.exists else None
    known = None if options.noise is not None else _measured(evidence, asked, outputs, study, focus)
    family = max(1, sum(bool(arm.difference) for arm in plan.arms[1:]))
    first = dataclasses.replace(study, seeds=study.seeds[:1])
    cost = prospect(plan.of(first))
    return Question(
        power=_power(options, study, family, known),
        num_arms=len({run.id for run in plan.runs if run.seed == study.seeds[0]}),
        seeds=options.seeds or len(study.seeds),
        known=known,
        flops=cost.shared,
        alone=cost.alone,
        seconds=cost.shared * _seconds_per_flop(outputs, study.name, plan),
        unit=metric_of(study.metric, plan.arms[0].settings.data.domains).unit,
    )


def _seconds_per_flop(outputs: str, name: str, plan: "Plan") -> float:
    """Of the study's finished runs, as many at a time as this machine trains; nan without any."""
    from ablate.sweep.executors.local import slots  # as above

    if not study_record(outputs, name).exists:
        return math.nan
    results = [run.result for run in read(study_record(outputs, name)).distinct_runs if run.outcome == "finished"]
    flops = sum(result["flops"] for result in results)
    seconds = sum(result["seconds"] for result in results)
    return seconds / flops / slots(plan.arms[0].settings.where).total if flops else math.nan


def _of_record(options: argparse.Namespace, name: str) -> Question:
    record = study_named(options.outputs or "outputs", name)
    evidence = read(record)
    declared = evidence.declaration
    study = _declared(declared)
    outputs, focus = options.outputs or "outputs", evidence.scope.focus
    known = None if options.noise is not None else _measured(evidence, [], outputs, study, focus)
    flops = [run.result["flops"] for run in evidence.distinct_runs if run.outcome == "finished"]
    num_arms = len(evidence.arms) + 1
    mean = sum(flops) / len(flops) * num_arms if flops else math.nan
    return Question(
        power=_power(options, study, max(1, len(evidence.arms)), known),
        num_arms=num_arms,
        seeds=options.seeds or len(study.seeds),
        known=known,
        flops=mean,
        unit=evidence.metric.unit,
    )


def _declared(declared: dict[str, Any]) -> Study:
    """Of a record, which also has what its arms change, and `budget.rungs`, which studies once had."""
    known = {field.name for field in dataclasses.fields(Study)} - {"arms"}
    in_budget = {field.name for field in dataclasses.fields(Budget)}
    budget = {key: value for key, value in declared.get("budget", {}).items() if key in in_budget}
    found = {key: value for key, value in declared.items() if key in known}
    return fitted(Study, found | {"budget": budget}, "study")


def _measured(own: Evidence | None, asked: Sequence[Past], outputs: str, study: Study, focus: str) -> Measured | None:
    """Noise of the study itself, or of earlier arms like those asked; without any, what the study assumes.

    Raises UserError without that.
    """
    known = planning.of_study(own, study.metric) if own else None
    if known is None and asked:
        known = planning.like(asked, registry.read(outputs, focus), study.metric)
    if known is None and not study.budget.noise:
        raise UserError(f"no study in {outputs} has measured the noise of {study.metric}; give it with --noise")
    return known


def _power(options: argparse.Namespace, study: Study | None, family: int, known: Measured | None) -> Power:
    arms = family if options.arms is None else options.arms
    if not 0 < arms < 100_000:
        raise UserError(f"--arms {arms}: must be above 0 and below 100000")
    assumed = {
        "noise": known.noise.value if known else study.budget.noise if study else 0.0,
        "margin": study.margin if study else 0.0,
        "confidence": study.confidence if study else 0.95,
        "noise_df": promised(arms),
    }
    given = {key: getattr(options, key) for key in assumed if getattr(options, key) is not None}
    values: dict[str, Any] = {"arms": arms, "power": options.power, **assumed, **given}
    _check(values)
    return Power(**values)


def _check(values: dict[str, float]) -> None:
    """Raises UserError for a number that has no meaning."""
    bounds = {"noise": (0, math.inf), "margin": (0, math.inf)}
    for key, (low, high) in {**bounds, "confidence": (0.5, SURE), "power": (0.5, SURE)}.items():
        if not low < values[key] < high:
            allowed = f"above {low}" + (f" and below {high}" if math.isfinite(high) else "")
            raise UserError(f"--{key} {values[key]}: must be {allowed}")
    if not 0 <= values["noise_df"] <= MOST:
        raise UserError(f"--noise-df {values['noise_df']}: must be at least 0 and at most {MOST:,}")


def _parser() -> SettingsParser:
    parser = SettingsParser("power", WHAT, EXAMPLES, ["experiment", "study", "controls"])
    parser.add_argument("--noise", type=float, metavar="SD", help="standard deviation over seeds of arm - base")
    parser.add_argument(
        "--noise-df",
        type=float,
        metavar="DF",
        help="degrees of freedom lent to an arm (default: what arms lend each other)",
    )
    parser.add_argument("--margin", type=float, help="smallest effect that matters, in the metric's unit")
    parser.add_argument("--arms", type=int, help="arms judged together, the base not among them")
    parser.add_argument("--seeds", type=int, help="seeds declared, where not those of the study")
    parser.add_argument("--power", type=float, default=0.8, help="chance wanted (default: %(default)s)")
    parser.add_argument("--confidence", type=float, help="of the verdict (default: the study's, or 0.95)")
    parser.add_figure("where to draw chance against effect")
    return parser


if __name__ == "__main__":
    main()
