"""The ledger of a study: every declaration, whole, and every look at its runs. Rows are added, and never changed.

    outputs/studies/<name>/ledger.jsonl
    {"kind": "declared", "time": "2026-11-28T19:24:03+00:00", "after": "", "base_digest": "5f0c1d2e",
     "runs": 0, "looks": 0, "declaration": {...}}
    {"kind": "look", "time": "2026-11-28T19:31:40+00:00", "after": "91c3", "base_digest": "5f0c1d2e",
     "metric": "macro", "seeds": [0, 1, 2], "declared": ["share_05", "share_10"],
     "arms": {"share_05": {"pairs": {"0": [run of the base, run of the arm], ...}, "whole": true, "word": "worse"}}}

`after`: digest of the row before, so that one that is deleted is missed. `runs`: how many of the study's runs had
finished then; `looks`: how many looks it had seen. `base_digest`: of the base, whatever it is called, and its text;
runs of another base are another experiment, whatever the name of the study. What follows from the rows is read by
`verdict.history`.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from ablate.run import files

Row = dict[str, Any]


def now() -> str:
    """2026-11-28T19:24:03+00:00"""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Ledger:
    path: Path

    def rows(self) -> list[Row]:
        """All of them, the oldest first; none of a study that has no ledger."""
        return list(files.read_rows(self.path))

    @property
    def begun(self) -> str:
        """Digest of the first row; empty without one."""
        return _digest(next(iter(self.rows()), None))

    @property
    def whole(self) -> bool:
        """Whether every row is there as it was written, up to the last."""
        rows = self.rows()
        return all(row["after"] == _digest(before) for before, row in zip([None, *rows], rows, strict=False))

    def add(self, kind: Literal["declared", "look"], **values: Any) -> None:
        files.make_folder(self.path.parent)
        with FileLock(self.path.with_name(".ledger.lock")):  # two reports at once
            files.cut_broken_row(self.path)
            after = _digest(next(reversed(self.rows()), None))
            files.append_row(self.path, {"kind": kind, "time": now(), "after": after, **values})


def _digest(row: Row | None) -> str:
    return hashlib.sha256(json.dumps(row).encode()).hexdigest()[:8] if row else ""
