"""The whole way with a real server: a model trained here, exported, served by transformers, asked to refine."""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import record_of, train_run
from stepping import documents_of, results_of, summed
from teaching import prepare, teacher

from ablate import export
from ablate.corpus import complete, refine
from ablate.corpus.endpoint import Endpoint
from ablate.fit.parallel.processes import free_port
from ablate.run.settings import UserError

NEEDS = ("fastapi", "uvicorn", "openai", "accelerate")
SECONDS = 500  # until the server answers, and for each of its answers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(any(importlib.util.find_spec(name) is None for name in NEEDS), reason=f"needs {NEEDS}"),
]


@contextlib.contextmanager
def served(folder: Path, log: Path) -> Iterator[str]:
    command = [str(Path(sys.executable).parent / "transformers"), "serve", str(folder), "--device", "cpu"]
    with free_port() as port, log.open("w") as file:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=file,
            stderr=file,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )
        try:
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait()


def wait_for(of: Endpoint, log: Path) -> None:
    """Ask until there is a reply: the server cannot tell its models without a cache of the hub."""
    end, said = time.monotonic() + SECONDS, ""
    while time.monotonic() < end:
        try:
            of.ask([of.request("Are you there?", "Say so.")])
            return
        except UserError as error:
            said = str(error)
            time.sleep(1)
    pytest.fail(f"{said}\n{log.read_text()[-2000:]}")


@pytest.mark.skipif(not shutil.which("transformers", path=Path(sys.executable).parent), reason="needs its command")
def test_a_model_trained_here_is_a_teacher(tiny, tmp_path):
    data = {"span": 256, "domains": ["qa"]}  # so regular that a model of seconds says more than spaces
    settings = tiny(data=data, length={"lengths": [256], "starts": [0]}, tokens=60_416)
    train_run(settings)
    export.export(record_of(settings), "hf", tmp_path / "model")
    with served(tmp_path / "model", tmp_path / "log.txt") as url:
        of_teacher = teacher(
            model=str(tmp_path / "model"), chat=False, tokens=24, chunk=80, prompt="Clean:", temperature=1.0
        )
        of = Endpoint.of(of_teacher, prepare(url, timeout=SECONDS, concurrency=1), tmp_path / "replies.sqlite")
        wait_for(of, tmp_path / "log.txt")
        texts = [f"Of the {n} numbers that there are, one is the greatest.\n\nIt is not {n}." for n in range(3)]
        refined = results_of(refine.steps(of)[0], documents_of(texts))
        made = results_of(complete.steps(of_teacher, of)[0], documents_of(texts))
    # a model of a second's training repairs nothing, and asks nothing that could be read
    assert [one.text for result in refined for one in result.documents] == texts
    assert all(result.removed for result in made)
    counts = summed(refined)
    assert counts["teacher.requests"] == counts["refine.pieces"] == 3
    assert counts["teacher.prompt_tokens"] > 3 * 20
    assert 3 <= counts["teacher.reply_tokens"] <= 3 * 24
    assert "teacher.estimated_tokens" not in counts
    again = Endpoint.of(of_teacher, prepare(""), tmp_path / "replies.sqlite")  # the server is gone, the replies are not
    assert results_of(refine.steps(again)[0], documents_of(texts)) == refined
