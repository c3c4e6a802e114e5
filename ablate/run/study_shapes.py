"""What the records of a study hold, key by key, as `run.shapes` says it of runs."""

from typing import Annotated, Any, Literal

from pydantic import AllowInfNan, Field, model_validator

from ablate.run.shapes import ABSENT, Differences, Number, Pair, Positive, Runs, Seed, Shape, Whole

Names = Annotated[list[str], Field(min_length=1)]
Overrides = list[str] | dict[str, list[str]]


class Phase(Shape):
    """A phase before the judged one, in a declaration."""

    arms: Differences
    runs: Runs
    control_runs: Runs = ABSENT
    domains: Names
    focus: str = ""


class Controls(Shape):
    expected: Literal["worse", "better"] = "worse"


class Laddered(Shape):
    """`study.ladder`, as it was declared."""

    sizes: list[str]
    tokens_per_parameter: Number
    rates: list[Positive]
    target: Whole


class Declaration(Shape):
    """`study.json`, and what a ledger holds of it."""

    name: str
    question: str
    hypothesis: str = ""
    base: str
    arms: Differences
    runs: Runs
    domains: Names
    focus: str = ""
    metric: str
    margin: Positive
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    seeds: list[Whole] = ABSENT
    factor: list[str] = ABSENT
    grid: dict[str, dict[str, Overrides]] = ABSENT
    phases: dict[str, list[str]] = ABSENT
    judge: str = ""
    before: dict[str, Phase] = ABSENT
    budget: dict[str, Any] = ABSENT
    ladder: Laddered = ABSENT
    controls: Controls = ABSENT
    control_arms: Differences = ABSENT
    control_runs: Runs = ABSENT
    tasks: dict[str, dict[str, Any]] = ABSENT
    imports: list[str] = ABSENT
    digest: str = ""
    base_digest: str = ""
    fingerprint: str = ""

    @model_validator(mode="after")
    def _together(self) -> "Declaration":
        """Names that are looked up are there."""
        if self.base not in self.runs:
            raise ValueError(f"base={self.base!r} is none of runs: {', '.join(self.runs)}")
        if len(set(self.domains)) < len(self.domains):
            raise ValueError("domains must be without repeats")
        for phase, one in self.before.items():
            ours = self.runs | self.control_runs
            theirs = one.runs | one.control_runs
            if missing := [arm for arm, seeds in ours.items() if not seeds.keys() <= theirs.get(arm, {}).keys()]:
                raise ValueError(f"before.{phase} lacks runs of {missing[0]!r}")
        return self


class Raced(Shape):
    """An arm in `race.json` (`verdict.race.Decision`); null is no finite number."""

    arm: str
    reason: str
    word: Literal["better", "worse", "equivalent", "inconclusive"]
    look: Whole
    rung: Number
    mean: Number | None
    interval: Annotated[list[Number | None], Field(min_length=2, max_length=2)]


class Noise(Shape):
    """`noise.json`"""

    sd: Annotated[float, Field(ge=0), AllowInfNan(False)]
    df: Annotated[float, Field(ge=0), AllowInfNan(False)]


class Base(Shape):
    """An entry of `bases.json`."""

    runs: list[str]
    settings: dict[str, Any]
    fingerprint: str


class Arm(Shape):
    """Of an earlier study, in `prior.json` (`verdict.registry.Past`)."""

    study: str
    arm: str
    keys: list[str]
    parameters: Number
    tokens: Number
    domains: list[str]
    ids: list[str]
    base: list[str]
    pairs: dict[str, list[Pair]]
    digest: str = ""
    items: str = ""


class Prior(Shape):
    """`prior.json`"""

    time: str
    ledger: str
    focus: str
    studies: dict[str, str]
    arms: list[Arm]


class Seen(Shape):
    """An arm, in a look."""

    pairs: dict[Seed, Annotated[list[str], Field(min_length=2, max_length=2)]]
    whole: bool
    word: str
    error: float = float("inf")


class Declared(Shape):
    """A row of `ledger.jsonl`."""

    kind: Literal["declared"]
    time: str
    after: str
    base_digest: str | None
    runs: Whole
    looks: Whole
    declaration: Declaration


class Look(Shape):
    """A row of `ledger.jsonl`."""

    kind: Literal["look"]
    time: str
    after: str
    base_digest: str | None
    metric: str
    seeds: list[Whole]
    declared: list[str]
    arms: dict[str, Seen]


LedgerRow = Annotated[Declared | Look, Field(discriminator="kind")]
Plans = dict[str, dict[Seed, dict[str, str]]]  # digests by run, step and stream
