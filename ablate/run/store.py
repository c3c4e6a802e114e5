"""Finished runs on an object store: machines without a common disk train none of them twice.

    where.store=s3://bucket/lab        runs/<id>/<16 hex of its result>/ of it has what a finished run leaves

Any address that fsspec knows: s3://, gs://, abfs://, file:///. A run is fetched where it would be trained, and put
there once it is done. What comes back is held against its own sums, and against its id, before it is believed. Each
machine that has trained a run puts a copy of its own there, result.json last: two that put the same run at once never
mix their files, and a damaged copy is in nobody's way.

Studies stay where they are judged: how often one was looked at is known to its own outputs alone.
"""

import importlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ablate.run import files, shapes, whole
from ablate.run.identity import record_name
from ablate.run.record import NAMED, Record
from ablate.run.settings import UserError

LAST = "result.json"  # without it a run is not done, here or there
FETCHED = ".fetched"  # in the folder of a run, until what came is believed


def check(store: str) -> None:
    """Raises UserError, before anything is trained, unless the store is there and can be written."""
    if store:
        with _opened(store) as (system, root):
            system.pipe_file(f"{root}/.writable", b"")  # makes no folder and no bucket, as a slip would have it


def put(records: Sequence[Record], store: str) -> None:
    """Put what is not there yet of finished runs. Raises UserError."""
    with _opened(store) as (system, root):
        for record in records:
            if record.done:
                _put(record, system, f"{root}/runs/{record.id}")


def fetch(record: Record, store: str) -> bool:
    """Fetch a finished run, if it is there and whole; whoever calls has the claim of the run. Raises UserError."""
    found = Record(record.folder / FETCHED / record.id)
    with _opened(store) as (system, root):
        try:
            return any(_moved(found, record, system, copy) for copy in _copies(system, f"{root}/runs/{record.id}"))
        finally:
            shutil.rmtree(found.folder.parent, ignore_errors=True)


def _put(record: Record, system: Any, folder: str) -> None:
    copy = f"{folder}/{whole.digest(whole.read(record.folder / LAST))[:16]}"
    there = _sizes(system, copy)
    for name, path in _left(record):
        if there.get(name) != path.stat().st_size:
            system.makedirs(f"{copy}/{name}".rpartition("/")[0], exist_ok=True)
            system.put_file(str(path), f"{copy}/{name}")


def _left(record: Record) -> list[tuple[str, Path]]:
    """What a run leaves for other machines, by name, `LAST` at the end."""
    paths = [path for path in sorted(record.folder.rglob("*")) if path.is_file()]
    found = [(path.relative_to(record.folder).as_posix(), path) for path in paths]
    return sorted([one for one in found if _goes(one[0])], key=lambda one: one[0] == LAST)


def _goes(name: str) -> bool:
    """Whether a file of a run goes from machine to machine: what it is and gave, not what one made of it."""
    folder, _, file = name.rpartition("/")
    return name in (*NAMED, LAST) or (folder in ("weights", "scores") and file != ".." and not file.endswith(".part"))


def _copies(system: Any, folder: str) -> list[str]:
    """Folders of the run, one of each machine that has trained it."""
    try:
        return sorted(one["name"] for one in system.ls(folder, detail=True) if one["type"] == "directory")
    except FileNotFoundError:
        return []


def _sizes(system: Any, copy: str) -> dict[str, int]:
    """Of the files there, by name."""
    found = system.find(copy, detail=True).items()
    return {path.partition(f"{copy.lstrip('/')}/")[2]: one["size"] for path, one in found if one["type"] == "file"}


def _moved(found: Record, record: Record, system: Any, copy: str) -> bool:
    """Whether a copy of the run is whole, and was put in its place. Says what is wrong with one that is not."""
    shutil.rmtree(found.folder, ignore_errors=True)
    there = _sizes(system, copy)
    if LAST not in there:  # whoever put it was killed
        return False
    try:
        _get(found, [LAST], system, copy)
        told = _told(found)
        if wrong := [name for name, one in told.items() if not _goes(name) or there.get(name) != one["size"]]:
            raise UserError(f"{wrong[0]} is not what {LAST} says")
        _get(found, {*told, *(name for name in there if name.startswith("scores/") and _goes(name))}, system, copy)
        _check(found)
    except UserError as error:
        print(f"not fetched: {copy}: {str(error).removeprefix(f'{found.folder}/')}", flush=True)
        return False
    for name, path in _left(found):
        files.make_folder((record.folder / name).parent)
        path.replace(record.folder / name)
    shutil.rmtree(record.checkpoints, ignore_errors=True)
    return True


def _told(found: Record) -> dict[str, Any]:
    """Size and sha256 of the files of a run, as its result has them."""
    path = found.folder / LAST
    return shapes.fit(shapes.Result, whole.read(path), path).get("files", {})


def _get(found: Record, names: Iterable[str], system: Any, copy: str) -> None:
    for name in names:
        path = found.folder / name
        files.make_folder(path.parent)
        system.get_file(f"{copy}/{name}", str(path))


def _check(found: Record) -> None:
    """Raises UserError for a run that is not whole, or is another one."""
    if what := found.damage():
        raise UserError(what)
    if (name := record_name(found.settings(), found.fingerprint)) != found.id:
        raise UserError(f"it is another run, {name}")


@contextmanager
def _opened(store: str) -> Iterator[tuple[Any, str]]:
    """The file system, and the place of the store in it."""
    try:
        system, root = importlib.import_module("fsspec").url_to_fs(store)
        system.invalidate_cache()  # others write there, too
        yield system, root.rstrip("/")
    except UserError:
        raise
    except Exception as error:  # each kind of store has errors of its own
        said = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"where.store={store}: {said}") from None
