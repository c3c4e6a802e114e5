"""What the start of a phase thinks of every pair: log p of both responses, worked out once and kept.

    outputs/reference/<key>/train.code.00000.npy    float64 (pairs, 2), PART pairs a file, in the order of the stream

The key is made of the start's weights, the text and the types, so that all arms and seeds that begin with the same
weights find the same numbers. Behind the numbers of a file stands the sha256 of its name and of them: one that is cut,
changed or of another start is not believed, and worked out again like one that is missing.
"""

import copy
import dataclasses
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ablate.data.batches import Batch, Beside
from ablate.data.shards import SPLITS, write
from ablate.data.tokens import Corpus, num_spans
from ablate.data.windows import Stream, Windows
from ablate.fit.objectives import NextToken
from ablate.model import budget
from ablate.model.language import LanguageModel
from ablate.run.identity import SEMANTICS, digest
from ablate.run.processes import alone
from ablate.run.settings import Settings, UserError
from ablate.run.start import weights_of

FOLDER = "reference"
PART = 2048  # pairs a file
ROWS_TOKENS = 8192  # read at once, whatever a run's own micro-batches are: the numbers are one for all


class _Part(NamedTuple):
    """Some pairs of a stream, and the file of what is thought of them."""

    path: Path
    domain: str
    split: str
    first: int
    last: int

    def written(self, table_P2: np.ndarray) -> None:
        buffer = io.BytesIO()
        np.save(buffer, table_P2)
        write(self.path, [buffer.getvalue(), self._seal(buffer.getvalue())])

    def read(self) -> np.ndarray | None:
        """What was written, if that is there."""
        try:
            whole = self.path.read_bytes()
        except OSError:
            return None
        size = hashlib.sha256().digest_size
        if self._seal(whole[:-size]) != whole[-size:]:
            return None
        return np.load(io.BytesIO(whole))

    def _seal(self, table: bytes) -> bytes:
        name = f"{self.path.parent.name}/{self.path.name} {self.first} {self.last} "
        return hashlib.sha256(name.encode() + table).digest()


class Reference(NamedTuple):
    """By domain, of the pairs of its training text and of its held-out text; `told`: for the record."""

    train: Beside
    held_out: Beside
    told: dict[str, Any]


def of(model: LanguageModel, settings: Settings, corpus: Corpus, device: torch.device) -> Reference:
    """Of a model with the weights of the start. Of several processes one works, the others wait."""
    parts = list(_parts(settings, corpus))
    folder = parts[0].path.parent
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder, False):
        if missing := [part for part in parts if part.read() is None]:
            reader = copy.deepcopy(model).to(device).eval()
            for part in missing:
                part.written(_read(reader, settings, corpus, part))
    return kept(settings, corpus)


def kept(settings: Settings, corpus: Corpus) -> Reference:
    """As `of`, once that was done. Raises UserError where it was not, or is damaged."""
    by_split: dict[str, list[list[np.ndarray]]] = {name: [[] for _ in settings.data.domains] for name in SPLITS}
    for part in _parts(settings, corpus):
        if (table_P2 := part.read()) is None:
            raise UserError(f"{part.path}: what the start thought of pairs is missing or damaged")
        by_split[part.split][settings.data.domains.index(part.domain)].append(table_P2)
    found = {split: [np.concatenate(tables) for tables in domains] for split, domains in by_split.items()}
    pairs = sum(len(one) for both in found.values() for one in both)
    forward = budget.of(settings).forward_flops[settings.data.span]
    told = {"key": key_of(settings, corpus), "pairs": pairs, "flops": forward * pairs * settings.data.span}
    return Reference(found["train"], found["validation"], told)


def key_of(settings: Settings, corpus: Corpus) -> str:
    model = dataclasses.asdict(settings.model)
    return digest([weights_of(settings.start), corpus.fingerprint, model, settings.precision, SEMANTICS], 16)


def beside_rows(rows: Batch, reference: Reference, spans: int) -> Batch:
    """The held-out rows, `spans` of every domain, with what the start thinks of them."""
    places = [np.arange(spans) * len(known) // spans for known in reference.held_out]  # as `data.tokens.held_out`
    known = [one[place] for one, place in zip(reference.held_out, places, strict=True)]
    return rows._replace(beside_BK=torch.from_numpy(np.concatenate(known)))


def _parts(settings: Settings, corpus: Corpus) -> Iterator[_Part]:
    folder = Path(settings.where.outputs) / FOLDER / key_of(settings, corpus)
    for split in SPLITS:
        for domain in settings.data.domains:
            pairs = num_spans(corpus.num_tokens(domain, split), settings.data.span)
            for number, first in enumerate(range(0, pairs, PART)):
                path = folder / f"{split}.{domain}.{number:05d}.npy"
                yield _Part(path, domain, split, first, min(first + PART, pairs))


@torch.no_grad()
def _read(model: LanguageModel, settings: Settings, corpus: Corpus, part: _Part) -> np.ndarray:
    """log p of both responses of some pairs of a stream."""
    device, span = model.head_weight.device, settings.data.span
    stream, objective = [Stream.of(corpus, part.domain, part.split)], NextToken(settings)
    none, found = torch.zeros(settings.data.vocabulary, dtype=torch.int32, device=device), []
    step = max(1, ROWS_TOKENS // span)
    with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision != "fp32"):
        for begin in range(part.first, part.last, step):
            starts = np.arange(begin, min(begin + step, part.last)) * span
            zeros = np.zeros(len(starts), dtype=np.int64)
            batch = Batch.of(Windows.of(stream, zeros, starts, span), zeros).to(device)
            found.append(-objective(model, batch, none, 1).rows_B3[:, 0].view(-1, 2).cpu())
    return torch.cat(found).numpy()
