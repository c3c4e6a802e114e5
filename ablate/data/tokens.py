"""Tokens: what the text becomes, once, before any training.

    outputs/data/installed-2048-3f9c01ab/
        manifest.json               what was asked, what came of it, size and hash of every file
        tokenizer.json              trained on the train split, or the one given
        bytes_per_token.npy         int32[vocabulary]
        code.train.bin              one flat array of tokens per domain and split: the documents one
        code.validation.bin         after the other, each closed by the end token; memory-mapped
        chat.train.marks            beside it where not all tokens count: a byte a token
        sources.json                the source of every held-out document, domain by domain

The folder is named after what was asked for (settings, signature of the text, tokenizer file), so a
second run finds it. It is written under another name and renamed when whole: a folder that exists is
complete, whatever was killed. The `fingerprint` says what is *inside* (tokenizer and shards, no path,
no date, no name of a source): it is what identifies the data of a run, on any machine.
"""

import dataclasses
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.data import mapped, proof
from ablate.data.request import Levels, asked, digest, first_difference, folder_of, tokenizer_digest
from ablate.data.shards import SOURCES, SPLITS, dtype_of, marks_name, shard_name
from ablate.data.windows import IGNORED, Stream, Windows
from ablate.run import shapes
from ablate.run.failures import first_line
from ablate.run.files import read_json
from ablate.run.settings import Data, Settings, SettingsError, UserError
from ablate.run.whole import CHANGED, Damaged, set_aside, sha256_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer


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
    def pairs(self) -> int:
        """Of text in pairs, the tokens of one, which is a row; else 0."""
        return self.manifest["request"].get("pairs", 0)

    @property
    def end(self) -> int:
        """Id of the token that ends every document."""
        return self.manifest["end"]

    @property
    def notes(self) -> list[str]:
        """What else there is to know of shards that are not ours: where they lie, and how they were verified."""
        return self.manifest.get("notes", [])

    def tokens(self, domain: str, split: str) -> np.ndarray:
        """The stream of a domain, read from disk as it is used. uint16, or uint32 for large vocabularies.

        Of shards that are not ours, whole numbers of any type, and if they are several a `mapped.Stream`, sliced alike.
        """
        path = self.folder / self._file(domain, split)
        if self.is_mapped(domain, split):
            return mapped.opened(path, self.manifest["maps"][path.name])
        return np.memmap(path, dtype=dtype_of(self.vocabulary), mode="r")

    def marks(self, domain: str, split: str) -> np.ndarray | None:
        """uint8, 1 for every token of the stream that counts; None: all do."""
        name = marks_name(domain, split)
        return np.memmap(self.folder / name, dtype=np.uint8, mode="r") if name in self.manifest["files"] else None

    def is_mapped(self, domain: str, split: str) -> bool:
        """Whether the stream lies in shards that are not ours, and is read from there."""
        return mapped.map_name(domain, split) in self.manifest.get("maps", {})

    def _file(self, domain: str, split: str) -> str:
        """The stream, or the map of it."""
        return (mapped.map_name if self.is_mapped(domain, split) else shard_name)(domain, split)

    @property
    def of_tokenizer(self) -> str:
        """sha256 hex of the tokenizer."""
        return self.manifest["files"]["tokenizer.json"]["sha256"]

    def of_text(self, domain: str) -> str:
        """sha256 hex of the stream that a domain is trained on, and of what counts of it."""
        names = [self._file(domain, "train"), marks_name(domain, "train")]
        found = [files[name]["sha256"] for name in names if name in (files := self.manifest["files"])]
        return found[0] if len(found) == 1 else digest(found)

    def counted(self, domain: str, split: str) -> int:
        """How many of its tokens count."""
        return self.manifest["domains"][domain][split].get("counted", self.num_tokens(domain, split))

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

        path = self.folder / "tokenizer.json"
        try:
            return tokenizer.load(path.read_text(encoding="utf-8"))
        except Exception as error:  # the library raises nothing more specific
            raise _damaged(self.folder, f"{path.name} cannot be read ({first_line(error)})") from None


NO_TEXT = Corpus(Path(), {"fingerprint": ""})  # of a plan whose text nobody has looked at


def num_spans(num_tokens: int, span: int) -> int:
    """Spans in a stream: each has `span` inputs, and the token after each input as its target."""
    return max(num_tokens - 1, 0) // span


