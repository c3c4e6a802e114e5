"""What lies below the folder of a domain: files to read, files that are no text, files that nobody can read.

english/dump/a.jsonl.zst         read
english/README.md  LICENSE       no text (`NO_TEXT`), which is said
english/.git/  a.jsonl.md5       no text
english/wiki/train.parquet       read
english/wiki/test.parquet        another split of the same data: left out, which is said
english/scans.zip                an error: what is passed over in silence changes the data
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePath
from typing import NamedTuple

from ablate.corpus.readers.file import readable, shown
from ablate.corpus.readers.table import KINDS, reader_of
from ablate.run.files import endless
from ablate.run.settings import UserError

# Names of files that describe, license or check a dataset
NO_TEXT = (
    *("readme", "readme.*", "license", "license.*", "license-*", "licence", "licence.*", "copying", "copying.*"),
    *("notice", "notice.*", "*.md5", "*.sha1", "*.sha256", "*.sha512", "*sums", "*.crc", "*.lock", "_success"),
    *("dataset_info.json", "dataset_infos.json", "dataset_dict.json"),
)
TRAIN = "train"
OTHER_SPLITS = {"validation", "valid", "val", "dev", "test", "eval"}  # of data that has a split `train` beside it
WORD = re.compile("[a-z]+")
ADVICE = f"convert them to {KINDS}; move them away, or put a dot before their name"


class Listing(NamedTuple):
    files: dict[str, Path]  # by name below the folder, sorted
    said: list[str]  # what a person should know of those that are left out


def listed(folder: Path, domain: str) -> Listing:
    """Raises OSError for folders that cannot be read, UserError for files that no reader can read, or none at all."""
    there = {_name(folder, path): path for path in _walk(folder, set())}
    for path in there.values():
        _check_file(path)
    found = {name: path for name, path in there.items() if not _no_text(path)}
    unread = {name: path for name, path in found.items() if reader_of(name) is None}
    if unread:
        raise UserError(f"domain {domain}: {shown(folder)} has files that cannot be read, {_counted(unread)}; {ADVICE}")
    described = _describing(there.keys() - found.keys())
    if not found:
        only = f": {described}" if described else ""
        raise UserError(f"domain {domain}: {shown(folder)} has no text{only}; {KINDS} can be read")
    left_out = _other_splits(found)
    files = {name: path for name, path in sorted(found.items()) if name not in left_out}
    said = [*_said(domain, left_out), *([f"domain {domain}: {described}"] if described else [])]
    return Listing(files, said)


def _walk(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """Every file below a folder, hidden ones aside. A folder that several links lead to is read once."""
    found = folder.stat()
    if (found.st_dev, found.st_ino) in seen:
        return
    seen.add((found.st_dev, found.st_ino))
    with os.scandir(folder) as there:
        entries = sorted((entry.is_symlink(), entry.name, entry.is_dir()) for entry in there)
    for _, name, is_folder in entries:  # folders proper before links to them
        if not is_hidden(name):
            yield from _walk(folder / name, seen) if is_folder else [folder / name]


def _check_file(path: Path) -> None:
    """Raises UserError for what would have a reader wait, or never end."""
    if kind := endless(path):
        raise UserError(f"{shown(path)}: is a {kind}, not a file; move it away, or put a dot before its name")


def is_hidden(name: str) -> bool:
    return name.startswith(".")


def _name(folder: Path, path: Path) -> str:
    return readable(path.relative_to(folder).as_posix())


def _no_text(path: Path) -> bool:
    name = path.name.lower()
    of_dataset = name.endswith(".arrow") and (path.parent / "state.json").exists()
    return of_dataset or any(fnmatch(name, pattern) for pattern in NO_TEXT)


def _describing(names: Iterable[str]) -> str:
    """Of files that are no text by their name, those that could be text: somebody may collect READMEs."""
    found = [name for name in names if reader_of(name) and not name.endswith(".json")]
    files = "a file that describes data is" if len(found) == 1 else f"{len(found)} files that describe data are"
    return f"{files} left out (such as {shown(min(found))})" if found else ""


def _other_splits(names: Iterable[str]) -> dict[str, str]:
    """Names of files of other splits than `train`, with their split, where both lie side by side."""
    pools = [name for name in names if (reader := reader_of(name)) and reader.pool]
    steps = {name: [(path.parent, _split(path.name)) for path in _upwards(name)] for name in pools}
    trained = {parent for name in pools for parent, split in steps[name] if split == TRAIN}
    others = {
        name: [split for parent, split in steps[name] if split in OTHER_SPLITS and parent in trained] for name in pools
    }
    return {name: splits[0] for name, splits in others.items() if splits}


def _upwards(name: str) -> list[PurePath]:
    """a/b/c.txt, a/b and a."""
    path = PurePath(name)
    return [path, *path.parents][:-1]


def _split(name: str) -> str:
    """The first word of a name: test of test-00000-of-00001.parquet."""
    word = WORD.match(name.lower())
    return word[0] if word else ""


def _counted(files: dict[str, Path]) -> str:
    """3 .zip, 1 without an ending (such as old/scans.zip)."""
    counts = Counter("".join(PurePath(name).suffixes[-2:]).lower() or "without an ending" for name in files)
    return f"{', '.join(f'{n} {ending}' for ending, n in counts.most_common())} (such as {shown(min(files))})"


def _said(domain: str, left_out: dict[str, str]) -> list[str]:
    if not left_out:
        return []
    splits = ", ".join(sorted(set(left_out.values())))
    return [f"domain {domain}: only the split train is read; {len(left_out)} files of {splits} are left out"]
