"""Trouble that is planted in a run (`run.trouble`): which steps have it, and what becomes of their rates and tokens."""

import numpy as np

from ablate.plan import keyed
from ablate.run.settings import Settings
from ablate.run.steps import steps_of


def at(settings: Settings) -> range:
    """The steps that have it."""
    trouble = settings.trouble
    if trouble.kind == "none":
        return range(0)
    start = steps_of(trouble.start, settings.steps)
    return range(start, min(start + trouble.steps, settings.steps))


def factors(settings: Settings) -> np.ndarray:
    """What the rate of each step is multiplied with, shape (steps,)."""
    found = np.ones(settings.steps)
    if settings.trouble.kind == "rate":
        found[at(settings)] = settings.trouble.factor
    return found


def spoils(settings: Settings, step: int) -> bool:
    """Whether rows of this step are others than the text has."""
    return settings.trouble.kind in SPOILING and step in at(settings)


def spoilt(settings: Settings, step: int, rows: np.ndarray, tokens_RT: np.ndarray, bytes_V: np.ndarray) -> np.ndarray:
    """The windows of some rows of a step, spoilt; `rows`: their numbers in the step; `bytes_V`: of each token."""
    length = tokens_RT.shape[1]
    key = keyed.key(settings.seed, "trouble", step)
    draw_RT = keyed.mix((rows[:, None] * length + np.arange(length) + 1).astype(np.uint64) + np.uint64(key))
    return SPOILING[settings.trouble.kind](tokens_RT, draw_RT, bytes_V)


def _noise(tokens_RT: np.ndarray, draw_RT: np.ndarray, bytes_V: np.ndarray) -> np.ndarray:
    return draw_RT % np.uint64(len(bytes_V))


def _repeated(tokens_RT: np.ndarray, draw_RT: np.ndarray, bytes_V: np.ndarray) -> np.ndarray:
    """The first token of each row, again and again."""
    return np.broadcast_to(tokens_RT[:, :1], tokens_RT.shape)


def _corrupt(tokens_RT: np.ndarray, draw_RT: np.ndarray, bytes_V: np.ndarray) -> np.ndarray:
    """Broken Unicode, and code that is no code any more: every second token a byte that belongs to nothing."""
    strays = np.flatnonzero(bytes_V == bytes_V[bytes_V > 0].min())
    return np.where(np.arange(tokens_RT.shape[1]) % 2, strays[draw_RT % np.uint64(len(strays))], tokens_RT)


# kind -> (windows, random numbers of their shape, bytes of each token) -> windows
SPOILING = {"noise": _noise, "repeated": _repeated, "corrupt": _corrupt}
