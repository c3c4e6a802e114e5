"""Text between its source and its tokens: from level 0, as it was read, to the level that its domain is to have.

    training text    every level up to the one of `data.level`, then what a study holds fixed
    held-out text    up to `corpus.held_out`, whatever the level of the training text: what a good document looks like

A domain without a level is left as it is, training text and held-out text.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ablate.corpus import levels, parts
from ablate.corpus.levels import Wanted, held_level
from ablate.data.spool import Portion, Split


class Reached(NamedTuple):
    """The text of a domain, and the folders that it came through, those of training text and of held-out text."""

    split: Split
    training: Sequence[Path] = ()
    held_out: Sequence[Path] = ()

    @property
    def names(self) -> dict[str, list[str]]:
        """Names of the folders below outputs/corpus."""
        return {"training": [path.name for path in self.training], "held out": [path.name for path in self.held_out]}


def reached(split: Split, folder: Path, level: int | None, wanted: Wanted) -> Reached:
    """The text of a domain at its level; `folder`: where the text as it was read may be written once more."""
    training = levels.reached(lambda: _written(split.train, folder / "train"), level or 0, wanted)
    if level is None:
        return Reached(split._replace(train=_portions(training) or split.train), training)
    level_held = held_level(wanted) if split.validation else 0
    held = levels.reached(lambda: [one.path for one in split.validation], level_held, wanted, held_out=True)
    text = Split(_portions(training) or split.train, _portions(held) or split.validation)
    return Reached(text, training, held)


def _portions(folders: Sequence[Path]) -> list[Portion]:
    return [Portion(path) for path in parts.paths_of(folders[-1])] if folders else []


def _written(portions: Sequence[Portion], folder: Path) -> list[Path]:
    """Parts without what is held out."""
    folder.mkdir(exist_ok=True)
    paths = [folder / parts.name_of(number) for number in range(len(portions))]
    for path, portion in zip(paths, portions, strict=True):
        if not path.exists():
            parts.write(path, portion.documents())
    return paths
