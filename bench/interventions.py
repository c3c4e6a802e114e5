"""Whether one run answers twenty questions as twenty runs of one question do, and how often its verdicts are wrong.

trained       the facts of `insert_sweep` in runs of half its length, each read 0, 1, 4 or 16 times as the seed deals
              them out: all in one run, and each in a run of its own, at the very same rows. A fact that is read 0 times
              is the base itself, alone. Each side is judged as one family (`statistics.untouched`).
false claims  studies in which no text does anything: 20 questions, noise of several shapes
power         of one question, whose text does what several standard deviations of a single answer are worth
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from ablate.plan.insert import dealt
from ablate.run.parse import from_plain
from ablate.run.questions import CONTROLS, questions
from ablate.scores import answers, readings
from ablate.sweep.worker import alone, train
from ablate.verdict.statistics.untouched import Judged, Told, judge
from bench import cases
from bench.rounds import Row
from bench.verdicts import MOST, FalseClaims, Share

WHERE = {"device": "cpu", "wandb": "off", "progress": False, "saves": 1, "threads": 1}
FACTS, REPETITIONS, SEEDS = 20, (0, 1, 4, 16), (0, 1)
PICO = {"width": 128, "depth": 2, "heads": 4, "kv_heads": 2, "hidden": 384}
RUN: dict[str, Any] = {
    "data": {"span": 256},
    "size": PICO,
    "length": {"lengths": [256]},
    "tokens": 150_000,
    "evaluation": {"times": 1},
    "evaluate": {"tasks": {"facts": {"kind": "inserted", "options": {"made": FACTS}}}},
}
MARGIN, CONFIDENCE = 0.1, 0.95
STUDIES, QUICK = 600, 20
Cell = tuple[str, int]


def interventions(quick: bool) -> list[Row]:
    """questions in one run against a run each, and the error rates of their verdicts"""
    rows = [row for seed in SEEDS[: 1 if quick else None] for row in trained(seed, 2 if quick else FACTS)]
    return [*rows, *simulated(QUICK if quick else STUDIES)]


def trained(seed: int, most: int) -> list[Row]:
    """At most so many of the facts are trained alone."""
    with cases.outputs() as outputs:

        def values(**insert: Any) -> dict[str, float]:
            where = WHERE | {"outputs": str(outputs)}
            task = alone(from_plain(RUN | {"where": where, "insert": insert, "seed": seed}))
            result = train(task)
            [found] = answers.found(task.record.scores, "facts", step=result["step"])
            bits, size = readings.parts(found.rows, readings.BITS)
            return dict(zip((row["item"] for row in found.rows), (bits / size).tolist(), strict=True))

        times = times_of(seed)
        base, crowd = values(), values(made=FACTS)
        read = [name for name, number in times.items() if number][:most]
        singles = {name: values(made=FACTS, only=[name]) for name in read}
    forms = {one.name: one.like or one.name for some in questions("", "", FACTS) for one in some}
    known = forms, MARGIN, CONFIDENCE
    together = judge({0: _less(crowd, base)}, {0: times}, *known).answers
    apart = judge(
        {number: _less(one, base) for number, one in enumerate(singles.values())},
        {number: {name: times[name]} for number, name in enumerate(singles)},
        *known,
    ).answers
    return _compared(f"seed {seed}", {key: told for key, told in together.items() if key in apart}, apart)


def times_of(seed: int) -> dict[str, int]:
    settings = from_plain(RUN | {"insert": {"made": FACTS}, "seed": seed})
    names = [one.name for one in questions("", "", FACTS)[0]]
    return dict(zip(names, dealt(settings, FACTS).tolist(), strict=True))


def _less(ours: Mapping[str, float], base: Mapping[str, float]) -> dict[str, float]:
    return {name: ours[name] - base[name] for name in base}


def _compared(case: str, together: Mapping[Cell, Told], apart: Mapping[Cell, Told]) -> list[Row]:
    rows: list[Row] = []
    same = [float(told.word == apart[key].word) for key, told in together.items()]
    rows.append(Row(case, f"share of {len(same)} words that agree", [float(np.mean(same))], 0.8))
    means = np.array([[told.mean for told in side.values()] for side in (together, apart)])
    rows.append(Row(case, "correlation of effects", [float(np.corrcoef(means)[0, 1])], 0.8))
    for number in REPETITIONS[1:]:
        mine = [key for key in together if key[1] == number]
        for name, side in {"together": together, "apart": apart}.items():
            if mine:
                rows.append(Row(case, f"effect of {number} times, {name}", [side[key].mean for key in mine]))
                claimed = [float(side[key].word == "better") for key in mine]
                rows.append(Row(case, f"share `better` of {number} times, {name}", [float(np.mean(claimed))]))
    return rows


Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]  # (seeds, answers) -> noise of variance about 1


def _scattered(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Every question has a noise of its own."""
    return rng.standard_normal(shape) * np.exp(0.5 * rng.standard_normal(shape[1]) - 0.25)


WORLDS: dict[str, Draw] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "questions of scattered noise": _scattered,
    "Student's t of 5": lambda rng, shape: rng.standard_t(5, shape) / np.sqrt(5 / 3),
    "Student's t of 3": lambda rng, shape: rng.standard_t(3, shape) / np.sqrt(3),
    "skewed": lambda rng, shape: rng.standard_exponential(shape) - 1,
}


def simulated(studies: int) -> list[Row]:
    rows: list[Row] = []
    for (world, draw), seeds, controls in product(WORLDS.items(), (1, 4), (FACTS, FACTS * CONTROLS)):
        found = [null(number, draw, seeds, controls) for number in range(studies)]
        for what, family in {"question": "answers", "number of repetitions": "by_times"}.items():
            false = [float(_claims(getattr(one, family))) for one in found]
            case = f"{world}, {seeds} seed{'s' * (seeds > 1)}, {controls} controls"
            rows.append(FalseClaims(case, f"false claims of a {what}", false, MOST, "at most"))
    for effect, controls in product((2.0, 4.0, 6.0), (FACTS, FACTS * CONTROLS)):
        found = [null(number, WORLDS["normal"], 1, controls, effect) for number in range(studies // 10)]
        seen = [float(told.word == "better") for one in found for told in one.answers.values()]
        rows.append(Share(f"texts of {effect:g} sd, 1 seed, {controls} controls", "questions that are found", seen))
    return rows


def _claims(family: Mapping[Any, Told]) -> bool:
    return any(told.word in ("better", "worse") for told in family.values())


def null(
    number: int,
    draw: Draw,
    seeds: int,
    controls: int = FACTS,
    effect: float = 0.0,
    repetitions: Sequence[int] = REPETITIONS,
) -> Judged:
    """A study whose texts lower every loss by `effect`."""
    rng = np.random.default_rng([number, seeds])
    noise_SA, of_run_S = draw(rng, (seeds, FACTS + controls)), rng.standard_normal(seeds)
    rank, names = rng.permutation(FACTS), [f"{place:02d}" for place in range(FACTS + controls)]
    times = {
        seed: dict(zip(names, np.array(repetitions)[(rank + seed) % len(repetitions)].tolist(), strict=False))
        for seed in range(seeds)
    }
    values = {
        seed: {
            name: float(x + of_run_S[seed] - effect * (times[seed].get(name, 0) > 0))
            for name, x in zip(names, noise_SA[seed], strict=True)
        }
        for seed in range(seeds)
    }
    forms = {name: f"{place % FACTS:02d}" for place, name in enumerate(names)}  # a question has as many controls as all
    return judge(values, times, forms, 0.0, CONFIDENCE)
