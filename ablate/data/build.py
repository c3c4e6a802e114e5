"""A corpus made, in passes over parts on disk; what is whole is found again when a preparation that was killed begins
anew.

    <corpus>.part/tokenizer.json, code.train.bin ...    as in the corpus
                  manifest.json                         the last of them
                  work/code/part-00000.parquet ...      the text of a domain (`spool`)
                       copies.npz                       what is held out, to be looked for in training text
                       code.train/00000.bin ...         tokens of a part (`cutting`)
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.corpus import chat, turns
from ablate.corpus.copies import Copies
from ablate.corpus.document import Document
from ablate.corpus.levels import level_of
from ablate.data import mapped, pairs, spool, tokenizer
from ablate.data.cutting import Cutting, Task, encoder_of, joined
from ablate.data.documents import batches, capped, keys
from ablate.data.given import tokenizer_file
from ablate.data.heldout import HeldOut
from ablate.data.levelled import Reached, reached
from ablate.data.pretokenized import Shards
from ablate.data.request import Levels, digest, roles
from ablate.data.shards import (
    MARKS,
    SOURCES,
    SPLITS,
    dtype_of,
    join,
    marks_name,
    shard_name,
    write,
    write_table,
)
from ablate.data.spool import Split
from ablate.data.text import Source, share_of
from ablate.run import whole
from ablate.run.files import appear
from ablate.run.processes import alone, cores, spread
from ablate.run.progress import Progress
from ablate.run.settings import Data, UserError
from ablate.run.whole import sha256_of

if TYPE_CHECKING:
    from ablate.data.tokens import Corpus

SAMPLE_BYTES = 2_000_000  # per domain, to train the tokenizer on: all domains count alike
WORTH_BYTES = 8_000_000  # of text, for which another process is started


@dataclasses.dataclass(frozen=True)
class Build:
    """What is to be made. `held_out`: the corpus whose tokenizer and held-out text are those of this one too."""

    folder: Path
    data: Data
    source: Source
    request: dict[str, Any]
    held_out: "Corpus | None"
    how: Levels
    shown: bool

    def __call__(self) -> None:
        """Make it, unless it is there. Any number of processes may want it at once: one works, the others wait."""
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with alone(self.folder, self.shown):
                if not self.folder.exists():
                    self.part.mkdir(exist_ok=True)
                    for path in self.part.glob(".*"):  # of a process that was killed
                        path.unlink()
                    self._make()
        except OSError as error:
            kept = "; what is done is kept, and the same command goes on from there" if self.part.exists() else ""
            raise UserError(f"cannot prepare data in {self.folder}: {error.strerror or error}{kept}") from None

    @property
    def part(self) -> Path:
        return self.folder.with_name(self.folder.name + ".part")

    @property
    def work(self) -> Path:
        return self.part / "work"

    def _make(self) -> None:
        try:
            if not (self.part / "manifest.json").exists():
                self._fill()
            shutil.rmtree(self.work, ignore_errors=True)
            appear(self.part, self.folder)
        except UserError:  # of text or settings that have to change, and then nothing of this is looked for again
            shutil.rmtree(self.part, ignore_errors=True)
            raise

    def _fill(self) -> None:
        """Write all files of a corpus."""
        if isinstance(self.source, Shards):
            return self._write_manifest(self.source.write(self.part, self.held_out, self.shown))
        # Said aloud, the library does not warn at every later fork; the children never tokenise.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        with Progress(len(self.data.domains) + 2, self.shown, "part") as bar:
            found = {}
            for domain in self.data.domains:
                bar.begin(f"reading {domain}")
                found[domain] = self._levelled(domain, self._read(domain))
            splits = {domain: one.split for domain, one in found.items()}
            bar.begin("looking at held-out text")
            self._save_copies(splits)
            bar.begin("loading the tokenizer" if self.data.tokenizer or self.held_out else "training the tokenizer")
            end = self._tokenizer(splits)
        tasks = self._tokenised(splits)
        self._conclude(tasks, splits, {"end": end} | self._of_levels(found) | self._other_parts())

    def _read(self, domain: str) -> Split:
        """The text of a domain on disk, without what is held out, and that."""
        folder = self.work / domain
        documents, mine = self.source.documents(self.data.names[domain]), share_of(self.data, domain)
        once = level_of(self.data, domain) is None
        spool.fill(folder, documents, mine, self.data.domain_bytes, self.how.by.part_mb * 1_000_000, once)
        if other := spool.other_parts(folder):
            print(f"domain {domain}: {other} documents are left out whose text stays with other parts", flush=True)
        if self.held_out is None:
            return spool.split(folder, domain, self.data.validation)
        write_table(folder / spool.HELD, self._held_sources(self.held_out, domain))
        return spool.without(folder, domain)

    def _held_sources(self, corpus: "Corpus", domain: str) -> np.ndarray:
        """Keys of the sources that another corpus holds out, those among them of which no document is left."""
        known = corpus.manifest.get("held sources", {}).get(domain)
        sources = json.loads((corpus.folder / SOURCES).read_text(encoding="utf-8"))[domain] if known is None else []
        return keys(sorted(set(sources))) if known is None else np.array(known, dtype=np.uint64)

    def _levelled(self, domain: str, split: Split) -> Reached:
        """The text of a domain at the level that it is to have."""
        if not self.how.applies(self.data, domain):
            return Reached(split)
        outputs = self.folder.parents[1]
        return reached(
            split, self.work / domain, level_of(self.data, domain), self.how.wanted(domain, outputs, self.shown)
        )

    def _other_parts(self) -> dict[str, Any]:
        """What the manifest says of documents that are left out although they have parts of their own."""
        found = {domain: spool.other_parts(self.work / domain) for domain in self.data.domains}
        return {"other parts": found} if any(found.values()) else {}

    def _of_levels(self, found: dict[str, Reached]) -> dict[str, Any]:
        """What the manifest says of levels: folders that text came through, and all sources that are held out."""
        made = {domain: one.names for domain, one in found.items() if self.how.applies(self.data, domain)}
        held = {domain: np.load(self.work / domain / spool.HELD).tolist() for domain in made}
        return {"corpus": made, "held sources": held} if made else {}

    @property
    def copies(self) -> Path:
        """What is held out, of all domains: it leaves the training text of all."""
        return self.work / "copies.npz"

    def _save_copies(self, splits: dict[str, Split]) -> None:
        if not self.copies.exists():
            unfinished = self.copies.with_suffix(".unfinished")
            Copies.of(self._held_out_texts(splits)).save(unfinished)
            appear(unfinished, self.copies)

    def _held_out_texts(self, splits: dict[str, Split]) -> Iterator[str]:
        if self.held_out:
            held_out = HeldOut(self.held_out)
            return (document.text for domain in self.held_out.domains for document in held_out.documents(domain))
        portions = (portion for split in splits.values() for portion in split.validation)
        return (document.text for portion in portions for document in portion.documents())

    def _tokenizer(self, splits: dict[str, Split]) -> int:
        """Write it and its table of bytes; the id of its end token."""
        paths = self.part / "tokenizer.json", self.part / "bytes_per_token.npy"
        if self.held_out:
            for path in paths:
                _copy(self.held_out.folder / path.name, path)
            return self.held_out.end
        if not paths[0].exists():
            given, vocabulary = self.data.tokenizer, self.data.vocabulary
            text = tokenizer.read(tokenizer_file(given), vocabulary) if given else self._trained(splits)
            write(paths[0], [text.encode()])
        encoder = encoder_of(paths[0], self.data.vocabulary)
        write_table(paths[1], encoder.bytes_per_token)
        return encoder.end

    def _trained(self, splits: dict[str, Split]) -> str:
        """The text of a tokenizer trained on equal parts of every domain's training text."""
        copies = Copies.load(self.copies)

        def sample(domain: str) -> Iterator[Document]:
            documents = (document for portion in splits[domain].train for document in portion.documents())
            return capped((left for batch in batches(documents) for left in copies.cut(batch).documents), SAMPLE_BYTES)

        # Sorted, so that domains listed in another order give the same tokenizer.
        texts = (document.text for domain in sorted(self.data.domains) for document in sample(domain))
        return tokenizer.train(texts, self.data.vocabulary).to_str()

    def _tokenised(self, splits: dict[str, Split]) -> list[Task]:
        tasks = [
            Task(domain, name, portion, self.work / f"{domain}.{name}" / f"{number:05d}.bin")
            for domain, split in splits.items()
            for name, portions in zip(SPLITS, split, strict=True)
            for number, portion in enumerate(portions)
        ]
        for task in tasks:
            task.into.parent.mkdir(exist_ok=True)
        path, vocabulary = self.part / "tokenizer.json", self.data.vocabulary
        pairs = self.data.span if self.data.pairs else 0
        cutting = Cutting(tasks, path, vocabulary, self.copies, roles(self.data), pairs)
        size = sum(spool.size_of(self.work / domain) for domain in splits)
        workers = min(self.how.by.workers or cores(), size // WORTH_BYTES)
        left = [number for number in range(len(tasks)) if not cutting.done(number)]
        with Progress(len(left), self.shown, "part") as bar:
            bar.tell("tokenising")
            for done, number in enumerate(spread(cutting, left, workers), start=1):
                bar.at(done, f"tokenised {tasks[number].domain}")
        return tasks

    def _conclude(self, tasks: list[Task], splits: dict[str, Split], told: dict[str, Any]) -> None:
        """Write the streams of tokens, the sources of held-out documents, and the manifest."""
        domains: dict[str, Any] = {}
        for domain in self.data.domains:
            domains[domain] = {name: self._joined(tasks, domain, name) for name in SPLITS}
        chats = any(split.get("chats") for found in domains.values() for split in found.values())
        if self.data.template and not chats:
            raise UserError(f"data.template={self.data.template}: does nothing: no domain has dialogues")
        if chats:
            write(self.part / chat.NAME, [chat.template(self.data.template).encode()])
        if self.held_out:
            _copy(self.held_out.folder / SOURCES, self.part / SOURCES)
        else:
            portions = {domain: split.validation for domain, split in splits.items()}
            sources = {domain: [d.source for p in held for d in p.documents()] for domain, held in portions.items()}
            write(self.part / SOURCES, [json.dumps(sources).encode()])
        self._write_manifest({**told, "domains": domains})

    def _joined(self, tasks: list[Task], domain: str, name: str) -> dict[str, int]:
        """Write a stream of tokens; how much text it is."""
        into = self.part / shard_name(domain, name)
        if self.held_out and name == "validation":
            _copy(self.held_out.folder / into.name, into)
            if self.held_out.marks(domain, name) is not None:
                _copy(self.held_out.folder / marks_name(domain, name), into.with_suffix(MARKS))
            return self.held_out.manifest["domains"][domain][name]
        item = dtype_of(self.data.vocabulary).itemsize if self.data.pairs else 0
        found = joined([task for task in tasks if (task.domain, task.split) == (domain, name)], into, item)
        if domain in self.data.counts and name == "train" and not found["parted"]:
            what = self.data.counts[domain]
            raise UserError(f"data.counts.{domain}={what}: does nothing: no document of this domain has parts")
        if text := pairs.told(domain, name, found["documents"], found["left_out"], self.data.span):
            print(text, flush=True)
        if found["tokens"] and not found["counted"]:
            what = self.data.counts.get(domain, turns.ANSWERS)
            raise UserError(
                f"data.counts.{domain}={what}: no token of its {name} text counts; no part is of such a role"
            )
        return found

    def _write_manifest(self, results: dict[str, Any]) -> None:
        paths = sorted(path for path in self.part.iterdir() if path.is_file())
        files = {path.name: {"size": path.stat().st_size, "sha256": sha256_of(path)} for path in paths}
        # Of content alone: the request holds paths' mtimes, and domains may be listed in any order.
        contents = {name: written["sha256"] for name, written in files.items() if name != SOURCES}
        manifest = {"fingerprint": digest(contents), "request": self.request, **results, "files": files}
        write(self.part / "manifest.json", [json.dumps(manifest | {"sha256": digest(manifest)}, indent=1).encode()])
        mapped_files = mapped.files_of(self.part, results.get("maps", {}))
        whole.remember(self.part, whole.states(self.part, files | mapped_files))


def _copy(path: Path, into: Path) -> None:
    join([path], into)
