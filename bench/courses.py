"""Losses and gradient norms of runs that nothing is wrong with, made up, for who asks a monitor of spikes.

    power law    a loss that falls as a power; rows that are off by heavy tails; three stages; a rate that rises again.
                 The rule was tuned on its seeds below 100.
    published    what public logs and papers of training show beside that. The rule has never met it.

Both yield of each step its phase (stage, row length, rows), the nats and counted targets of each domain, and the norm.
"""

from collections.abc import Callable, Iterator

import numpy as np

Step = tuple[tuple[float, float, float], np.ndarray, float]

LENGTH = 2500  # steps of a run
DOMAINS = 4
SHARES = np.array([0.55, 0.3, 0.14, 0.01])  # of the published course: a domain comes in one row of a hundred


def power_law(seed: int) -> Iterator[Step]:
    """A row's loss is off by its domain's spread times a t variate of 8 degrees of freedom, a tenth of them twice as
    wide; the norm follows the loss, and is off by a factor whose logarithm has 5 degrees. So deviations have tails as
    heavy as those of recorded runs (DECISIONS.md).
    """
    rng = np.random.default_rng(seed)
    floor_D, fall_D = rng.uniform(0.5, 3, 4), rng.uniform(2, 5, 4)
    spread_D, power = rng.uniform(0.05, 0.5, 4), rng.uniform(0.2, 0.5)
    switches = np.sort(rng.integers(300, LENGTH, 3))
    rows_of = [int(rng.choice([1, 2, 4, 8, 16])) * factor for factor in (1, 1, 2, 4)]
    lengths = [256.0, 512.0, 512.0, 1024.0]
    weights_SD = rng.dirichlet(np.ones(4), 4)
    rewarmed = rng.integers(500, LENGTH - 200)
    for step in range(LENGTH):
        stage = int(np.searchsorted(switches, step, side="right"))
        length, rows = lengths[stage], rows_of[stage]
        domain_R = rng.choice(4, rows, p=weights_SD[stage])
        bump = 0.15 * np.exp(-0.5 * ((step - rewarmed) / 60) ** 2)  # a rate that rises again
        level_D = floor_D + fall_D * (1 + step / 10) ** -power + bump + 0.1 * stage
        wide_R = np.where(rng.random(rows) < 0.1, 2.0, 1.0)
        off_R = spread_D[domain_R] * rng.standard_t(8, rows) * wide_R / np.sqrt(length / 256)
        step_D2 = _sums(domain_R, length, level_D[domain_R] + off_R)
        common = np.abs(off_R).mean() / spread_D.mean()
        norm = (1 + 3 * np.exp(-step / 100)) * np.exp(0.1 * rng.standard_t(5) + 0.1 * common) / np.sqrt(rows)
        yield (float(stage), length, float(rows)), step_D2, float(norm)


def published(seed: int) -> Iterator[Step]:
    """Noise that lasts from step to step, in loss and norm (AR(1)); a slow wave, as of text that is read in order; a
    norm that falls and then rises as the rate decays; documents that are easy or hard; a domain that is rare; steps of
    one row; rows and lengths that double; a stage whose text is of another level; a rate that is warmed anew.
    """
    rng = np.random.default_rng([seed, 1])
    level_D, spread_D = rng.uniform(1.5, 3.5, DOMAINS), rng.uniform(0.1, 0.3, DOMAINS)
    fall, power = rng.uniform(4, 8), rng.uniform(0.3, 0.6)
    doubled = np.sort(rng.integers(200, LENGTH, 2))  # the rows are, then
    longer, staged, rewarmed = (int(rng.integers(300, LENGTH - 300)) for _ in range(3))
    other_D = rng.uniform(-0.5, 0.5, DOMAINS)
    rows_first, rise = int(rng.choice([1, 2, 8, 16])), rng.uniform(1, 3)
    keeps, lasting, lasting_norm = rng.uniform(0.8, 0.98), 0.0, 0.0
    wave, phase = rng.uniform(200, 1000), rng.uniform(0, 2 * np.pi)
    for step in range(LENGTH):
        rows = rows_first * 2 ** int(np.searchsorted(doubled, step, side="right"))
        length, stage = 512.0 * (1 + (step >= longer)), int(step >= staged)
        domain_R = rng.choice(DOMAINS, rows, p=SHARES if stage == 0 else SHARES[[1, 0, 2, 3]])
        lasting = keeps * lasting + np.sqrt(1 - keeps**2) * 0.02 * rng.standard_normal()
        lasting_norm = 0.9 * lasting_norm + np.sqrt(1 - 0.9**2) * 0.08 * rng.standard_normal()
        since = max(0, step - rewarmed)
        warmed = 0.3 * min(1.0, since / 80) * np.exp(-max(0, since - 80) / 200)
        slow = 0.03 * np.sin(2 * np.pi * step / wave + phase)
        expected_D = level_D + fall * (1 + step) ** -power + warmed + slow + lasting + stage * other_D
        kind_R = rng.choice([0.0, -0.8, 0.8], rows, p=[0.85, 0.1, 0.05])  # usual, easy and hard documents
        off_R = (spread_D[domain_R] * rng.standard_t(6, rows) + kind_R) * np.sqrt(512 / length)
        late = 1 + rise * max(0.0, 2 * step / LENGTH - 1)
        odd = 0.1 * rng.standard_t(5) + 0.2 * off_R.mean()
        norm = (0.4 + 4 / (1 + step / 20)) * late * (1 + warmed) * np.exp(lasting_norm + odd) * rows**-0.5
        yield (float(stage), length, float(rows)), _sums(domain_R, length, expected_D[domain_R] + off_R), float(norm)


def _sums(domain_R: np.ndarray, length: float, loss_R: np.ndarray) -> np.ndarray:
    """Nats and counted targets by domain, of rows with these losses; a loss is never below 0.05 nats."""
    step_D2 = np.zeros((DOMAINS, 2))
    np.add.at(step_D2[:, 0], domain_R, length * np.maximum(loss_R, 0.05))
    np.add.at(step_D2[:, 1], domain_R, length)
    return step_D2


COURSES: dict[str, Callable[[int], Iterator[Step]]] = {"power law": power_law, "published": published}
