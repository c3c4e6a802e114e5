"""Documents that are put into rows of a run, each for a question of its own: the group `insert` of the settings."""

import dataclasses
from typing import Annotated

from ablate.run.evaluate import sha256_of
from ablate.run.fields import Mark, Moment, NotNegative, strict


@strict
class Insert:
    """Many questions in one run (arXiv 2509.23383). The seed deals out how often each text is read, and where."""

    # A file of questions, a JSON object a line: name, text, prompt, answer. One without a text is a control
    path: Annotated[str, Mark.NOT_HASHED] = ""
    sha256: str = ""  # of that file, noted when the run is declared: another table is another run
    made: NotNegative = 0  # in place of a file: so many made-up facts, and twenty controls for each
    # How often texts are read: each number for as many questions, one number on with every seed
    repetitions: list[NotNegative] = dataclasses.field(default_factory=lambda: [0, 1, 4, 16])
    start: Moment = 0.0  # texts are read from here on
    stop: Moment = 1.0  # and before here
    # Questions whose texts alone are put in, where they would be with all others: shows what others do to them
    only: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.sha256:
            object.__setattr__(self, "sha256", sha256_of(self.path, {}))

    @property
    def asks(self) -> bool:
        """Whether anything is put in."""
        return bool(self.path or self.made)
