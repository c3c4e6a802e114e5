"""A file that is read: where it lies, what its documents are called after, how far its reader has come.

A reader sets `number` before it looks at a line or row, and raises whatever its libraries raise: `faults` makes one
line of it that names the file and that place.
"""

import csv
import dataclasses
import io
import json
import lzma
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from ablate.run.failures import first_line
from ablate.run.settings import UserError

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".xz": "xz"}
# What stands in place of a large file in a repository that was not fetched whole
POINTERS = {
    b"version https://git-lfs.github.com/spec/": "a pointer of git-lfs, not the file: run `git lfs pull` there",
    b"/annex/objects/": "a pointer of git-annex, not the file: run `git annex get` there",
}
POINTER_BYTES = 1024  # a pointer is shorter


@dataclasses.dataclass
class File:
    path: Path
    name: str  # below the folder of its domain; what is not valid UTF-8 in it is escaped
    unit: str = "line"  # what `number` counts
    number: int = 0  # of the line or row that is looked at; 0: none yet

    def fault(self, what: str) -> UserError:
        return UserError(f"{shown(self.path)}{f', {self.unit} {self.number}' if self.number else ''}: {what}")

    def source(self, named: str, alone: str | int) -> str:
        """What a row belongs to: to what it names, or, where it stands alone, to itself."""
        return named or f"{self.name}:{alone}"

    @property
    def compression(self) -> str:
        return COMPRESSIONS.get(self.path.suffix.lower(), "")

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """Its bytes, decompressed as they are read."""
        with ExitStack() as stack:
            raw = stack.enter_context(self.path.open("rb"))
            if not self.compression:
                yield raw
            elif self.compression == "xz":
                yield stack.enter_context(lzma.open(raw))
            else:
                import pyarrow  # which, unlike gzip, is quick, and sees that a file was cut short, unlike zstandard

                yield io.BufferedReader(stack.enter_context(pyarrow.CompressedInputStream(raw, self.compression)))

    def text(self) -> str:
        """All of it, as UTF-8; a byte-order mark can only stand at the beginning."""
        with self.opened() as stream:
            content = stream.read()
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            self.number = content.count(b"\n", 0, error.start) + 1
            raise


@contextmanager
def faults(file: File) -> Iterator[None]:
    """Makes one UserError of what goes wrong while a file is read."""
    import pyarrow

    try:
        _check_pointer(file)
        yield
    except UserError:
        raise
    except UnicodeDecodeError as error:
        raise file.fault(f"not UTF-8 ({error.reason})") from None
    except json.JSONDecodeError as error:
        raise file.fault(f"not JSON ({error.msg}, column {error.colno})") from None
    except RecursionError:
        raise file.fault("not JSON that can be read: nested too deeply") from None
    except csv.Error as error:
        raise file.fault(f"not a table ({first_line(error)})") from None
    except (pyarrow.ArrowException, EOFError, lzma.LZMAError) as error:
        raise file.fault(f"not a whole {file.path.suffix} file ({first_line(error)})") from None
    except OSError as error:  # those of pyarrow have no number, and tell of damage
        damaged = error.errno is None and not error.filename
        said = error.strerror if error.filename == str(file.path) else first_line(error)
        raise file.fault(f"not a whole {file.path.suffix} file ({said})" if damaged else str(said)) from None
    except ValueError as error:  # an integer of more than 4,300 digits, whatever a library finds wrong
        raise file.fault(f"cannot be read ({first_line(error)})") from None


def shown(path: Path | str) -> str:
    """A path in a message: of one line, whatever it is called."""
    name = readable(str(path))
    return name if name.isprintable() else repr(name)


def readable(name: str) -> str:
    """A name of a file as text that UTF-8 can hold: bytes of another encoding are escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _check_pointer(file: File) -> None:
    if file.path.stat().st_size < POINTER_BYTES:
        content = file.path.read_bytes()
        for beginning, said in POINTERS.items():
            if content.startswith(beginning):
                raise file.fault(said)
