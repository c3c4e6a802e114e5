"""Command: what the trunks on disk are, and a limit to what they take.

A trunk is only a saving: a run that misses one trains those steps itself, to the same bits. Files are
links to checkpoints where the file system can, so what counts is what no one else holds. This is safe while
a sweep runs: a trunk used within the last minutes stays, and one that is removed vanishes at once.
"""

import re
import time
from collections import Counter
from pathlib import Path

from rich.console import Console

from ablate.console.errors import command
from ablate.console.words import Parser
from ablate.page import tables
from ablate.run.files import Damaged, clock_of
from ablate.run.settings import UserError
from ablate.run.trunks import Trunk, trunks

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
BLOCK = 512  # bytes in which st_blocks counts, whatever the file system
WHAT = "List the beginnings of runs that are kept for other runs, and limit the space they take."
EXAMPLES = """\
  ablate trunks                  every trunk, the one used last first
  ablate trunks --limit 10GB     remove those least recently used"""
RECENT_SECONDS = 300.0  # a run that chose a trunk has read it by then


@command
def main(arguments: list[str] | None = None) -> None:
    parser = Parser("trunks", WHAT, EXAMPLES)
    parser.add_argument("--limit", metavar="SIZE", help="remove the least recently used until the rest fits")
    options = parser.read(arguments)
    console = Console(highlight=False)
    if options.limit is not None:
        removed, freed = prune(Path(options.outputs), bytes_of(options.limit))
        console.print(f"{removed} trunks removed, {size_text(freed)} freed")
    show(Path(options.outputs), console)


def show(outputs: Path, console: Console) -> None:
    """List the trunks, and what they hold that nobody else does."""
    found = trunks(outputs)
    sizes = held(found)
    table = tables.table("run that left it", ">step", ">size", ">of its own", ">last used")
    for trunk in found:
        try:
            what, used = trunk.read(), trunk.folder.stat().st_mtime
        except FileNotFoundError:  # removed meanwhile
            continue
        except Damaged as error:
            console.print(f"cannot be read: {error}", style="red", soft_wrap=True)
            continue
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(used))
        own = size_text(sizes[trunk.key])
        table.add_row(what["run"], str(what["step"]), size_text(trunk.size()), own, when)
    if table.row_count:
        console.print(table)
    of_all = f"{table.row_count} trunk{'s' if table.row_count != 1 else ''}"
    console.print(f"{of_all}, {size_text(sum(sizes.values()))} that nothing else holds")


def prune(outputs: Path, limit: int) -> tuple[int, int]:
    """Remove the least recently used until the rest holds at most `limit` bytes: (trunks removed, bytes freed)."""
    found, removed, freed = trunks(outputs), 0, 0
    sizes = held(found)
    total, now = sum(sizes.values()), clock_of(outputs) if found else 0.0
    for trunk in reversed(found):
        if total - freed <= limit:
            break
        if sizes[trunk.key] and not _recent(trunk, now):
            trunk.remove()
            removed, freed = removed + 1, freed + sizes[trunk.key]
    return removed, freed


def held(found: list[Trunk]) -> dict[str, int]:
    """Bytes by trunk that its removal frees: of files with no link outside of it."""
    sizes = {}
    for trunk in found:
        files = [path.stat() for path in trunk.folder.rglob("*") if path.is_file()]
        links = Counter(file.st_ino for file in files)
        alone = {file.st_ino: file.st_blocks * BLOCK for file in files if file.st_nlink == links[file.st_ino]}
        sizes[trunk.key] = sum(alone.values())
    return sizes


def bytes_of(text: str) -> int:
    """10GB -> 10_000_000_000. Raises UserError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.strip().upper())
    if not found:
        raise UserError(f"--limit {text}: must be a number of bytes, such as 500MB or 10GB")
    return int(float(found.group(1)) * UNITS[found.group(2)])


def size_text(size: int) -> str:
    """1234567 -> 1.2 MB"""
    unit = next((unit for unit in reversed(UNITS) if size >= UNITS[unit]), "")
    return f"{size / UNITS[unit]:.3g} {unit}B"


def _recent(trunk: Trunk, now: float) -> bool:
    try:
        return now - trunk.folder.stat().st_mtime < RECENT_SECONDS
    except FileNotFoundError:
        return True


if __name__ == "__main__":
    main()
