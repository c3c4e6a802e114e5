"""What a check of a study found: one line, and whether the study can still be believed in that respect."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """`check`: which one, in a word; `arm`: whose, or empty for the whole study; not `held`: the verdict is void."""

    check: str
    arm: str
    held: bool
    text: str
