"""How far text is processed: ten levels, after daVinci-LLM (Data Darwinism), of which six can be made here.

    reached(parts, 2, wanted)      the parts of level 0 through the steps of levels 1 and 2, a folder each

A level is made of the one below it, so that arms of several levels share what they have in common. What a study holds
fixed comes last: as many bytes drawn at random (`corpus.draw`), only documents that all arms have (`corpus.only`).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ablate.corpus import flow, parts
from ablate.corpus.draw import Draw, Only
from ablate.corpus.flow import How
from ablate.corpus.step import Step
from ablate.run.corpus import Prepare, Processing
from ablate.run.settings import Data, Settings, SettingsError

LEVELS = (
    "acquired",
    "normalised",
    "rules",
    "scored",
    "refined",
    "completed",
    "contextual completion",
    "environment synthesis",
    "ecosystem synthesis",
    "world synthesis",
)
ALL = "all"  # in `data.level`: the domains that are not named
KINDS = {"code": "code", "math": "math", "mathematics": "math", "qa": "qa", "questions": "qa"}  # others are prose
NORMALISED = 1  # the highest level that selects nothing
STOPS = 2  # the highest level at which a rule that removes most of a domain is taken for a mistake


class Wanted(NamedTuple):
    """Whose text it is, what becomes of it and who works on it. `reader_of`: the model of a run (level 3)."""

    domain: str
    processing: Processing
    prepare: Prepare
    outputs: Path
    progress: bool = False
    reader_of: Callable[[str], Any] | None = None

    @property
    def kind(self) -> str:
        return self.processing.kinds.get(self.domain, KINDS.get(self.domain, "prose"))


def level_of(data: Data, domain: str) -> int | None:
    """None: the domain is taken as it is read, without text that is there twice."""
    return data.level.get(domain, data.level.get(ALL))


def check(settings: Settings) -> None:
    """Raises SettingsError for a level that there is not, and for domains that there are not."""
    data, processing = settings.data, settings.corpus
    for key, named in (("data.level", data.level), ("corpus.kinds", processing.kinds)):
        if unknown := [name for name in named if name not in (*data.domains, *([ALL] if key == "data.level" else []))]:
            raise SettingsError(f"{key}.{unknown[0]}: must be one of data.domains: {', '.join(data.domains)}")
    for name, level in data.level.items():
        if not 0 <= level < len(LEVELS):
            raise SettingsError(f"data.level.{name}={level}: must be from 0 to {len(LEVELS) - 1}")
        if level > max(STEPS):
            what = f"{LEVELS[level]} has no step yet; the highest is {max(STEPS)}"
            raise SettingsError(f"data.level.{name}={level}: {what}")
    if processing.random and not any((level_of(data, domain) or 0) > NORMALISED for domain in data.domains):
        raise SettingsError(f"corpus.random=true: must have a domain with data.level above {NORMALISED} to draw for")


def steps_of(level: int, wanted: Wanted) -> list[Step]:
    """What makes a level of the one below it."""
    return STEPS[level](wanted)


def reached(found: Sequence[Path], level: int, wanted: Wanted, held_out: bool = False) -> list[Path]:
    """The folders that take the parts of level 0 to a level, in their order; of the last one, the parts are the text.

    Raises UserError. Of `held_out` text all is kept that the steps leave, whatever is drawn of the rest.
    """
    folders, below = list[Path](), (0, found)
    name, random = f"{wanted.domain}{'-held' * held_out}", wanted.processing.random and not held_out
    for number in range(1, level + 1):
        found = _extended(folders, found, f"{name}-l{number}", number, steps_of(number, wanted), wanted)
        if number == NORMALISED:
            below = len(folders), found
    if random and level > NORMALISED:
        whole = flow.manifest_of(folders[-1])["bytes"]
        kept, found = below
        del folders[kept:]
        found = _extended(folders, found, f"{name}-l{level}-random", level, [Draw(whole)], wanted)
    if not held_out and (steps := _fixed(wanted)):
        _extended(folders, found, f"{name}-l{level}-fixed", level, steps, wanted)
    return folders


def _extended(
    folders: list[Path], found: Sequence[Path], name: str, level: int, steps: Sequence[Step], wanted: Wanted
) -> Sequence[Path]:
    """The parts after some more steps, whose folder is added to those that there are."""
    if not steps:
        return found
    most = flow.MOST if level <= STOPS and "random" not in name and "fixed" not in name else 1.0
    how = How(wanted.domain, level, wanted.prepare, wanted.processing.allow, most, wanted.progress)
    folders.append(flow.run(found, wanted.outputs / "corpus" / name, steps, how))
    return parts.paths_of(folders[-1])


def _fixed(wanted: Wanted) -> list[Step]:
    processing, domain = wanted.processing, wanted.domain
    only = [Only(Path(processing.only[domain]))] if domain in processing.only else []
    return [*only, *([Draw(processing.draw[domain])] if domain in processing.draw else [])]


def _scored(wanted: Wanted) -> list[Step]:
    from ablate.corpus import score

    return score.steps(wanted.processing, wanted.reader_of)


def _ruled(wanted: Wanted) -> list[Step]:
    from ablate.corpus import rules

    processing = wanted.processing
    return rules.steps(processing, wanted.kind, processing.languages.get(wanted.domain, []))


# Of each level what makes it of the one below
STEPS: dict[int, Callable[[Wanted], list[Step]]] = {2: _ruled, 3: _scored}
