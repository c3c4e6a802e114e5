"""Text to tokens: CPU time beside Hugging Face's tokenizers and datatrove's DocumentTokenizer, and memory of it all.

    python -m bench.tokens speed 2048 5        MB per CPU second of each, round by round, of one thread
    python -m bench.tokens processes 3         wall seconds of one process and of two
    python -m bench.tokens make FOLDER 500     so many MB of text; the next prepares them
    python -m bench.tokens memory FOLDER       peak MB of a preparation, of all its processes; FOLDER 2: at level 2
    python -m bench.tokens again FOLDER        seconds of the command that finds what is prepared

All three take the same documents and the same tokenizer.json; that ours and Hugging Face's ids are equal is checked.
The text is that of ../shared/corpora, or the installed one where that is not there. For memory, its paragraphs are
drawn anew into as many documents as it takes.
"""

import contextlib
import dataclasses
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from ablate.corpus import parts
from ablate.corpus.copies import Copies
from ablate.corpus.document import Document
from ablate.data import text, tokenizer
from ablate.data.cutting import BATCH_BYTES, Cutting, Task
from ablate.data.documents import batches, cleaned
from ablate.data.encoder import Encoder
from ablate.data.request import Levels
from ablate.data.shards import write
from ablate.data.spool import Portion
from ablate.data.tokens import prepare
from ablate.run.corpus import Prepare
from ablate.run.processes import spread
from ablate.run.settings import Data
from bench.rounds import ROOT, Row, ratios, report, run

CORPORA = ROOT.parent / "shared" / "corpora"
DOMAINS = {"folder": ["english", "european", "code", "math", "asian"], "installed": ["general", "code", "science"]}
VOCABULARIES, MB = (2048, 32_000), 16
SIZES = (500, 1000, 2000)  # MB of text
ROUNDS = 5


def tokens(quick: bool) -> list[Row]:
    """MB per CPU second of text to tokens, ours over others'; two processes; memory of preparing large text"""
    rows, rounds = [], 1 if quick else ROUNDS
    for vocabulary in VOCABULARIES:
        found = report([sys.executable, "-m", "bench.tokens", "speed", str(vocabulary), str(rounds)])
        case = f"vocabulary {vocabulary:,}"
        rows += [Row(case, f"{side}, MB/s", values) for side, values in found.items()]
        rows.append(Row(case, "ours / Hugging Face", ratios(found["ours"], found["hf"]), 4))
        rows.append(Row(case, "ours / datatrove", ratios(found["ours"], found["datatrove"]), 5.5))
    found = report([sys.executable, "-m", "bench.tokens", "processes", str(rounds)])
    rows += [Row("processes", f"{side}, s", values) for side, values in found.items()]
    rows.append(Row("processes", "one / two", ratios(found["one"], found["two"]), 1.8))
    peaks = {}
    for size in SIZES[:1] if quick else SIZES:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, "-m", "bench.tokens", "make", folder, str(size)], check=True)
            found = report([sys.executable, "-m", "bench.tokens", "memory", folder])
            ruled = report([sys.executable, "-m", "bench.tokens", "memory", folder, "2"])
            again = report([sys.executable, "-m", "bench.tokens", "again", folder])
        peaks[size] = found["peak"]
        rows.append(Row(f"{size} MB of text", "peak at level 2, MB", [ruled["peak"]], 1200, "at most"))
        rows.append(Row(f"{size} MB of text", "the same command again, s", [again["seconds"]], 1, "at most"))
        rows.append(Row(f"{size} MB of text", "peak of all processes, MB", [found["peak"]], 600, "at most"))
        rows.append(Row(f"{size} MB of text", "wall, s", [found["seconds"]]))
    rows.append(
        Row("all sizes", "largest peak / smallest", [max(peaks.values()) / min(peaks.values())], 1.1, "at most")
    )
    return rows


def some(size: int) -> list[Document]:
    """Documents of all domains, `size` MB together, as they are prepared."""
    source = "folder" if CORPORA.is_dir() else "installed"
    data = Data(source=source, root=str(CORPORA), domains=DOMAINS[source], domain_bytes=0)
    opened, found = text.open_source(data), list[Document]()
    for domain in data.domains:
        left = size * 1_000_000 // len(data.domains)
        for document in cleaned(opened.documents(domain)):
            found.append(document)
            left -= document.bytes
            if left <= 0:
                break
    return found


def speed(vocabulary: int, rounds: int) -> dict[str, list[float]]:
    documents = some(MB)
    size = sum(document.bytes for document in documents) / 1e6
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trained = tokenizer.train((document.text for document in documents), vocabulary)
        trained.save(str(folder / "tokenizer.json"))
        plain = tokenizer.load(trained.to_str())
        encoder, step = Encoder(plain, vocabulary), datatrove(folder)
        sides = {
            "ours": lambda: size / seconds(lambda: ours(encoder, documents, folder / "ours.bin")),
            "hf": lambda: size / seconds(lambda: hugging_face(plain, documents, folder / "hf.bin")),
            "datatrove": lambda: size / seconds(lambda: step(documents)),
        }
        step(documents[:1])  # it loads its tokenizer when it meets text
        found = run(sides, rounds)
        assert (folder / "ours.bin").read_bytes() == (folder / "hf.bin").read_bytes()
        return found


def ours(encoder: Encoder, documents: list[Document], into: Path) -> None:
    arrays = (encoder.encode([document.text for document in batch]) for batch in batches(documents, BATCH_BYTES))
    write(into, (array.tobytes() for array in arrays))


def hugging_face(plain: Any, documents: list[Document], into: Path) -> None:
    def blocks() -> Iterator[bytes]:
        for batch in batches(documents, BATCH_BYTES):
            found = plain.encode_batch_fast([document.text for document in batch], add_special_tokens=False)
            yield np.array([i for ids in found for i in (*ids.ids, 0)], dtype=np.uint16).tobytes()

    write(into, blocks())


