"""How far text is processed: ten levels, after daVinci-LLM (Data Darwinism), of which six can be made here.

    reached(first, 2, wanted)      the parts of level 0 through the steps of levels 1 and 2, a folder each

A level is made of the one below it, so that arms of several levels share what they have in common. What a study holds
fixed comes last: as many bytes drawn at random (`corpus.draw`), only documents that all arms have (`corpus.only`).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ablate.corpus.draw import Draw, Only
from ablate.corpus.step import Step
from ablate.run.corpus import Prepare, Processing
from ablate.run.settings import Data, Settings, SettingsError

if TYPE_CHECKING:
    from ablate.corpus.endpoint import Endpoint

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
# The highest level at which a rule is taken for a mistake that removes more than this share of a domain's bytes
STOPS, MOST = 2, 0.5


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


def held_level(wanted: Wanted) -> int:
    """The level of held-out text, in every arm."""
    named = wanted.processing.held_out
    return named.get(wanted.domain, named.get(ALL, NORMALISED))


def check(settings: Settings) -> None:
    """Raises SettingsError for a level that there is not, and for domains that there are not."""
    data, processing = settings.data, settings.corpus
    tables = {"data.level": data.level, "corpus.held_out": processing.held_out, "corpus.kinds": processing.kinds}
    for key, named in tables.items():
        allowed = (*data.domains, *([] if key == "corpus.kinds" else [ALL]))
        if unknown := [name for name in named if name not in allowed]:
            raise SettingsError(f"{key}.{unknown[0]}: must be one of data.domains: {', '.join(data.domains)}")
    if ALL in data.domains:
        raise SettingsError(f"data.domains={ALL}: must be another name: in data.level it means all domains")
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


class Leg(NamedTuple):
    """A part of the way: steps to a level, and the name of the folder that they end in."""

    name: str
    level: int
    steps: Sequence[Step]
    most: float = 1.0  # share of the text that a rule may remove before someone is asked


def keys(level: int, wanted: Wanted, held_out: bool = False) -> list[Any]:
    """Everything that decides what `reached` makes of text, plain data."""
    steps = [[leg.level, step.name, step.key()] for leg in _legs(level, wanted, held_out) for step in leg.steps]
    drawn = [wanted.processing.random and level] if not held_out else []
    return [*steps, *drawn, *([step.name, step.key()] for step in _fixed(wanted) if not held_out)]


def reached(first: Callable[[], Sequence[Path]], level: int, wanted: Wanted, held_out: bool = False) -> list[Path]:
    """The folders that take text from level 0 to a level, in their order: of the last, the parts are the text.

    `first`: gives the parts of level 0, if they are needed. Of `held_out` text all is kept that the steps leave,
    whatever is drawn of the rest. Raises UserError.
    """
    from ablate.corpus import flow  # with pyarrow, which who finds what is wanted does not need

    legs, fixed = _legs(level, wanted, held_out), [] if held_out else _fixed(wanted)
    if not legs and not fixed:
        return []
    found, folders = [first()], list[Path]()
    for leg in legs:
        _go(leg, found, folders, wanted)
    if wanted.processing.random and not held_out and level > NORMALISED:
        whole, kept = flow.manifest_of(folders[-1])["bytes"], sum(leg.level <= NORMALISED for leg in legs)
        del folders[kept:], found[kept + 1 :]
        _go(Leg(f"{wanted.domain}-l{level}-random", level, [Draw(whole)]), found, folders, wanted)
    if fixed:
        _go(Leg(f"{wanted.domain}-l{level}-fixed", level, fixed), found, folders, wanted)
    return folders


def _legs(level: int, wanted: Wanted, held_out: bool) -> list[Leg]:
    name = f"{wanted.domain}-held" if held_out else wanted.domain
    by_level = ((number, steps_of(number, wanted)) for number in _way(level, wanted))
    most = dict.fromkeys(range(1, STOPS + 1), MOST)
    return [Leg(f"{name}-l{number}", number, steps, most.get(number, 1.0)) for number, steps in by_level if steps]


def _way(level: int, wanted: Wanted) -> list[int]:
    """The levels on the way to one; the last is never left out."""
    return [number for number in range(1, level + 1) if number == level or number not in wanted.processing.skip]


def _go(leg: Leg, found: list[Sequence[Path]], folders: list[Path], wanted: Wanted) -> None:
    """Add the folder that a leg ends in, and its parts."""
    from ablate.corpus import flow, parts

    how = flow.How(wanted.domain, leg.level, wanted.prepare, wanted.processing.allow, leg.most, wanted.progress)
    folders.append(flow.run(found[-1], wanted.outputs / "corpus" / leg.name, leg.steps, how))
    found.append(parts.paths_of(folders[-1]))


def _fixed(wanted: Wanted) -> list[Step]:
    processing, domain = wanted.processing, wanted.domain
    only = [Only(Path(processing.only[domain]))] if domain in processing.only else []
    return [*only, *([Draw(processing.draw[domain])] if domain in processing.draw else [])]


def _normalised(wanted: Wanted) -> list[Step]:
    from ablate.corpus.normal import Normalise

    return [Normalise(wanted.processing.html)]


def _ruled(wanted: Wanted) -> list[Step]:
    from ablate.corpus import rules

    return rules.steps(wanted.processing, wanted.kind, wanted.processing.languages.get(wanted.domain, []))


def _scored(wanted: Wanted) -> list[Step]:
    from ablate.corpus import score

    return score.steps(wanted.processing, wanted.reader_of)


def _refined(wanted: Wanted) -> list[Step]:
    """Raises SettingsError where level 5 is made by rule: then there is nobody to refine a text."""
    from ablate.corpus import complete, refine

    maker = wanted.processing.teacher.maker
    if not complete.needs_endpoint(wanted.processing.teacher):
        raise SettingsError(f"corpus.teacher.maker={maker}: refines no text; leave level 4 out by corpus.skip=[4]")
    return refine.steps(_teacher(wanted))


def _completed(wanted: Wanted) -> list[Step]:
    from ablate.corpus import complete

    teacher = wanted.processing.teacher
    return complete.steps(teacher, _teacher(wanted) if complete.needs_endpoint(teacher) else None)


def _teacher(wanted: Wanted) -> "Endpoint":
    from ablate.corpus.endpoint import Endpoint

    return Endpoint.of(wanted.processing.teacher, wanted.prepare, wanted.outputs / "corpus" / "replies.sqlite")


# Of each level what makes it of the one below. Their rooms are loaded where they are needed
STEPS: dict[int, Callable[[Wanted], list[Step]]] = {1: _normalised, 2: _ruled, 3: _scored, 4: _refined, 5: _completed}
