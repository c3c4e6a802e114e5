"""How the next token of a text is drawn: checked before a model is loaded, which takes longer."""

from collections.abc import Sequence
from dataclasses import dataclass

from ablate.run.settings import UserError


@dataclass(frozen=True, kw_only=True)
class Draw:
    """How the next token is chosen: the likeliest at temperature 0, else one of those left by `top_k` and `top_p`."""

    temperature: float = 0.0
    top_k: int = 0  # so many of the likeliest; 0: all
    top_p: float = 1.0  # as few of the likeliest as together have this probability
    seed: int = 0

    def __post_init__(self) -> None:
        _require(self.temperature >= 0, "temperature", self.temperature, "0 (the likeliest token) or more")
        _require(self.top_k >= 0, "top_k", self.top_k, "0 (all tokens) or more")
        _require(0 < self.top_p <= 1, "top_p", self.top_p, "above 0 and at most 1")


def drawing(*, tokens: int, temperature: float, top_k: int, top_p: float, seed: int, stop: Sequence[str]) -> Draw:
    """How each of so many tokens is chosen. Raises UserError for values that make no sense."""
    _require(tokens >= 1, "tokens", tokens, "1 or more")
    _require("" not in stop, "stop", "", "a text that is not empty")
    return Draw(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)


def _require(fits: bool, name: str, value: object, allowed: str) -> None:
    if not fits:
        raise UserError(f"{name}={value}: must be {allowed}")