def datatrove(folder: Path) -> Callable[[Sequence[Any]], None]:
    from datatrove.data import Document as Theirs
    from datatrove.pipeline.tokens import DocumentTokenizer
    from datatrove.utils.logging import logger

    logger.remove()
    path, into = str(folder / "tokenizer.json"), folder / "datatrove"
    step = DocumentTokenizer(str(into), tokenizer_name_or_path=path, eos_token=tokenizer.END, shuffle_documents=False)

    def work(documents: Sequence[Any]) -> None:
        rows = (Theirs(text=document.text, id=str(number)) for number, document in enumerate(documents))
        step.run(rows, rank=0, world_size=1)  # pyrefly: ignore

    return work


def processes(rounds: int) -> dict[str, list[float]]:
    """Wall seconds of the same parts, cut into tokens by one process and by two."""
    documents = some(40)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trained = tokenizer.train((document.text for document in documents[::4]), VOCABULARIES[0])
        trained.save(str(folder / "tokenizer.json"))
        Copies.of(["nothing"]).save(folder / "copies.npz")
        for number, rows in enumerate(chunks(documents * 12, len(documents) // 4)):
            parts.write(folder / parts.name_of(number), rows)

        def wall(workers: int) -> float:
            shutil.rmtree(folder / "into", ignore_errors=True)
            (folder / "into").mkdir()
            paths = parts.paths_of(folder)
            tasks = [Task("all", "train", Portion(path), folder / "into" / f"{path.stem}.bin") for path in paths]
            cutting = Cutting(tasks, folder / "tokenizer.json", VOCABULARIES[0], folder / "copies.npz")
            begin = time.monotonic()
            list(spread(cutting, range(len(tasks)), workers))
            return time.monotonic() - begin

        return run({"one": lambda: wall(1), "two": lambda: wall(2)}, rounds)


def chunks(documents: list[Document], size: int) -> Iterator[list[Document]]:
    return (documents[begin : begin + size] for begin in range(0, len(documents), size))


def memory(folder: Path, level: int | None = None) -> dict[str, float]:
    """Peak MB of preparing what lies there, of all processes together, and its seconds."""
    data = Data(source="folder", root=str(folder / "text"), domains=["drawn"], focus="drawn", vocabulary=2048)
    data = dataclasses.replace(data, level={} if level is None else {"drawn": level})
    begin = time.monotonic()
    with Watch() as watch:
        corpus = prepare(data, folder, how=Levels(by=Prepare(workers=2)))
    megabytes = corpus.total("drawn", "bytes") / 1e6
    return {"peak": watch.peak, "alone": watch.alone, "seconds": time.monotonic() - begin, "megabytes": megabytes}


def again(folder: Path) -> dict[str, float]:
    """Wall seconds of the command, once what it asks for is there."""
    words = ["data=folder", f"data.root={folder / 'text'}", "data.domains=[drawn]", "data.focus=drawn"]
    command = [sys.executable, "-m", "ablate.prepare", *words, f"where.outputs={folder}"]
    for _ in range(2):
        begin = time.monotonic()
        subprocess.run(command, check=True, capture_output=True)
    return {"seconds": time.monotonic() - begin}


class Watch:
    """Looks at the memory of this process and all below it, ten times a second. In MB."""

    def __enter__(self) -> Self:
        self.peak = self.alone = 0.0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._look)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()

    def _look(self) -> None:
        while not self.ended.wait(0.1):
            found = [resident(pid) for pid in family(os.getpid())]
            self.peak = max(self.peak, sum(found))
            self.alone = max(self.alone, *found)


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found += [one for child in path.read_text().split() for one in family(int(child))]
    return found


def resident(pid: int) -> float:
    """Of a process; what it shares with others is divided among them."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1000
    return 0.0


def make(folder: Path, megabytes: int) -> None:
    """Files of so much text: passages of 20 words from real documents, in an order that was never there."""
    paragraphs = [part for document in some(MB) for part in document.text.split("\n\n") if len(part) > 40]
    rng, left = random.Random(0), megabytes * 1_000_000
    (folder / "text" / "drawn").mkdir(parents=True)
    for number in itertools.count():
        with (folder / "text" / "drawn" / f"{number}.jsonl").open("w", encoding="utf-8") as file:
            for row in range(5000):
                text = "\n\n".join(" ".join(drawn(rng, paragraphs)) for _ in range(rng.randint(1, 12)))
                file.write(json.dumps({"text": text, "source": f"{number}/{row // 3}"}, ensure_ascii=False) + "\n")
                left -= len(text.encode())
                if left <= 0:
                    return


def drawn(rng: random.Random, paragraphs: list[str]) -> Iterator[str]:
    for paragraph in rng.choices(paragraphs, k=rng.randint(2, 8)):
        words = paragraph.split(" ")
        words = words if len(words) * 20 > len(paragraph) else list(paragraph)  # Chinese has no spaces
        begin = rng.randrange(max(1, len(words) - 20))
        yield " ".join(words[begin : begin + 20])


def seconds(work: Callable[[], Any]) -> float:
    """CPU seconds of this process."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def main() -> None:
    what, *rest = sys.argv[1:]
    if what == "make":
        return make(Path(rest[0]), int(rest[1]))
    if what == "memory":
        return print(json.dumps(memory(Path(rest[0]), *map(int, rest[1:]))))
    if what == "again":
        return print(json.dumps(again(Path(rest[0]))))
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    print(json.dumps(speed(int(rest[0]), int(rest[1])) if what == "speed" else processes(int(rest[0]))))


if __name__ == "__main__":
    main()
