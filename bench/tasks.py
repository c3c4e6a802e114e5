"""How often a study of a task is wrong, and how many items each reading of it needs.

    null studies     a base and three arms that differ in nothing, three seeds, judged as a first study is: answers are
                     drawn item by item (a difficulty that all runs share, noise of the run and of the item), read
                     and judged as the report does it. A study in which any arm is said to differ is false
    ties             nats are rounded, so that choices often tie
    twice            every item is there twice, under another key: no interval may be narrower
    half the tokens  answers of trained runs (`--outputs`: the study planted_tasks), read of fewer items at random:
                     the share of draws in which the verdict says `better`, and the fewest items at which most do

`ablate train` trains the runs of the last: see the first lines of `PLANTED`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ablate.run.study_record import study_record
from ablate.scores import readings
from ablate.scores.items import Row
from ablate.scores.metrics import metric_of
from ablate.scores.readings import READINGS
from ablate.verdict.evidence import Evidence, read
from ablate.verdict.statistics.looks import Noise
from ablate.verdict.statistics.moderated import lent
from ablate.verdict.statistics.paired import judge
from bench.rounds import Row as Line
from bench.verdicts import FalseClaims, Share

# ablate train -m study.name=planted_tasks study.factor=[tokens] tokens=100_000 "+study.arms.half=['tokens=50_000']" \
#   size=pico study.seeds=[0,1,2,3] study.metric=task:continuation:bpb \
#   '+evaluate.tasks.continuation={kind: continuation, items: 400}' \
#   '+evaluate.tasks.calculation={kind: questions, items: 400}' '+evaluate.tasks.words={kind: last_word, items: 400}'
PLANTED = "planted_tasks"
STUDIES, QUICK, DRAWS = 1000, 20, 200
ARMS, SEEDS, CHOICES = 3, 3, 4
MOST = 0.065
SIZES = (6, 12, 25, 50, 100, 200, 400)  # items
NEEDED = 0.8  # of the draws


def tasks(quick: bool, outputs: Path = Path("outputs")) -> list[Line]:
    """shares of studies; from, to: Clopper-Pearson 95 % of a rate"""
    rows: list[Line] = []
    for items, rounded in ((40, 0), (40, 1), (200, 0)):
        name = f"{items} items{', ties' * rounded}"
        for reading, words in _nulls(items, bool(rounded), QUICK if quick else STUDIES).items():
            rows.append(FalseClaims(name, f"false claims, {reading}", words, MOST))
    return rows + _twice() + _planted(outputs, QUICK if quick else DRAWS)


def _nulls(items: int, rounded: bool, studies: int) -> dict[str, list[float]]:
    """By reading, 1 for each study in which some arm is said to differ."""
    found: dict[str, list[float]] = {reading: [] for reading in READINGS}
    for number in range(studies):
        runs = _study(np.random.default_rng([items, rounded, number]), items, rounded)
        for reading, words in found.items():
            words.append(float(_claims([[readings.value(rows, reading) for rows in arm] for arm in runs])))
    return found


def _study(rng: np.random.Generator, items: int, rounded: bool) -> list[list[list[Row]]]:
    """Rows by arm (the base first) and seed; items of one source stand or fall together."""
    difficulty = rng.normal(0, 1, (items, CHOICES)) + rng.normal(0, 1, (items // 4 + 1, 1)).repeat(4, 0)[:items]
    shared = rng.normal(0, 0.1, (SEEDS, 1, 1))  # of a seed, in all arms
    noise = rng.normal(0, 0.1, (ARMS + 1, SEEDS, 1, 1)) + rng.normal(0, 0.3, (ARMS + 1, SEEDS, items, CHOICES))
    nats = np.maximum(4 + difficulty + shared + noise, 0.01)
    nats = np.round(nats) + 0.01 if rounded else nats
    return [[_rows(one) for one in arm] for arm in nats]


def _rows(nats: np.ndarray) -> list[Row]:
    return [
        {"item": str(i), "source": str(i // 4), "gold": i % CHOICES, "nats": one, "bytes": [5, 6, 7, 8]}
        for i, one in enumerate(nats.tolist())
    ]


def _claims(values: Sequence[Sequence[float]], margin: float = 1e-9) -> bool:
    """Whether a first study of these values says that an arm differs."""
    base, *arms = np.array(values)
    d = {str(number): (arm - base).tolist() for number, arm in enumerate(arms)}
    gaps = np.diff(np.unique(np.array(values)))
    least = float(gaps[gaps > 2.0**-23].min(initial=np.inf))
    prior = lent(Noise(), list(d.values()))
    prior = Noise(prior.variance, prior.df, least**2 if np.isfinite(least) else 2.0**-46)
    return any(one.word != "inconclusive" for one in judge(d, margin, 0.95, dict.fromkeys(d, prior)).values())


def _twice() -> list[Line]:
    lines: list[Line] = []
    for reading in READINGS:
        ratios = []
        for number in range(QUICK):
            rows = _study(np.random.default_rng(number), 40, False)[0][0]
            twice = [*rows, *(row | {"item": f"{row['item']} again"} for row in rows)]
            once, again = (np.diff(readings.interval(each, reading))[0] for each in (rows, twice))
            ratios.append(float(again / once))
        lines.append(Line("every item twice", f"width of the interval, {reading}", ratios, 1.0 - 1e-9))
    return lines


def _planted(outputs: Path, draws: int) -> list[Line]:
    """Of a trained pair; none where it was not trained."""
    study = study_record(outputs, PLANTED)
    if not study.exists:
        return []
    evidence, lines = read(study), []
    for task in evidence.scope.tasks:
        needed = {reading: _needed(evidence, task, reading, draws, lines) for reading in ("bpb", "acc_norm", "acc")}
        ratio = needed["bpb"] / min(needed["acc"], needed["acc_norm"])
        lines.append(Line(f"half the tokens, {task}", "items of bpb over accuracy's", [ratio], 0.25, "at most"))
    return lines


def _needed(evidence: Evidence, task: str, reading: str, draws: int, lines: list[Line]) -> float:
    """The fewest items at which most draws decide; twice all of them where none does."""
    asked = metric_of(f"task:{task}:{reading}", evidence.domains).asked
    assert asked is not None
    runs = [[asked.rows(run.result, evidence.scope) or [] for run in of.values()] for of in evidence.by_arm.values()]
    parts = np.array([[readings.parts(rows, reading) for rows in arm] for arm in runs])  # arms, seeds, 2, items
    total, rng = parts.shape[-1], np.random.default_rng(0)
    for items in [size for size in SIZES if size <= total]:
        words = []
        for _ in range(draws):
            x, w = np.moveaxis(parts[..., rng.choice(total, items, replace=False)].sum(-1), -1, 0)
            words.append(float(_claims((x / w).tolist())))
        lines.append(Share(f"half the tokens, {task}", f"decided with {items} items, {reading}", words))
        if np.mean(words) >= NEEDED:
            return items
    return 2.0 * total
