"""Text of any size: read part by part, tokenised by any number of processes, gone on with after a kill."""

import contextlib
import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small import intact, small_data, splits_of, write_jsonl  # pyrefly: ignore  # beside this file

from ablate.corpus import parts
from ablate.corpus.document import Document
from ablate.data import build, documents, spool
from ablate.data.documents import capped, cleaned
from ablate.data.heldout import texts_of
from ablate.data.questions import question
from ablate.data.request import Levels
from ablate.data.tokens import Corpus, prepare
from ablate.run.corpus import Prepare
from ablate.run.settings import Data


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two domains of some megabytes: more than a part holds."""
    root = tmp_path_factory.mktemp("large")
    for domain, first in {"asked": 0, "told": 1_000_000}.items():
        texts = ["\n".join(question(first + 100 * i + j).text for j in range(100)) for i in range(100)]
        rows = [{"text": text, "source": f"{domain}:{i // 2}"} for i, text in enumerate(texts)]
        write_jsonl(root / domain / "rows.jsonl", rows)
    return root


def files_of(corpus: Corpus) -> dict[str, bytes]:
    """All but the manifest, which tells where the text came from."""
    return {p.name: p.read_bytes() for p in corpus.folder.iterdir() if p.name not in ("manifest.json", "verified.json")}


@pytest.mark.slow
def test_equal_bytes_for_any_number_of_processes_and_parts(large, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "WORTH_BYTES", 1)
    ways = [Prepare(workers=1, part_mb=1), Prepare(workers=2, part_mb=1), Prepare(workers=4, part_mb=2), Prepare()]
    corpora = [prepare(small_data(large), tmp_path / str(n), how=Levels(by=by)) for n, by in enumerate(ways)]
    assert all(files_of(corpus) == files_of(corpora[0]) for corpus in corpora[1:])
    domains = [corpus.manifest["domains"] for corpus in corpora]
    assert domains.count(domains[0]) == len(ways)
    assert not list((corpora[0].folder).glob(".*"))


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """When each file of the parts was written, in nanoseconds, as it was when all were there."""
    found = dict[str, int]()
    conclude = build.Build._conclude

    def noting(self: build.Build, *arguments: Any) -> None:
        conclude(self, *arguments)
        paths = [path for path in self.work.rglob("*") if path.is_file()]
        found.update({path.relative_to(self.work).as_posix(): path.stat().st_mtime_ns for path in paths})

    monkeypatch.setattr(build.Build, "_conclude", noting)
    return found


def killed(data: Data, outputs: Path, until: str, workers: int = 1) -> None:
    """A preparation in another process that is killed at the first file it opens once there is one of that name."""
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom ablate.data import build\n"
        "from ablate.data.tokens import prepare\nfrom ablate.data.request import Levels\n"
        "from ablate.run.corpus import Prepare\nfrom ablate.run.settings import Data\nbuild.WORTH_BYTES = 1\n"
        "def hook(event, _):\n"
        f"    if event == 'open' and any(Path({str(outputs)!r}).glob('data/*.part/work/{until}')):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.addaudithook(hook)\n"
        f"prepare({data!r}, Path({str(outputs)!r}), how=Levels(by=Prepare(part_mb=1, workers={workers})))"
    )
    # with its output read to the end: until those that it has started are gone, too
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL


MOMENTS = {
    "reading": (1, "asked/part-00001.npz"),
    "tokenising": (1, "told.train/00001.bin"),
    "tokenising in processes": (2, "asked.train/00001.bin"),
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_what_was_whole_when_it_was_killed_is_not_made_again(large, tmp_path, work, moment):
    workers, until = MOMENTS[moment]
    killed(small_data(large), tmp_path / "killed", until, workers)
    [left] = (tmp_path / "killed" / "data").glob("*.part/work")
    kinds = ("part-*.npz", "*.bin", "whole", "held.npy")
    before = {path.relative_to(left).as_posix(): path.stat().st_mtime_ns for kind in kinds for path in left.rglob(kind)}
    assert before
    corpus = prepare(small_data(large), tmp_path / "killed", how=Levels(by=Prepare(part_mb=1)))
    assert before.items() <= work.items()
    assert files_of(corpus) == files_of(prepare(small_data(large), tmp_path / "whole"))
    assert intact(corpus)
    assert not list(corpus.folder.parent.glob("*.part"))


@pytest.mark.parametrize("limit", [0, 700])
def test_reading_goes_on_behind_the_last_part(tmp_path, monkeypatch, limit):
    """Broken off after any number of documents, with repetitions, empty ones and those of others among them."""
    monkeypatch.setattr(documents, "BATCH", 7)
    texts = [f"text {number // 2 * (number % 7 > 0)}" * (number % 5) for number in range(200)]
    rows = [Document(text, f"source {number % 9}") for number, text in enumerate(texts)]
    given = list[int]()

    def source(stop: int) -> Iterator[Document]:
        for number, row in enumerate(rows):
            if number == stop:
                raise InterruptedError
            given.append(number)
            yield row

    def read(folder: Path, stop: int = -1) -> list[Document]:
        spool.fill(folder, source(stop), lambda document: document.source != "source 4", limit, 100)
        return [document for path in parts.paths_of(folder) for document in parts.read(path)]

    whole = read(tmp_path / "whole")
    kept = [row for row in cleaned(rows) if row.source != "source 4"]
    assert whole == list(capped(kept, limit))
    for stop in range(5, 180, 11):
        with contextlib.suppress(InterruptedError):
            read(tmp_path / str(stop), stop)
        assert read(tmp_path / str(stop)) == whole
    given.clear()
    assert read(tmp_path / "whole") == whole
    assert not given


def test_text_that_lies_in_the_held_out_text_of_any_domain_is_not_trained_on(tmp_path):
    """A held-out document of `one` stands in a document of `two`, and another in one of `one`, in capitals."""
    texts = {name: [long_text(f"{name} {number}") for number in range(40)] for name in ("one", "two")}
    data = small_data(tmp_path / "corpora", domains=["one", "two"], focus="one")
    for name, found in texts.items():
        write_jsonl(tmp_path / "corpora" / name / "x.jsonl", [{"text": t, "source": t[:9]} for t in found])
    splits = splits_of(data)
    held = [document.text for document in splits["one"]["validation"]]
    trained = {name: found["train"] for name, found in splits.items()}
    first, second, *_ = (document.text for document in trained["two"])
    copies = {"two": f"{first} again\n{held[0]}\n{second} again", "one": held[1].upper()}
    for name, copy in copies.items():
        row = {"text": copy, "source": trained[name][0].source}
        path = tmp_path / "corpora" / name / "x.jsonl"
        path.write_text(path.read_text() + json.dumps(row) + "\n")
    corpus = prepare(data, tmp_path)
    text = " ".join(text for name in texts for found in texts_of(corpus, name, "train") for text in found).lower()
    assert held[0].lower() not in text
    assert held[1].lower() not in text
    assert f"{second} again" in text
    counts = {name: corpus.manifest["domains"][name]["train"] for name in texts}
    assert [counts[name]["copies"] for name in texts] == [1, 1]
    assert counts["one"]["copied_bytes"] == len(held[1])
    assert counts["two"]["copied_bytes"] >= len(held[0])


def long_text(name: str) -> str:
    """Two hundred words that no other name has in this order."""
    rng = random.Random(name)
    return " ".join(rng.choice(["river", "stone", "ladder", "winter", "paper", "engine"]) for _ in range(200))
