"""Where texts are put into a run (`run.insert`): a pure function of the settings, as all that a run reads.

dealt    how often each question's text is read: as even as can be, and over as many seeds as there are numbers
         of repetitions each question has each of them (a Latin square; another one for the next so many seeds)
places   the rows that have them: one in each of as many equal parts of the run, so that none has two. The
         repetitions of one text are evenly spaced, from a place of its own on
"""

import numpy as np

from ablate.plan import keyed
from ablate.plan.timeline import Timeline
from ablate.run.settings import Settings, SettingsError
from ablate.run.steps import steps_of


def dealt(settings: Settings, questions: int) -> np.ndarray:
    """Times that the text of each question is read, shape (questions,)."""
    asked = np.array(settings.insert.repetitions)
    square, shift = divmod(settings.seed, len(asked))
    rank = keyed.permute(np.arange(questions), questions, keyed.key("insert", square))
    return asked[(rank + shift) % len(asked)]


def window(settings: Settings) -> tuple[int, int]:
    """The first step that may have a text, and the one after the last."""
    return steps_of(settings.insert.start, settings.steps), steps_of(settings.insert.stop, settings.steps)


def places(timeline: Timeline, questions: int) -> np.ndarray:
    """Step, row in the step and question of every text that is put in, by step, shape (texts, 3).

    Raises SettingsError where there are fewer rows than texts.
    """
    settings = timeline.settings
    times_Q = dealt(settings, questions)
    first, end = (int(timeline.first_row[step]) for step in window(settings))
    texts, rows = int(times_Q.sum()), end - first
    if texts > rows:
        asked = settings.insert.repetitions
        raise SettingsError(f"insert.repetitions={asked}: they ask for {texts} rows, and {rows} lie in the window")
    edges = first + np.arange(texts + 1) * rows // max(texts, 1)
    draw = keyed.mix(np.arange(texts, dtype=np.uint64) + np.uint64(keyed.key(settings.seed, "insert", "row")))
    row = edges[:-1] + (draw % np.diff(edges).astype(np.uint64)).astype(np.int64)
    step = np.searchsorted(timeline.first_row, row, side="right") - 1
    return np.stack([step, row - timeline.first_row[step], _in_turn(times_Q, settings.seed)], axis=1)


def _in_turn(times_Q: np.ndarray, seed: int) -> np.ndarray:
    """Questions in the order in which their texts are read."""
    question = np.repeat(np.arange(len(times_Q)), times_Q)
    number = np.arange(len(question)) - np.repeat(np.cumsum(times_Q) - times_Q, times_Q)
    begins = keyed.permute(np.arange(len(times_Q)), len(times_Q), keyed.key(seed, "insert", "begin")) / len(times_Q)
    return question[np.argsort((number + begins[question]) / times_Q[question], kind="stable")]
