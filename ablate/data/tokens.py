"""Tokens: what the text becomes, once, before any training.

    outputs/data/installed-2048-3f9c01ab/
        manifest.json               what was asked, what came of it, size and hash of every file
        tokenizer.json              trained on the train split, or the one given
        bytes_per_token.npy         int32[vocabulary]
        code.train.bin              one flat array of tokens per domain and split: the documents one
        code.validation.bin         after the other, each closed by the end token; memory-mapped
        sources.json                the source of every held-out document, domain by domain

The folder is named after what was asked for (settings, signature of the text, tokenizer file), so a
second run finds it. It is written under another name and renamed when whole: a folder that exists is
complete, whatever was killed. The `fingerprint` says what is *inside* (tokenizer and shards, no path,
no date, no name of a source): it is what identifies the data of a run, on any machine.
"""

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.data.documents import Split, capped, split
from ablate.data.shards import SPLITS, dtype_of, sha256_of, shard_name
from ablate.data.text import Source, domain_documents, open_source
from ablate.run.progress import Progress
from ablate.run.settings import Data, Settings, SettingsError, UserError

# Imports inside functions below: a run whose data is ready (every run but the first) needs none of them.
if TYPE_CHECKING:
    from tokenizers import Tokenizer

RECIPE = 1  # raise it when equal text and settings give other files
SAMPLE_BYTES = 2_000_000  # per domain, to train the tokenizer on: all domains count alike
SOURCES = "sources.json"  # `data.heldout` reads it; names of sources are not content
UNKEYED = (
    "root",
    "tokenizer",
    "focus",
    "span",
    "level",
    "columns",
    "held_out",
)  # settings that do not change what is written, or not by their name


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Prepared text: a tokenizer and, per domain and split, one stream of tokens."""

    folder: Path
    manifest: dict[str, Any] = dataclasses.field(compare=False, repr=False)

    @property
    def fingerprint(self) -> str:
        """sha256 hex of the content: tokenizer, byte table, every domain's name and shards."""
        return self.manifest["fingerprint"]

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(self.manifest["request"]["settings"]["domains"])

    @property
    def vocabulary(self) -> int:
        """Size of the vocabulary that was asked for; token ids are below it, not all need be in use."""
        return self.manifest["request"]["settings"]["vocabulary"]

    @property
    def end(self) -> int:
        """Id of the token that ends every document."""
        return self.manifest["end"]

    def tokens(self, domain: str, split: str) -> np.memmap:
        """The stream of a domain, read from disk as it is used. uint16, or uint32 for large vocabularies."""
        return np.memmap(self.folder / shard_name(domain, split), dtype=dtype_of(self.vocabulary), mode="r")

    @property
    def of_tokenizer(self) -> str:
        """sha256 hex of the tokenizer."""
        return self.manifest["files"]["tokenizer.json"]["sha256"]

    def of_text(self, domain: str) -> str:
        """sha256 hex of the stream that a domain is trained on."""
        return self.manifest["files"][shard_name(domain, "train")]["sha256"]

    def num_tokens(self, domain: str, split: str) -> int:
        return self.manifest["domains"][domain][split]["tokens"]

    def total(self, domain: str, what: str) -> int:
        """Number of `documents`, `sources`, `bytes` of text or `tokens` in both splits together."""
        return sum(self.manifest["domains"][domain][split][what] for split in SPLITS)

    @cached_property
    def bytes_per_token(self) -> np.ndarray:
        """int32[vocabulary]: UTF-8 bytes of text that a token stands for; 0 for special tokens."""
        return np.load(self.folder / "bytes_per_token.npy")

    def tokenizer(self) -> "Tokenizer":
        from ablate.data import tokenizer

        return tokenizer.load((self.folder / "tokenizer.json").read_text(encoding="utf-8"))


NO_TEXT = Corpus(Path(), {"fingerprint": ""})  # of a plan whose text nobody has looked at


def num_spans(num_tokens: int, span: int) -> int:
    """Spans in a stream: each has `span` inputs, and the token after each input as its target."""
    return max(num_tokens - 1, 0) // span


