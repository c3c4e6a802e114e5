"""The ledger of a study: every declaration, whole, and every look at its runs. Rows are added, and never changed.

    outputs/studies/<name>/ledger.jsonl
    {"kind": "declared", "time": "2026-11-28T19:24:03+00:00", "after": "", "base_digest": "5f0c1d2e",
     "runs": 0, "looks": 0, "declaration": {...}}
    {"kind": "look", "time": "2026-11-28T19:31:40+00:00", "after": "91c3", "base_digest": "5f0c1d2e",
     "metric": "macro", "seeds": [0, 1, 2], "declared": ["share_05", "share_10"],
     "arms": {"share_05": {"pairs": {"0": [run of the base, run of the arm], ...}, "whole": true, "word": "worse"}}}

`after`: digest of the row before, so that one that is deleted is missed; `sum`: of the row itself. All rows are kept
twice: where one is damaged, and the copy is whole, they are the copy's. `runs`: how many of the study's runs had
finished then; `looks`: how many looks it had seen. `base_digest`: of the base, whatever it is called, and its text;
runs of another base are another experiment, whatever the name of the study. What follows from the rows is read by
`verdict.history`.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from ablate.run import files, shapes, whole
from ablate.run.settings import UserError
from ablate.run.study_shapes import LedgerRow

Row = dict[str, Any]


def now() -> str:
    """2026-11-28T19:24:03+00:00"""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Ledger:
    path: Path
    shape: Any = LedgerRow  # of a row

    def rows(self) -> list[Row]:
        """All of them, the oldest first; none of a study without a ledger. Raises UserError for one that is damaged."""
        found, copied = (_read(path) for path in (self.path, whole.copy_of(self.path)))
        if found is None:
            found = copied or (list(files.read_rows(self.path)) if self.path.exists() else [])
        return shapes.fit(list[self.shape], found, self.path)

    @property
    def begun(self) -> str:
        """Digest of the first row; empty without one."""
        return _digest(next(iter(self.rows()), None))

    @property
    def whole(self) -> bool:
        """Whether every row is there as it was written, up to the last."""
        rows = self.rows()
        if len(_read(whole.copy_of(self.path)) or []) > len(rows):  # the last ones were deleted, which no row tells
            return False
        chained = all(row["after"] == _digest(before) for before, row in zip([None, *rows], rows, strict=False))
        return chained and _as_written(rows)

    def add(self, kind: str, **values: Any) -> None:
        files.make_folder(self.path.parent)
        with FileLock(self.path.with_name(".ledger.lock")):  # two reports at once
            rows = self.rows()
            row = {"kind": kind, "time": now(), "after": _digest(next(reversed(rows), None)), **values}
            rows.append(row | {"sum": _digest(row)})
            text = "".join(json.dumps(one) + "\n" for one in rows)
            for path in (self.path, whole.copy_of(self.path)):
                files.write_atomically(path, text)


def _read(path: Path) -> list[Row] | None:
    """The rows; None where one of them is not as it was written."""
    if not path.is_file() or not path.read_bytes().endswith(b"\n"):
        return None
    try:
        rows = list(files.read_rows(path))
        return rows if _as_written(rows) else None
    except (UserError, AttributeError):
        return None


def _as_written(rows: list[Row]) -> bool:
    """By their sums. The first rows of an old ledger have none; after a row that has one, all have."""
    sums = [row.get("sum") for row in rows]
    bare = [{key: value for key, value in row.items() if key != "sum"} for row in rows]
    same = all(told in (None, _digest(row)) for told, row in zip(sums, bare, strict=True))
    return same and sorted(map(bool, sums)) == list(map(bool, sums))


def _digest(row: Row | None) -> str:
    return hashlib.sha256(json.dumps(row).encode()).hexdigest()[:8] if row else ""
