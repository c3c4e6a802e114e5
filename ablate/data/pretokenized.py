"""The source `shards`: text that is tokens already, read from where it lies; nothing of 35 TB is copied.

    tokens/web/00000.ds ...      data.root, a folder a domain; files in the order of their names are one stream
    tokens/web/val.ds            held out: a file or a folder of files whose name has a word such as `validation`
    tokenizer.json               data.tokenizer, which the tokens were made with

What is held out is copied: of files named so, as much as any domain holds out; else documents drawn from all over the
domain (`data.drawn`), which its stream leaves out; or what `data.held_out` holds out. Sources of documents are not
known here: of a book that was cut into documents, some may be held out and some trained on.

All files are read once before anything is trained on them (`data.verified`); what repeats held-out tokens is cut out of
the streams of all domains, and counted. The tokenizer has to give the tokens of some held-out documents when it encodes
them again. The corpus keeps maps of its streams (`data.mapped`), and says in its notes what else there is to know.
"""

import json
import os
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.corpus.document import Document
from ablate.data import formats
from ablate.data.domain import Domain
from ablate.data.given import tokenizer_file
from ablate.data.shards import SOURCES, write, write_table
from ablate.data.verified import Look, Reader, Runs
from ablate.run.progress import Progress
from ablate.run.settings import Data, SettingsError, UserError

if TYPE_CHECKING:
    from ablate.data.encoder import Encoder
    from ablate.data.tokens import Corpus

HELD_OUT = {"val", "valid", "validation", "dev", "eval", "test", "heldout"}  # words of names
MB = 1_000_000


class Shards:
    """The source `shards`. Raises UserError for folders without shards, SettingsError for settings of other sources."""

    def __init__(self, data: Data) -> None:
        _check(data)
        self.data, self.root = data, Path(data.root)
        self.files = {domain: _files(self.root / name, domain) for domain, name in data.names.items()}

    def documents(self, name: str) -> Iterator[Document]:
        raise NotImplementedError  # there are tokens alone: `write`

    def signature(self) -> dict[str, Any]:
        """Where the files lie as well: they are read from there, in every run."""
        stats = {str(path.resolve()): path.stat() for files in self.files.values() for path in files}
        found: dict[str, Any] = {
            name: [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns] for name, stat in sorted(stats.items())
        }
        return {"verify": self.data.verify, **found}

    def write(self, part: Path, held_out: "Corpus | None", shown: bool) -> dict[str, Any]:
        """All files of a corpus but its manifest; returns what the manifest says of them.

        `held_out`: the corpus whose tokenizer and held-out text are those of this one too.
        """
        encoder = self._encoder(part, held_out)
        domains = [self._domain(part, name, encoder, held_out) for name in self.data.domains]
        for domain in domains:
            domain.check_tokenizer()
        runs = Runs.of([domain.held_out_ids() for domain in domains], encoder.bytes_per_token)
        looks = self._look(domains, runs, shown)
        numbers = {domain.name: domain.finish(looks, runs.size, self.data.verify == "sampled") for domain in domains}
        maps = {name: names for domain in domains for name, names in domain.maps.items()}
        how = "samples of its files: counts are estimates" if self.data.verify == "sampled" else "every byte"
        notes = [
            f"read from {self.root.resolve()}, verified by {how}",
            *(line for one in domains for line in one.notes),
        ]
        write(part / SOURCES, [json.dumps({name: [] for name in numbers}).encode()])  # shards say nothing of them
        return {"end": encoder.end, "domains": numbers, "maps": maps, "notes": notes}

    def _encoder(self, part: Path, held_out: "Corpus | None") -> "Encoder":
        from ablate.data import tokenizer  # with a library of which every run but the first needs nothing
        from ablate.data.encoder import Encoder

        path = held_out.folder / "tokenizer.json" if held_out else tokenizer_file(self.data.tokenizer)
        text = tokenizer.read(path, self.data.vocabulary)
        encoder = Encoder(tokenizer.load(text), self.data.vocabulary)
        write(part / "tokenizer.json", [text.encode()])
        write_table(part / "bytes_per_token.npy", encoder.bytes_per_token)
        return encoder

    def _domain(self, part: Path, name: str, encoder: "Encoder", held_out: "Corpus | None") -> Domain:
        folder, files = self.root / self.data.names[name], self.files[name]
        domain, used = Domain(part, name, encoder), set()
        for number, path in enumerate(file for file in files if formats.format_of(file)):
            for shard in formats.read(path, self.data.vocabulary, part / f"{name}.{number}.ids"):
                (domain.validation if _is_held_out(path.relative_to(folder)) else domain.train).append(shard)
                used |= {path, shard.path, *shard.beside}
        if not any(shard.size for shard in domain.train):
            held = ", ".join(shard.path.relative_to(folder).as_posix() for shard in domain.validation[:3])
            why = f": its files are held out, for their names say so ({held})" if held else ""
            raise UserError(f"domain {name}: {folder} has no tokens to train on{why}")
        if unread := [path.relative_to(folder).as_posix() for path in files if path not in used]:
            more = f" and {len(unread) - 5} more" if len(unread) > 5 else ""
            domain.notes.append(f"{name}: not read: {', '.join(unread[:5])}{more}")
        if held_out:
            domain.take(held_out)
        elif domain.validation:
            domain.copy()
        else:
            domain.draw(self.data.validation)
        return domain

    def _look(self, domains: Sequence[Domain], runs: Runs, shown: bool) -> dict[Path, Look]:
        shards = [shard for domain in domains for shard in (*domain.train, *domain.validation)]
        done, lock = 0, threading.Lock()

        def tell(size: int) -> None:
            nonlocal done
            with lock:
                done += size
                bar.at(done // MB, "verifying shards")

        reader = Reader(self.data.vocabulary, runs, self.data.verify == "sampled", tell)
        with Progress(max(sum(map(reader.size, shards)) // MB, 1), shown, "MB") as bar:
            return {shard.path: look for shard, look in zip(shards, reader.look(shards), strict=True)}


def _check(data: Data) -> None:
    if not data.root or not Path(data.root).is_dir():
        raise UserError(f"data.root={data.root}: must be a folder with one folder of shards for each domain")
    if not data.tokenizer and not data.held_out:
        raise SettingsError("data.tokenizer: must be the one that made the shards (or that of data.held_out)")
    for key, value in {"data.level": data.level, "data.domain_bytes": data.domain_bytes}.items():
        if value:
            raise SettingsError(f"{key}={value}: must not be set with data.source=shards, whose text is tokens already")
    if len(set(data.names.values())) < len(data.names):
        raise SettingsError("data.sources: must be different folders with data.source=shards, which are not shared out")


def _files(folder: Path, domain: str) -> list[Path]:
    """All files below a folder in the order of their names. Raises UserError unless some are of a known format."""

    def give_up(error: OSError) -> None:
        raise error

    try:
        found = [
            Path(at, name) for at, _, names in os.walk(folder, onerror=give_up, followlinks=True) for name in names
        ]
    except OSError as error:
        raise UserError(f"domain {domain}: {error.filename}: {error.strerror}") from None
    found = [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    if not any(formats.format_of(path) for path in found):
        raise UserError(f"domain {domain}: {folder} has no file that ends in {', '.join(formats.FORMATS)}")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _is_held_out(path: Path) -> bool:
    return bool(HELD_OUT & set(re.split("[^a-z]+", path.as_posix().lower())))