def prepare(data: Data, outputs: Path, progress: bool = False) -> Corpus:
    """The corpus of these settings from `outputs/data`, made there first when it is missing.

    Any number of processes may ask at once: one works, the others wait. Raises UserError for text that
    cannot be read, a domain too small for one span in each split, damaged files and full disks.
    """
    source, request = _asked(data)
    folder = _folder(data, outputs, request)
    if not folder.exists():
        _build_once(folder, data, source, request, progress)
    corpus = opened(folder)
    if corpus.manifest["request"] != request:
        raise _damaged(folder, f"manifest.json differs in {_first_difference(corpus.manifest['request'], request)}")
    _check_spans(corpus, data.span)
    return corpus


def prepare_for(settings: Settings) -> Corpus:
    """The corpus of a run, as `prepare` makes it, with enough text held out for the run's evaluations."""
    corpus = prepare(settings.data, Path(settings.where.outputs), progress=settings.where.progress)
    check_held_out(corpus, settings.data.span, settings.evaluation.spans)
    return corpus


def cut_by(data: Data, tokenizer: Path, whose: str, outputs: Path) -> Data:
    """The settings under which text is cut by this tokenizer. Raises SettingsError if they name another one."""
    wanted = sha256_of(tokenizer)
    if data.tokenizer:
        if _tokenizer_digest(data.tokenizer) != wanted:
            raise SettingsError(f"data.tokenizer={data.tokenizer}: must be empty or {tokenizer}, that of {whose}")
        return data
    folder = _folder(data, outputs, _asked(data)[1])  # text of the parent itself is prepared, and cut so already
    same = folder.exists() and sha256_of(folder / "tokenizer.json") == wanted
    return data if same else dataclasses.replace(data, tokenizer=str(tokenizer.resolve()))


def opened(folder: Path) -> Corpus:
    """The corpus that was prepared in a folder. Looks at the sizes of its files, not at their contents.

    Raises UserError when a file is missing or has another size than when it was written.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        for name, written in manifest["files"].items():
            size = (folder / name).stat().st_size
            if size != written["size"]:
                raise _damaged(folder, f"{name} has {size} bytes, not {written['size']}")
    except OSError as error:
        raise _damaged(folder, f"{Path(error.filename).name}: {error.strerror}") from None
    except (json.JSONDecodeError, KeyError) as error:
        raise _damaged(folder, f"manifest.json cannot be read ({error})") from None
    return Corpus(folder, manifest)


def prepared(outputs: Path, fingerprint: str) -> Corpus:
    """The corpus of that content in `outputs/data`, whatever it was called when it was asked for; nothing is made."""
    for path in sorted((Path(outputs) / "data").glob("*/manifest.json")):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["fingerprint"] == fingerprint:
            return opened(path.parent)
    raise UserError(
        f"{Path(outputs) / 'data'}: has no text of fingerprint {fingerprint}; ablate.prepare makes it again"
    )


def check_held_out(corpus: Corpus, span: int, wanted: int) -> None:
    """Raise UserError naming the first domain whose validation text has fewer than `wanted` spans."""
    for domain in corpus.domains:
        present = num_spans(corpus.num_tokens(domain, "validation"), span)
        if present < wanted:
            raise UserError(
                f"evaluation.spans={wanted}: domain {domain!r} has only {present} spans of {span} tokens held out; "
                "lower it, or raise data.validation or data.domain_bytes"
            )


def held_out(corpus: Corpus, domain: str, span: int, wanted: int) -> np.ndarray:
    """The windows of a domain that runs are scored on, evenly spaced over its held-out text: shape (wanted, span + 1).

    They are cut by tokens, so that another tokenizer or another span takes other text.
    """
    present = num_spans(corpus.num_tokens(domain, "validation"), span)
    starts = np.arange(wanted) * present // wanted * span
    return corpus.tokens(domain, "validation")[starts[:, None] + np.arange(span + 1)]


def _folder(data: Data, outputs: Path, request: dict[str, Any]) -> Path:
    return Path(outputs) / "data" / f"{data.source}-{data.vocabulary}-{_digest(request)[:8]}"


def _asked(data: Data) -> tuple[Source, dict[str, Any]]:
    """The source of the text, and everything that decides what will be written, as plain JSON data."""
    settings = {key: value for key, value in dataclasses.asdict(data).items() if key not in UNKEYED}
    if not data.sources:  # as before there were any, so that text prepared then is found
        del settings["sources"]
    given = _tokenizer_digest(data.tokenizer) if data.tokenizer else ""
    try:
        source = open_source(data)
        return source, {"recipe": RECIPE, "settings": settings, "signature": source.signature(), "tokenizer": given}
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from None


def _tokenizer_digest(path: str) -> str:
    try:
        return sha256_of(Path(path))
    except OSError as error:
        raise UserError(f"data.tokenizer={path}: {error.strerror}") from None


def _build_once(folder: Path, data: Data, source: Source, request: dict, progress: bool) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder, progress):
            if not folder.exists():
                _build(folder, data, source, request, progress)
    except OSError as error:
        raise UserError(f"cannot prepare data in {folder}: {error.strerror or error}") from None


@contextmanager
def _alone(folder: Path, progress: bool) -> Iterator[None]:
    """Hold the lock of a folder. The system lets go of it when its holder dies."""
    from filelock import FileLock, Timeout

    lock = FileLock(f"{folder}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if progress:
            print(f"waiting for another run that prepares {folder}", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _build(folder: Path, data: Data, source: Source, request: dict, progress: bool) -> None:
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)  # of a run that was killed; the lock is ours
    try:
        part.mkdir()
        with Progress(2 * len(data.domains) + 1, progress, "part") as bar:
            _fill(part, data, source, request, bar.begin)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _fill(part: Path, data: Data, source: Source, request: dict, say: Callable[[str], None]) -> None:
    """Write all files of a corpus. The text is held in memory while this goes on."""
    from ablate.data import shards, tokenizer

    # Said aloud, the library does not warn at every later fork; the children never tokenise.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    splits = {}
    for domain in data.domains:
        say(f"reading {domain}")
        documents = capped(domain_documents(source, data, domain), data.domain_bytes)
        splits[domain] = split(domain, list(documents), data.validation)
    say("loading the tokenizer" if data.tokenizer else "training the tokenizer")
    text = tokenizer.read(Path(data.tokenizer), data.vocabulary) if data.tokenizer else _trained(data, splits)
    encoder = shards.Encoder(tokenizer.load(text), data.vocabulary)
    shards.write(part / "tokenizer.json", text.encode())
    shards.write_table(part / "bytes_per_token.npy", encoder.bytes_per_token)
    domains = {}
    for domain in data.domains:
        say(f"tokenising {domain}")
        domains[domain] = shards.write_domain(part, domain, splits[domain], encoder)
    sources = {domain: [document.source for document in splits[domain].validation] for domain in data.domains}
    shards.write(part / SOURCES, json.dumps(sources).encode())
    _write_manifest(part, {"request": request, "end": encoder.end, "domains": domains})


def _trained(data: Data, splits: dict[str, Split]) -> str:
    """The text of a tokenizer trained on equal parts of every domain's train split."""
    from ablate.data import tokenizer

    # Sorted, so that domains listed in another order give the same tokenizer.
    samples = [capped(splits[domain].train, SAMPLE_BYTES) for domain in sorted(data.domains)]
    return tokenizer.train((document.text for sample in samples for document in sample), data.vocabulary).to_str()


