"""How a command ends: with one line on standard error for what the user can mend, and exit code 1."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, ParamSpec

from ablate.run.settings import UserError

P = ParamSpec("P")


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


def command(body: Callable[P, None]) -> Callable[P, None]:
    """A main function that ends on any mistake with one line."""

    def main(*arguments: P.args, **more: P.kwargs) -> None:
        with one_line_errors():
            body(*arguments, **more)

    return main


def leave(message: str, code: int = 1) -> NoReturn:
    """End with one line on standard error."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
