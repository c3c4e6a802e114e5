"""How a command ends: with one line on standard error for what the user can mend, and exit code 1."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from ablate.run.settings import UserError


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Around a whole command: what the user can mend is one line, and exit code 1."""
    try:
        yield
    except UserError as error:
        leave(str(error))
    except BrokenPipeError:  # whoever read the output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if not error.filename:
            raise
        leave(f"{error.strerror or error}: {error.filename}")
    except KeyboardInterrupt as stop:
        leave(str(stop) or "interrupted; the same command goes on from here", code=130)


def command(body: Callable[[list[str] | None], None]) -> Callable[[list[str] | None], None]:
    """A main function that takes arguments (those typed, if None) and ends on any mistake with one line."""

    def main(arguments: list[str] | None = None) -> None:
        with one_line_errors():
            body(arguments)

    return main


def leave(message: str, code: int = 1) -> NoReturn:
    """End with one line on standard error."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
