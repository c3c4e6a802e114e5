"""Where a run's first weights come from, as the setting `start` says it, and `distill.teacher` whose are a teacher's.

    none                                drawn from the seed
    run:a64x2-256-s0-3f9c01ab           the final weights of a finished run in the same outputs
    folder:models/SmolLM2-135M          a folder that transformers loads, its tokenizer.json beside the weights
    phase:pretrain                      of a teacher: what the run's own chain was after that phase of its study

Before the run's id is known the parent is looked up (`fit.parents.resolved`), and the sha256 of its weights is
written behind it: `run:a64x2-256-s0-3f9c01ab@5e0c...`. Of all this the id hashes the sha256 alone, so that a parent
may be renamed or copied, and another run that ends with the same weights is the same parent.
"""

import re
from dataclasses import dataclass

from ablate.run.settings import Settings, SettingsError

NONE, PHASE = "none", "phase"
TO_COME = "after "  # and an id, in the place of the sha256: of a parent that is still to be trained (`sweep.study`)
_START = re.compile(rf"(?P<kind>run|folder|phase):(?P<place>.+?)(@(?P<sha256>[0-9a-f]{{64}}|{TO_COME}.+))?")


@dataclass(frozen=True)
class Start:
    """A parent. `place`: a run id or a path; `sha256`: of its weights, empty while nobody has looked."""

    kind: str
    place: str
    sha256: str = ""
    key: str = "start"  # the setting that names it

    @property
    def known(self) -> bool:
        """Whether the weights are there, and their sha256 with them."""
        return self.sha256 != "" and not self.sha256.startswith(TO_COME)

    @property
    def name(self) -> str:
        """The parent as the user wrote it."""
        return f"{self.kind}:{self.place}"

    @property
    def setting(self) -> str:
        """What messages begin with."""
        return f"{self.key}={self.name}"

    def __str__(self) -> str:
        return f"{self.name}@{self.sha256}" if self.sha256 else self.name


def parse(text: str, key: str = "start") -> Start | None:
    """The parent that a `start` names, or another key; None for `none`. Raises SettingsError for anything else."""
    if text == NONE:
        return None
    found = _START.fullmatch(text)
    if not found or (key == "start" and found["kind"] == PHASE):
        allowed = "none, run:<id of a finished run> or folder:<folder of transformers>"
        allowed += "" if key == "start" else ", or in a study phase:<one before>"
        raise SettingsError(f"{key}={text}: must be {allowed}")
    return Start(found["kind"], found["place"], found["sha256"] or "", key)


def weights_of(text: str, key: str = "start") -> str:
    """What the id hashes of a `start`, or of another key: the sha256 of the weights, or `none`."""
    parent = parse(text, key)
    if parent is None:
        return NONE
    if parent.kind == PHASE:  # of an arm, whose runs have each their own
        return parent.name
    assert parent.sha256, f"{key}={text} has not been looked up; see fit.parents.resolved"
    return parent.sha256


def teacher_of(settings: Settings) -> Start | None:
    """The teacher of a run of objective=distill."""
    return parse(settings.distill.teacher, "distill.teacher")
