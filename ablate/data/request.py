"""What was asked of a preparation, as plain data: equal requests come to one folder, and to equal bytes in it."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

from ablate.corpus import levels, turns
from ablate.corpus.levels import Wanted, level_of
from ablate.data.given import tokenizer_file
from ablate.data.text import Source, open_source
from ablate.run.corpus import Prepare, Processing
from ablate.run.settings import Data, UserError
from ablate.run.whole import sha256_of

RECIPE = 2  # raise it when equal text and settings give other files
# Settings that do not change what is written, or not by their name
UNKEYED = (
    "root",
    "tokenizer",
    "focus",
    "span",
    "level",
    "columns",
    "held_out",
    "verify",
    "counts",
    "target",
    "template",
    "pairs",
)


class Levels(NamedTuple):
    """What becomes of the text of each domain, and who sees to it. `reader_of`: what reads text under one of our runs
    (`corpus.score.Reader`), by the run's id."""

    processing: Processing = Processing()
    by: Prepare = Prepare()
    reader_of: Callable[[str], Any] | None = None

    def wanted(self, domain: str, outputs: Path, shown: bool = False) -> Wanted:
        return Wanted(domain, self.processing, self.by, outputs, shown, self.reader_of)

    def asked(self, data: Data, outputs: Path) -> dict[str, Any]:
        """Everything that decides what becomes of the text, plain JSON data; nothing if that is nothing."""
        found = {domain: self._asked(data, domain, outputs) for domain in data.domains if self.applies(data, domain)}
        return {"levels": json.loads(json.dumps(found))} if found else {}

    def applies(self, data: Data, domain: str) -> bool:
        """Whether the text of the domain is more than read: it has a level, or a study holds something fixed."""
        of_study = domain in self.processing.draw or domain in self.processing.only
        return level_of(data, domain) is not None or of_study

    def _asked(self, data: Data, domain: str, outputs: Path) -> dict[str, Any]:
        level, wanted = level_of(data, domain), self.wanted(domain, outputs)
        found: dict[str, Any] = {"level": level, "training": levels.keys(level or 0, wanted)}
        if level is not None and not data.held_out:
            found["held out"] = levels.keys(levels.held_level(wanted), wanted, held_out=True)
        return found


def asked(data: Data, held_out: str) -> tuple[Source, dict[str, Any]]:
    """The source of the text, and everything that decides what will be written, as plain JSON data.

    `held_out`: the fingerprint of the text that `data.held_out` names, or nothing.
    """
    settings = {key: value for key, value in dataclasses.asdict(data).items() if key not in UNKEYED}
    given = tokenizer_digest(data.tokenizer) if data.tokenizer else ""
    try:
        source = open_source(data)
        signature = source.signature()
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from None
    described = {"recipe": RECIPE, "settings": settings, "signature": signature, "tokenizer": given}
    told = {"counts": data.counts, "target": data.target, "pairs": data.span if data.pairs else 0}
    return source, described | {"held_out": held_out} | {key: value for key, value in told.items() if value}


def roles(data: Data) -> dict[str, Collection[str] | None]:
    """By domain, the roles whose tokens count; None: all."""
    return {domain: turns.counting(f"data.counts.{domain}", what) for domain, what in data.counts.items()}


def folder_of(data: Data, outputs: Path, request: dict[str, Any]) -> Path:
    return Path(outputs) / "data" / f"{data.source}-{data.vocabulary}-{digest(request)[:8]}"


def tokenizer_digest(name: str) -> str:
    try:
        return sha256_of(tokenizer_file(name))
    except OSError as error:
        raise UserError(f"data.tokenizer={error.filename}: {error.strerror}") from None


def first_difference(found: Any, wanted: Any, key: str = "") -> str:
    """Where two plain values differ, such as "settings.vocabulary: 4096 instead of 2048"."""
    if not isinstance(found, dict) or not isinstance(wanted, dict):
        return f"{key}: {found} instead of {wanted}"
    name = next(name for name in [*wanted, *found] if found.get(name) != wanted.get(name))
    return first_difference(found.get(name), wanted.get(name), f"{key}.{name}" if key else name)


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
