"""The studies that a ladder consists of, by name: `<study>_<size>`, and at another rate `<study>_<size>_lr0.5`."""

from dataclasses import dataclass
from typing import Any

from ablate.run.settings import SettingsError
from ablate.run.study import Ladder


@dataclass(frozen=True)
class Rung:
    """One study of a ladder. size: "" where the ladder names none; rate: times optimizer.lr."""

    size: str
    rate: float

    @property
    def suffix(self) -> str:
        parts = [self.size] if self.size else []
        return "".join(f"_{part}" for part in (*parts, *([] if self.rate == 1 else [f"lr{self.rate:g}"])))


def rungs(ladder: Ladder) -> list[Rung]:
    """From small to large, the rates as they were named; empty where a study is no ladder."""
    if not ladder.sizes and ladder.rates == [1.0]:
        return []
    return [Rung(size, rate) for size in ladder.sizes or [""] for rate in ladder.rates]


def whole_of(name: str, declared: dict[str, Any]) -> tuple[str, list[Rung]]:
    """The name of the ladder that a declared study is a rung of, and all rungs; ("", []): it is none."""
    found = rungs(Ladder(**declared.get("ladder", {})))
    own = [one.suffix for one in found if one.suffix and name.endswith(one.suffix)]
    if not found:
        return "", []
    return (name.removesuffix(max(own, key=len)) if own else name), found


def check(ladder: Ladder) -> None:
    """Raises SettingsError for sizes or rates that make no ladder."""
    for name, values in (("sizes", ladder.sizes), ("rates", [f"{rate:g}" for rate in ladder.rates])):
        if len(set(values)) < len(values):
            raise SettingsError(f"study.ladder.{name}={values}: must be without repeats")
    if 1.0 not in ladder.rates:
        raise SettingsError(f"study.ladder.rates={ladder.rates}: must have 1, the rate of the study")
    if len(ladder.sizes) == 1:
        raise SettingsError(f"study.ladder.sizes={ladder.sizes}: must be two sizes or more, or none")
    for name in ("tokens_per_parameter", "target"):
        if getattr(ladder, name) and not ladder.sizes:
            raise SettingsError(f"study.ladder.{name}={getattr(ladder, name):g}: must be 0 without study.ladder.sizes")