def prepare(data: Data, outputs: Path, progress: bool = False, how: Levels = Levels()) -> Corpus:  # noqa: B008
    """The corpus of these settings from `outputs/data`, made there first when it is missing.

    Any number of processes may ask at once: one works, the others wait. Raises UserError for text that
    cannot be read, a domain too small for one span in each split, damaged files and full disks.
    """
    held_out = _held_out_of(data, outputs)
    source, request = asked(data, held_out.fingerprint if held_out else "")
    request |= how.asked(data, Path(outputs))
    folder = folder_of(data, outputs, request)
    if folder.exists() and (what := _wrong(folder, request)):
        set_aside(folder, what, "prepared again")
    if not folder.exists():
        from ablate.data.build import Build  # with tokenizers, of which every run but the first needs none

        Build(folder, data, source, request, held_out, how, progress)()
    corpus = opened(folder)
    _check_spans(corpus, data.span)
    return corpus


def _wrong(folder: Path, request: dict[str, Any]) -> str | None:
    """What is wrong with prepared text that was asked for so."""
    try:
        corpus = opened(folder)
    except Damaged as error:
        return error.what
    if corpus.manifest["request"] != request:
        return f"manifest.json differs in {first_difference(corpus.manifest['request'], request)}"
    return None


def prepare_for(settings: Settings, reader_of: Callable[[str], Any] | None = None) -> Corpus:
    """The corpus of a run, as `prepare` makes it, with enough text held out for the run's evaluations.

    `reader_of`: what scores text under one of our runs, for those who have that (`data.request.Levels`).
    """
    where, how = settings.where, Levels(settings.corpus, settings.prepare, reader_of)
    corpus = prepare(settings.data, Path(where.outputs), where.progress, how)
    check_held_out(corpus, settings.data.span, settings.evaluation.spans, settings.evaluation.part)
    return corpus


def within_reach(settings: Settings) -> bool:
    """Whether the text of a run is prepared, or can be without a network."""
    data, outputs = settings.data, Path(settings.where.outputs)
    if data.source != "hub":
        return True
    held_out = _held_out_of(data, outputs)
    request = asked(data, held_out.fingerprint if held_out else "")[1]
    request |= Levels(settings.corpus, settings.prepare).asked(data, outputs)
    return folder_of(data, outputs, request).exists()


def cut_by(data: Data, tokenizer: Path, whose: str, outputs: Path) -> Data:
    """The settings under which text is cut by this tokenizer. Raises SettingsError if they name another one."""
    wanted = sha256_of(tokenizer)
    if data.tokenizer:
        if tokenizer_digest(data.tokenizer) != wanted:
            raise SettingsError(f"data.tokenizer={data.tokenizer}: must be empty or {tokenizer}, that of {whose}")
        return data
    held_out = _held_out_of(data, outputs)
    request = asked(data, held_out.fingerprint if held_out else "")[1]
    folder = folder_of(data, outputs, request)  # text of the parent itself is prepared, and cut so already
    same = folder.exists() and sha256_of(folder / "tokenizer.json") == wanted
    return data if same else dataclasses.replace(data, tokenizer=str(tokenizer.resolve()))


def opened(folder: Path) -> Corpus:
    """The corpus that was prepared in a folder. Raises Damaged when a file is missing or not what was written, and
    UserError when one is of the shards that it was prepared of: these nobody can make again."""
    try:
        manifest = read_json(folder / "manifest.json")
        told = manifest.pop("sha256", None)  # there is none in text that was prepared before it was written
        same = told in (None, digest(manifest))
        if same:
            shapes.fit(shapes.Prepared, manifest, folder / "manifest.json")
        found = proof.wrong(folder, manifest["files"]) if same else f"manifest.json {CHANGED}"
        outside = proof.wrong(folder, mapped.files_of(folder, manifest.get("maps", {}))) if not found else None
    except OSError as error:
        raise _damaged(folder, f"{error.filename.removeprefix(f'{folder}/')}: {error.strerror}") from None
    except Damaged as error:
        raise _damaged(folder, f"manifest.json: {error.what}") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(folder, f"manifest.json cannot be read ({first_line(error)})") from None
    if found:
        raise _damaged(folder, found)
    if outside:
        raise UserError(f"{folder}: {outside}; delete this folder, and it will be prepared again")
    return Corpus(folder, manifest)


def prepared(outputs: Path, fingerprint: str) -> Corpus:
    """The corpus of that content in `outputs/data`, whatever it was called when it was asked for; nothing is made.

    Of several the first that is whole: shards may have moved, and been prepared again from where they lie now.
    """
    damaged = None
    for path in sorted((Path(outputs) / "data").glob("[!.]*/manifest.json")):
        # Looked for, not read as JSON: what is wrong with another folder is no matter here
        if path.is_file() and f'"fingerprint": "{fingerprint}"' in path.read_text(encoding="utf-8", errors="replace"):
            try:
                return opened(path.parent)
            except UserError as error:
                damaged = damaged or error
    raise damaged or UserError(
        f"{Path(outputs) / 'data'}: has no text of fingerprint {fingerprint}; ablate.prepare makes it again"
    )


