"""What to plan: the numbers of `power` for one study as a table, the price of each seed, and a sentence.

    question = Question(power=Power(noise=0.004, margin=0.01, arms=5), num_arms=6, seeds=3)
    advice(question)     'Take 6 seeds, not 3: an effect of 0.01 is seen with 6 seeds, ...'

`ablate.power` asks the question, of a study on disk or of one composed.
"""

import dataclasses
import math

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ablate.page import tables
from ablate.verdict.evidence import flops_text
from ablate.verdict.question import Question
from ablate.verdict.statistics.moderated import promised
from ablate.verdict.statistics.power import MOST_SEEDS


def show(question: Question, console: Console) -> None:
    """Print the table, what it rests on, and what to do."""
    power = question.power
    asked = f"{power.arms} arms, margin {power.margin:g} {question.unit}".rstrip()
    level = f"confidence {power.confidence:g}, power {power.power:g}"
    console.print(f"{asked}, {level}; {_source(question)}\n")
    console.print(table(question))
    for line in remarks(question):
        console.print(escape(line))
    console.print(f"\n[bold]{escape(advice(question))}[/]")


def _source(question: Question) -> str:
    known = question.known
    if known is None:
        return f"noise of a pair {question.power.noise:.4g} as given"
    low, high = known.noise.interval
    return f"noise of a pair {known.noise.value:.4g} [{low:.4g}, {high:.4g}], from {known.source}"


def table(question: Question) -> Table:
    """A row for each number of seeds, those declared and those needed among them."""
    headings = ("seeds", "runs", "FLOPs", "minutes", "detects", "sees the margin", "shows no effect")
    out = tables.table(*(f">{heading}" for heading in headings))
    for seeds in question.rows():
        power, declared = question.power, seeds == question.seeds
        minutes, flops = seeds * question.seconds / 60, seeds * question.flops
        out.add_row(
            f"{seeds}{' *' if declared else ''}",
            str(seeds * question.num_arms),
            flops_text(flops) if math.isfinite(flops) else "–",
            f"{minutes:.1f}" if math.isfinite(minutes) else "–",
            f"{power.detectable(seeds):.4f}",
            f"{power.chance(power.margin, seeds):.0%}",
            f"{power.chance_equivalent(seeds):.0%}",
            style="bold" if declared else "",
        )
    if question.seeds:
        out.caption = "* declared"
    return out


def advice(question: Question) -> str:
    """What to do, in one sentence."""
    power = question.power
    see, rule_out, needed = power.seeds_to_see(power.margin), power.seeds_to_rule_out(), power.seeds_needed
    if math.isinf(needed):
        mend = f"measure with less noise, or widen the margin {power.margin:g}"
        return f"More than {MOST_SEEDS} seeds would be needed: {mend}."
    text = f"an effect of {power.margin:g} is seen with {see} seeds, and that there is none is shown with {rule_out}"
    if not question.seeds:
        return f"Take {needed} seeds: {text}."
    if question.seeds >= needed:
        return f"The {question.seeds} seeds declared are enough: {text}."
    sees = f"the {question.seeds} declared detect {power.detectable(question.seeds):.4f} and more"
    return f"Take {needed} seeds, not {question.seeds}: {text}; {sees}."


def remarks(question: Question) -> list[str]:
    """What a seed block and the family cost."""
    power = question.power
    lines = []
    if not math.isnan(question.flops):
        saved = 1 - question.flops / question.alone
        shared = "" if math.isnan(saved) else f"; shared beginnings save {saved:.0%}"
        lines.append(f"a seed block of {question.num_arms} runs: {flops_text(question.flops)}{shared}")
    if power.arms > 1:
        alone = dataclasses.replace(
            power, arms=1, noise_df=max(0.0, power.noise_df - promised(power.arms))
        ).seeds_to_see(power.margin)
        lines.append(f"family of {power.arms}: by itself one arm would be seen with {alone} seeds")
    return lines
