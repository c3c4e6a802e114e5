"""Effects of on/off factors in one block of arms, and how large one must be without a second block.

    signs [arm, factor]      finals [arm]        main_effects(signs, finals) [factor]
    - - -   base             1.90                mean with the factor minus mean without
    + + -   a+b              1.86
    + - +   a+c              1.88                contrasts: these, then all other contrasts of the block,
    - + +   b+c              1.89                sums and differences of interactions

Lenth (Technometrics 31, 1989): where few effects are real, the contrasts of a block are mostly noise. Their
pseudo standard error is 1.5 times the median of those not plainly too large; the critical value of the
largest of a family is simulated, as Ye and Hamada (2000) do.
"""

from functools import cache

import numpy as np

from ablate.fraction import Fraction

DRAWS = 40_000  # of null studies
LENTH_CUT = 2.5  # pseudo errors beyond which a contrast is no noise


def levels(arm: str, base: str, factors: tuple[str, ...]) -> np.ndarray:
    """+1 for each factor that is on, -1 for the others, of an arm called `a+c` or like the base."""
    on = () if arm == base else arm.split("+")
    return np.array([1.0 if factor in on else -1.0 for factor in factors])


def main_effects(signs: np.ndarray, finals: np.ndarray) -> list[float]:
    """On minus off of each factor, [factor], from a block; signs +-1 at [arm, factor].

    Where the block is whole the columns are orthogonal and least squares is the difference of means.
    """
    fitted = np.linalg.lstsq(np.column_stack([np.ones(len(finals)), signs]), finals, rcond=None)[0]
    return [2 * float(half) for half in fitted[1:]]


def contrasts(design: Fraction, signs: np.ndarray, finals: np.ndarray) -> np.ndarray:
    """All N - 1 orthogonal contrasts of a whole block, the factors' first; each on minus off."""
    arms = len(finals)
    others = [column for column in range(1, arms) if column not in design.columns]
    basic = signs[:, [design.columns.index(1 << bit) for bit in range(arms.bit_length() - 1)]] > 0
    rows = basic @ (1 << np.arange(basic.shape[1]))
    parity = np.bitwise_count(rows[:, None] & np.array([*design.columns, *others])[None, :]) % 2
    return 2 * (2.0 * parity - 1).T @ finals / arms


def pseudo_error(values: np.ndarray) -> np.ndarray:
    """Lenth's standard error of a contrast, [study], from all contrasts, [study, contrast]."""
    size = np.abs(values)
    first = 1.5 * np.median(size, axis=1, keepdims=True)
    small = np.where(size < LENTH_CUT * first, size, np.nan)
    # contrasts without any spread are all equal to zero: no error then
    return np.where(first[:, 0] > 0, 1.5 * np.nanmedian(np.where(first > 0, small, 0.0), axis=1), 0.0)


@cache
def critical(num_contrasts: int, family: int, alpha: float) -> float:
    """What the largest |effect| / pseudo error of the family exceeds in a share alpha of studies without effects."""
    values = np.random.default_rng(num_contrasts).standard_normal((DRAWS, num_contrasts))
    largest = np.abs(values[:, :family]).max(1) / pseudo_error(values)
    return float(np.quantile(largest, 1 - alpha))
