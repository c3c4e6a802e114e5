"""W&B takes what the record has, and no run depends on it."""

import contextlib
import os
import signal
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from runs import train_run

from ablate.fit import mirror
from ablate.fit.watch import Watch
from ablate.run.record import Record
from ablate.run.settings import Settings, UserError
from ablate.scores.metrics import scope_of

OFFLINE = {"wandb": "offline"}


@pytest.mark.slow
def test_every_row_is_there(tiny, outputs):
    train_run(settings := tiny(where=OFFLINE, evaluate={"samples": ["The river"], "sample_tokens": 3}))
    record = only(outputs)
    file = next((outputs / "wandb").glob(f"offline-run-*-{record.id}/*.wandb")).read_bytes()
    for kind, name in (("train", "grad_norm"), ("evaluation", "metric/macro")):
        values = [mirror.logged(kind, row, scope_of(settings))[f"{kind}/{name}"] for row in record.rows(kind)]
        assert len(set(values)) == len(values) > 0
        assert all(repr(value).encode() in file for value in values)
    tables = next((outputs / "wandb").glob("offline-run-*")).rglob("media/table/sample_*.json")
    assert len(list(tables)) == len(record.rows("sample")) > 0


def test_a_run_whose_service_is_killed_ends_with_the_same_weights(tiny, outputs, forkserver):
    alone = train_run(tiny())
    only(outputs).folder.rename(outputs / "alone")
    process = forkserver.Process(target=losing, args=(tiny(where=OFFLINE),))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert (only(outputs).result() or {})["weights_sha256"] == alone["weights_sha256"]
    assert "W&B was lost, and the run goes on without it" in (outputs / "said.txt").read_text()


def losing(settings: Settings) -> None:
    """Train, and kill W&B's service after the third row."""
    os.environ.pop("WANDB_SERVICE", None)  # another process's, which it would use
    log, rows = Watch._log_training, []

    def kills(self: Watch, *arguments: Any) -> None:
        log(self, *arguments)
        rows.append(arguments)
        if len(rows) == 3:
            for process in services():
                os.kill(process, signal.SIGKILL)

    killing = mock.patch.object(Watch, "_log_training", kills)
    with Path(settings.where.outputs, "said.txt").open("w") as file, contextlib.redirect_stdout(file), killing:
        train_run(settings)


def test_online_without_a_login_is_told_before_the_training(tiny, outputs, monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(UserError, match=r"^where\.wandb=online: .*wandb login"):
        train_run(tiny(where={"wandb": "online"}))
    assert not (outputs / "runs").exists()


def only(outputs: Path) -> Record:
    [folder] = (outputs / "runs").iterdir()
    return Record(folder)


def services() -> list[int]:
    """W&B's services of this process."""
    told = f"\0--pid\0{os.getpid()}\0".encode()
    commands = [path for path in Path("/proc").glob("[0-9]*/cmdline") if told in read(path)]
    assert commands
    return [int(path.parent.name) for path in commands]


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended
        return b""


def test_off_is_no_logger(tiny, tmp_path):
    assert mirror.loggers(tiny(), Record(tmp_path)) == []


def test_what_is_told_of_a_study_is_in_the_log(tiny, outputs):
    where = OFFLINE | {"wandb_tags": ["mine"], "wandb_notes": "of one night", "wandb_alerts": True}
    settings = tiny(where=where, study={"name": "s"})
    mirror.announce(settings, Record(outputs / "studies" / "s"), "qa_20 is better than base")
    file = next((outputs / "wandb").glob("offline-run-*-s-verdict/*.wandb")).read_bytes()
    assert all(text in file for text in (b"s: the verdict", b"qa_20 is better than base", b"mine", b"of one night"))
