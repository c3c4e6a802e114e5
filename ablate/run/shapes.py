"""What the records on disk hold, key by key: whoever reads one trusts no more than is checked here.

    fit(Result, value, path)     the value as it is, or Damaged: .../result.json: damaged, sums.code.nats=a: must be ...

Keys that are not named here may hold anything. Those without a default are in the files of every version; `NaN` and
infinities are allowed where a run that diverged writes them.
"""

import functools
import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import AfterValidator, AllowInfNan, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ablate.run.fields import Line
from ablate.run.whole import Damaged


def _possible(nats: float) -> float:
    """What float32 can be for every token that there is, or no number."""
    if abs(nats) > MOST_NATS and math.isfinite(nats):
        raise ValueError(f"must be at most {MOST_NATS:g}")
    return nats


MOST_NATS = 1e60
Number = Annotated[float, AllowInfNan(False)]
Whole = Annotated[int, Field(ge=0, lt=2**63)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seed = Annotated[str, Field(pattern=r"^\d{1,20}$")]
Runs = dict[str, dict[Seed, str]]  # run ids by arm and seed
Differences = dict[str, dict[str, Annotated[list[Any], Field(min_length=2, max_length=2)]]]
Pair = Annotated[list[Number], Field(min_length=2, max_length=2)]
Nats = Annotated[float, AfterValidator(_possible)]
ABSENT: Any = Field(default_factory=dict)  # of a key that need not be there
SHOWN = 60  # characters of a value that is wrong
INSTANCE = re.compile(r" or instance of \w+")  # which no file can hold


class Shape(BaseModel):
    """No value is converted: a number in quotes is a text."""

    model_config = ConfigDict(strict=True)


class Sums(Shape):
    """Of one domain."""

    nats: Nats
    tokens: Number
    bytes: Positive


class Passages(Shape):
    """Of one domain, a number a passage."""

    nats: list[Nats]
    bytes: list[Number]

    @pydantic.model_validator(mode="after")
    def _together(self) -> "Passages":
        if len(self.nats) != len(self.bytes):
            raise ValueError("as many nats as bytes")
        return self


class Scored(Shape):
    """What metrics read; a record from before sums were kept has means."""

    sums: dict[str, Sums] = ABSENT
    bpb: dict[str, float] = ABSENT
    validation: dict[str, Passages] = ABSENT
    pairs: dict[str, dict[str, float]] = ABSENT


class Mixture(Shape):
    asked: dict[str, Number]
    realised: dict[str, Number]


class Left(Shape):
    """`trunk.json`: which run left it, after which step."""

    run: str
    step: Whole


class Grown(Left):
    """The beginning that a run has taken over, and what it cost."""

    trunk: str
    flops: Number
    seconds: Number


class Result(Scored):
    """`result.json`"""

    outcome: Literal["finished", "diverged"]
    reason: str | None = None
    weights_sha256: str
    step: Whole
    tokens: Whole
    flops: Number
    seconds: Number
    tokens_per_second: Number | None = None
    parameters: Whole
    state_bytes: Whole = ABSENT
    grown_from: Grown | None = None
    compressed: dict[str, Any] = ABSENT
    skipped: dict[str, Any] = ABSENT
    mixture: Mixture
    files: dict[str, "File"] = ABSENT


class File(Shape):
    """A sum that a folder holds of a file."""

    size: Whole
    sha256: str


class Failure(Shape):
    """`failure.json`"""

    outcome: str
    reason: str


class Claim(Shape):
    """`claim.json`: an owner (`run.owners`), what its machine is called, and the trunks that it will leave."""

    machine: str
    pid: Whole
    born: str | None
    host: Line
    leaves: list[str]


class Environment(Shape):
    """`environment.json`"""

    data: str = ""
    device: str = ""
    threads: Annotated[int, Field(ge=1, lt=2**16)] = 1
    commit: str | None = None
    packages: dict[str, str | None] = ABSENT
    versions: dict[str, str | None] = ABSENT  # as packages were called once


class Start(Shape):
    """An entry of `starts.json`: the conditions of a try (`fit.conditions`), compared and never read otherwise."""

    step: Whole
    origin: str


class Taken(Shape):
    """What came of the last step, and of a copy of the run that took it once more."""

    done: Any
    again: Any


class End(Shape):
    """`end.json`"""

    twin: dict[str, Any] = ABSENT
    last_step: Annotated[Taken, Field(alias="last step", default_factory=dict)]


class Spike(Shape):
    """An entry of `skips.json`."""

    at: Whole
    step: Whole
    window: Annotated[list[Whole], Field(min_length=2, max_length=2)]


class Rescored(Scored):
    """`rescored.json`: what the weights give, or why they were not asked."""

    basis: dict[str, Any] = ABSENT
    why: str = ""
    weights_sha256: str = ""
    bound: Number = 0.0  # none of numbers that must be the same


class Asked(Shape):
    domains: list[str]
    vocabulary: Annotated[int, Field(ge=1, lt=2**31)]


class Request(Shape):
    settings: Asked
    pairs: Whole = 0


class Split(Shape):
    tokens: Whole


class Prepared(Shape):
    """`manifest.json` of prepared text."""

    fingerprint: str
    request: Request
    end: Whole
    domains: dict[str, dict[str, Split]]
    files: dict[str, File]


class Row(Shape):
    """Of `metrics.jsonl`, whatever its kind."""

    kind: str
    step: Whole


class Trained(Row):
    tokens: Whole
    lr: Number
    weight_decay: Number
    length: Whole
    domain_tokens: dict[str, Number] = ABSENT
    nats: float | None = None
    grad_norm: float | None = None
    tokens_per_second: Number | None = None
    mfu: Number | None = None


class Evaluated(Row, Scored):
    tokens: Whole
    flops: Number = ABSENT


class Traced(Row):
    origin: str
    windows: dict[str, dict[str, str]]
    custody: str = ""


class Keeping(Row):
    weights_sha256: str


class Sample(Shape):
    prompt: str
    text: str


class Sampled(Row):
    tokens: Whole
    texts: list[Sample]


class Steps(Row):
    """A number a step; none where it was left out."""

    first: Whole
    nats: list[float | None]
    counted: list[float | None]
    grad_norm: list[float | None]


class Inserted(Row):
    questions: list[str]


class OfRun(Shape):
    """A row of a lab book."""

    id: str


class KeptTrace(Shape):
    """What a lab book holds of a run's rows, without their kinds; of a step some numbers, if it has them."""

    starts: list[Start] = ABSENT
    train: list["KeptStep"] = ABSENT
    trace: list["KeptDigests"] = ABSENT
    kept: list["KeptWeights"] = ABSENT
    sample: list[dict[str, Any]] = ABSENT
    spike: list[Spike] = ABSENT
    inserted: list[dict[str, Any]] = ABSENT


class KeptStep(Shape):
    step: Whole
    tokens: Whole | None = None
    lr: Number | None = None
    weight_decay: Number | None = None
    length: Whole | None = None
    grad_norm: float | None = None


class KeptDigests(Shape):
    step: Whole
    windows: dict[str, dict[str, str]]


class KeptWeights(Shape):
    step: Whole
    weights_sha256: str


# Kinds of rows in the metrics
ROWS: dict[str, Any] = {
    "train": Trained,
    "evaluation": Evaluated,
    "sample": Sampled,
    "trace": Traced,
    "kept": Keeping,
    "spike": Spike,
    "inserted": Inserted,
    "steps": Steps,
}


def fit(shape: Any, value: Any, path: Path) -> Any:
    """The value as it is. Raises Damaged, naming the file and the key, for one of another shape."""
    try:
        _adapter(shape).validate_python(value, strict=True)
    except ValidationError as error:
        raise Damaged(path, f"damaged, {_said(error.errors()[0])}") from None
    return value


@functools.cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)


def _said(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"it lacks {key}"
    shown = repr(error["input"])
    wanted = INSTANCE.sub("", error["msg"].replace("Input should be", "must be")).removeprefix("Value error, ")
    return f"{key}{'=' * bool(key)}{shown[:SHOWN]}: {wanted[0].lower()}{wanted[1:]}"
