"""How text is processed before it is cut into tokens, level by level, and who does the work.

Nothing of it is part of what a run is: what comes of it is, the text itself (`data.tokens.Corpus.fingerprint`).
"""

import dataclasses
from typing import Annotated, Any, Literal

from pydantic import Field

from ablate.run.fields import Count, NotNegative, strict


@strict
class Teacher:
    """The model that refines text (level 4) and completes it (level 5), behind an endpoint."""

    maker: str = "endpoint"  # who writes: an entry of `corpus.complete.MAKERS`
    model: str = ""  # its name at the endpoint
    chat: bool = True  # whether it is asked as a chat; false: as a base model, which goes on with a text
    prompt: str = ""  # what it is told before the document; empty: the prompt of the level
    tokens: Count = 1024  # the longest reply
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0  # of its sampling; 0: its likeliest words
    seed: NotNegative = 0  # of its sampling, sent along
    chunk: Count = 1024  # characters of a document that are sent at once
    parents: bool = False  # whether level 5 leaves documents beside those that it makes of them


@strict
class Scorer:
    """What level 3 keeps: documents that a small model scores well."""

    kind: str = "classifier"  # an entry of `corpus.score.SCORERS`
    keep: Annotated[float, Field(gt=0, le=1)] = 0.5  # share of each domain's bytes that stays, the best first
    # Of the kind: {like: <file or folder of good text>} of a classifier, {run: <id>} of perplexity, {words: <file>}
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


@strict
class Processing:
    """What the levels of `data.level` do."""

    # What a domain holds, where its name does not say (`corpus.levels.KINDS`); thresholds follow it
    kinds: dict[str, str] = dataclasses.field(default_factory=dict)
    # Languages that a domain is to be of, {english: [en]}; a domain that is not named keeps all
    languages: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    # What makes text of html (`corpus.normal.HTML`): all that is visible, or what is taken for the main part
    html: Literal["whole", "main", "trafilatura"] = "whole"
    rules: list[str] = dataclasses.field(default_factory=list)  # of level 2, from `corpus.rules.RULES`; empty: all
    # Thresholds of your own: {repetition: {lines: 0.5}}
    bounds: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    allow: list[str] = dataclasses.field(default_factory=list)  # rules that may remove most of a domain
    against: list[str] = dataclasses.field(default_factory=list)  # files of evaluation sets whose text is to go
    score: Scorer = dataclasses.field(default_factory=Scorer)
    teacher: Teacher = dataclasses.field(default_factory=Teacher)
    # A control: of each domain as many bytes as the level leaves, but documents drawn at random from the level below
    random: bool = False
    # Levels that are left out on the way, [3, 4]: levels are no ladder that has to be climbed rung by rung
    skip: list[int] = dataclasses.field(default_factory=list)
    # The level that held-out text of a domain has in every arm: what a good document looks like. {all: 2}; 1 where no
    # other is named
    held_out: dict[str, Annotated[int, Field(ge=0, le=5)]] = dataclasses.field(default_factory=dict)
    # What arms of other text have in common: the tokens they train on, those of them that count, the unique tokens, or
    # the documents they are of
    volume: Literal["tokens", "counted", "unique", "documents"] = "tokens"
    # Of a domain, bytes of text that are drawn at random from what its level leaves; a study sets it for unique tokens
    draw: dict[str, NotNegative] = dataclasses.field(default_factory=dict)
    # Of a domain, a file with the ids of the documents that may stay (`corpus.draw`); a study sets it for documents
    only: dict[str, str] = dataclasses.field(default_factory=dict)


@strict
class Prepare:
    """Who prepares text."""

    engine: Literal["local", "datatrove"] = "local"  # who runs the parts
    workers: Annotated[int, Field(ge=0, le=4096)] = 0  # processes; 0: one a core
    part_mb: Count = 32  # text of a part: what a killed process does again, and what a worker holds
    options: dict[str, Any] = dataclasses.field(default_factory=dict)  # of datatrove's executor: {executor: slurm, ...}
    url: str = ""  # endpoint of the teacher, http://host:port/v1
    key: str = "OPENAI_API_KEY"  # environment variable of its key
    concurrency: Annotated[int, Field(ge=1, le=10_000)] = 8  # requests at once
    timeout: Count = 120  # seconds of one request
    requests: NotNegative = 0  # most requests paid for; 0: no limit
