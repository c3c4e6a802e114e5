"""Which checkpoints a run has, and which of them it may go on from; `fit.checkpoint` writes and loads them.

A checkpoint counts when its own files are as they were written, and what the run had noted by then is too: its rows, up
to there, and the conditions under which it started. A trunk's is asked by the trunk (`Trunk.whole`).
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from ablate.run import whole
from ablate.run.monitor import Window, union

LAST, STARTS, ROWS = "trainer.json", "starts.json", "metrics.jsonl"


def saved(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    return sorted(folder.glob("step-" + "[0-9]" * 8))


def newest(folder: Path, until: int | None = None, tell: bool = False, left_out: Sequence[Window] = ()) -> Path | None:
    """The checkpoint to go on from, which is whole, after at most `until` steps, and without those that are left out.

    tell: say what is wrong with the others, and remove them; of several processes that look, one does that.
    """
    damaged, found = [], None
    for path in reversed(saved(folder)):
        if (until is not None and step_of(path) > until) or not leaves_out(path, step_of(path), left_out):
            continue
        if not (what := wrong(path)):
            found = path
            break
        damaged.append((path, what))
    for path, what in damaged if tell else ():
        goes_on = f"goes on from step {step_of(found)}" if found else "begins anew"
        print(f"{path}: {what}; removed, and the run {goes_on}", flush=True)
        shutil.rmtree(path, ignore_errors=True)
    return found


def drop(folder: Path, left_out: Sequence[Window]) -> None:
    """Delete checkpoints with steps that were taken back."""
    for path in saved(folder):
        if not leaves_out(path, step_of(path), left_out):
            shutil.rmtree(path, ignore_errors=True)


def leaves_out(path: Path, step: int, windows: Sequence[Window]) -> bool:
    """Whether the state after `step` steps is one from which all steps before it in these windows are left out."""
    wanted = [(first, min(end, step)) for first, end in windows if first < step]
    if not wanted:
        return True
    noted = _left_out(path)
    return noted is not None and all(any(a <= first and end <= b for a, b in noted) for first, end in wanted)


def leaves_out_just(path: Path, step: int, windows: Sequence[Window]) -> bool:
    """Whether the state after `step` steps is that of a run which leaves out these windows, and no other steps."""
    noted = _left_out(path)
    return noted is not None and _before(noted, step) == _before(windows, step)


def _left_out(path: Path) -> Sequence[Window] | None:
    """What the run of a checkpoint had left out or would; None where that cannot be read."""
    try:
        return whole.read(path / LAST)["callbacks"]["Watch"]["left_out"]
    except (OSError, whole.Damaged, KeyError, TypeError):
        return None


def _before(windows: Sequence[Window], step: int) -> list[Window]:
    return union((first, min(end, step)) for first, end in windows if first < step)


def wrong(path: Path) -> str | None:
    """What is not as it was when the checkpoint was written: its files, or what the run had noted by then."""
    try:
        whole.read(path.parent.parent / STARTS)
        return wrong_rows(path) or whole.unlike(path, whole.read(path / LAST)["files"])
    except whole.Damaged as error:
        return str(error)
    except OSError as error:  # removed meanwhile by another process of the run
        return f"{error.filename}: {error.strerror}"
    except (KeyError, TypeError):
        return f"{LAST} {whole.CHANGED}"


def wrong_rows(path: Path) -> str | None:
    """What is wrong with the run's rows up to a checkpoint. Raises Damaged where that does not tell."""
    run, rows = path.parent.parent, whole.read(path / LAST)["rows"]
    same = not rows or ((run / ROWS).exists() and whole.file_of(run / ROWS, rows["size"]) == rows)
    return None if same else f"{ROWS} {whole.CHANGED}"


def rows_size(path: Path) -> int:
    """Bytes of the run's rows up to a checkpoint."""
    return whole.read(path / LAST)["rows"].get("size", 0)


def step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))