def num_parts(corpus: Corpus, domain: str, span: int, wanted: int) -> int:
    """Sets of `wanted` validation rows that a domain has text for."""
    return num_spans(corpus.num_tokens(domain, "validation"), span) // wanted


def check_held_out(corpus: Corpus, span: int, wanted: int, part: int = 0) -> None:
    """Raise UserError naming the first domain whose validation text has fewer than `wanted` spans, or no such part, or
    counts nowhere in them."""
    for domain in corpus.domains:
        present = num_spans(corpus.num_tokens(domain, "validation"), span)
        if present < wanted:
            raise UserError(
                f"evaluation.spans={wanted}: domain {domain!r} has only {present} spans of {span} tokens held out; "
                "lower it, or raise data.validation or data.domain_bytes"
            )
        if part >= (parts := num_parts(corpus, domain, span, wanted)):
            raise UserError(
                f"evaluation.part={part}: must be below {parts}, the sets of {wanted} rows that domain {domain!r} has "
                "text for; lower evaluation.spans, or raise data.validation or data.domain_bytes"
            )
        if corpus.marks(domain, "validation") is None:
            continue
        targets_RL = held_out(corpus, domain, span, wanted, part).targets_RL
        if not corpus.bytes_per_token[targets_RL[targets_RL != IGNORED]].any():
            raise UserError(
                f"evaluation.spans={wanted}: in so many spans of {span} tokens of domain {domain!r} nothing counts; "
                "raise it, or data.span"
            )


def held_out(corpus: Corpus, domain: str, span: int, wanted: int, part: int = 0) -> Windows:
    """The windows of a domain that runs are scored on, evenly spaced over its held-out text, each of `span` + 1 tokens.

    The tokens that count of them do so in every run, whatever its objective. They are cut by tokens, so that another
    tokenizer or another span takes other text. Each part begins a span after the one before, and none meets another.
    """
    present = num_spans(corpus.num_tokens(domain, "validation"), span)
    starts = np.arange(wanted) * present // wanted * span
    return Windows.of(
        [Stream.of(corpus, domain, "validation")], np.zeros(wanted, dtype=np.int64), starts + part * span, span
    )


def _held_out_of(data: Data, outputs: Path) -> Corpus | None:
    """The corpus that `data.held_out` names. Raises UserError if it is not there or does not fit."""
    if not data.held_out:
        return None
    folder, what = Path(data.held_out), f"data.held_out={data.held_out}"
    corpus = opened(folder) if folder.is_dir() else prepared(outputs, data.held_out)
    if missing := [domain for domain in data.domains if domain not in corpus.domains]:
        raise SettingsError(f"{what}: has held-out text of {', '.join(corpus.domains)}, none of {missing[0]}")
    if corpus.pairs != (data.span if data.pairs else 0):
        raise SettingsError(f"{what}: is text in pairs of {corpus.pairs} tokens (0: in none); it must fit this text")
    if data.vocabulary != corpus.vocabulary:
        raise SettingsError(f"data.vocabulary={data.vocabulary}: must be {corpus.vocabulary}, that of {what}")
    if data.tokenizer and tokenizer_digest(data.tokenizer) != corpus.of_tokenizer:
        raise SettingsError(f"data.tokenizer={data.tokenizer}: must be empty with {what}, which has a tokenizer")
    if not (corpus.folder / SOURCES).exists():
        raise UserError(f"{what}: was prepared when sources of held-out text were not kept; prepare it again")
    return corpus


def _damaged(folder: Path, what: str) -> Damaged:
    return Damaged(folder, what, "; ablate prepare and train prepare it again")


def _check_spans(corpus: Corpus, span: int) -> None:
    for domain in corpus.domains:
        for part in SPLITS:
            count = corpus.num_tokens(domain, part)
            if num_spans(count, span) == 0:
                copied = corpus.manifest["domains"][domain][part].get("copied_bytes", 0)
                gone = f", once {copied:,} bytes that repeat held-out text are cut out" if copied else ""
                raise UserError(
                    f"domain {domain}: {part} has {count} tokens, fewer than data.span={span} and one more{gone}: "
                    "more text (data.domain_bytes), a larger share (data.validation) or a shorter span is needed"
                )