def _write_manifest(part: Path, results: dict[str, Any]) -> None:
    from ablate.data import shards

    paths = sorted(part.iterdir())
    files = {path.name: {"size": path.stat().st_size, "sha256": sha256_of(path)} for path in paths}
    # Of content alone: the request holds paths' mtimes, and domains may be listed in any order.
    contents = {name: written["sha256"] for name, written in files.items() if name != SOURCES}
    manifest = {"fingerprint": _digest(contents), **results, "files": files}
    shards.write(part / "manifest.json", json.dumps(manifest, indent=1).encode())


def _first_difference(found: Any, wanted: Any, key: str = "") -> str:
    """Where two plain values differ, such as "settings.vocabulary: 4096 instead of 2048"."""
    if not isinstance(found, dict) or not isinstance(wanted, dict):
        return f"{key}: {found} instead of {wanted}"
    name = next(name for name in [*wanted, *found] if found.get(name) != wanted.get(name))
    return _first_difference(found.get(name), wanted.get(name), f"{key}.{name}" if key else name)


def _damaged(folder: Path, what: str) -> UserError:
    return UserError(f"{folder}: {what}; delete this folder, and it will be prepared again")


def _check_spans(corpus: Corpus, span: int) -> None:
    for domain in corpus.domains:
        for part in SPLITS:
            count = corpus.num_tokens(domain, part)
            if num_spans(count, span) == 0:
                raise UserError(
                    f"domain {domain}: {part} has {count} tokens, fewer than data.span={span} and one more: "
                    "more text (data.domain_bytes), a larger share (data.validation) or a shorter span is needed"
                )


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
