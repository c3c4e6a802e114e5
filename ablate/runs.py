"""Command: the runs there are."""

from ablate.console.errors import command
from ablate.console.words import Parser


@command
def main(arguments: list[str] | None = None) -> None:
    Parser("runs", "List runs.").read(arguments)
