"""What the start of a phase thinks of every pair: log p of both responses, worked out once and kept.

    outputs/reference/<key>/train.code.00000.npy    float64 (pairs, 2), PART pairs a file, in the order of the stream

The key is made of the start's weights, the text and the types, so that all arms and seeds that begin with the same
weights find the same numbers. A file has its name once it is whole: after a kill what is missing is worked out.
"""

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ablate.data.batches import Batch, Beside
from ablate.data.shards import SPLITS, write_table
from ablate.data.tokens import Corpus, num_spans
from ablate.data.windows import Stream, Windows
from ablate.fit.objectives import NextToken
from ablate.model import budget
from ablate.model.language import LanguageModel
from ablate.run.identity import SEMANTICS, digest
from ablate.run.processes import alone
from ablate.run.settings import Settings
from ablate.run.start import weights_of

FOLDER = "reference"
PART = 2048  # pairs a file
ROWS_TOKENS = 8192  # read at once, whatever a run's own micro-batches are: the numbers are one for all


class Reference(NamedTuple):
    """By domain, of the pairs of its training text and of its held-out text; `told`: for the record."""

    train: Beside
    held_out: Beside
    told: dict[str, Any]


def of(model: LanguageModel, settings: Settings, corpus: Corpus, device: torch.device) -> Reference:
    """Of a model with the weights of the start. Of several processes one works, the others wait."""
    folder = Path(settings.where.outputs) / FOLDER / key_of(settings, corpus)
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder, False):
        if missing := [one for one in _files(settings, corpus, folder) if not one[0].exists()]:
            reader = copy.deepcopy(model).to(device).eval()
            for path, domain, split, first, last in missing:
                write_table(path, _read(reader, settings, corpus, domain, split, first, last))
    return kept(settings, corpus)


def kept(settings: Settings, corpus: Corpus) -> Reference:
    """As `of`, once that was done. Raises OSError where it was not."""
    key = key_of(settings, corpus)
    by_split: dict[str, list[list[np.ndarray]]] = {name: [[] for _ in settings.data.domains] for name in SPLITS}
    for path, domain, split, *_ in _files(settings, corpus, Path(settings.where.outputs) / FOLDER / key):
        by_split[split][settings.data.domains.index(domain)].append(np.load(path))
    found = {split: [np.concatenate(parts) for parts in domains] for split, domains in by_split.items()}
    pairs = sum(len(one) for both in found.values() for one in both)
    forward = budget.of(settings).forward_flops[settings.data.span]
    told = {"key": key, "pairs": pairs, "flops": forward * pairs * settings.data.span}
    return Reference(found["train"], found["validation"], told)


def key_of(settings: Settings, corpus: Corpus) -> str:
    model = dataclasses.asdict(settings.model)
    return digest([weights_of(settings.start), corpus.fingerprint, model, settings.precision, SEMANTICS], 16)


def beside_rows(rows: Batch, reference: Reference, spans: int) -> Batch:
    """The held-out rows, `spans` of every domain, with what the start thinks of them."""
    places = [np.arange(spans) * len(known) // spans for known in reference.held_out]  # as `data.tokens.held_out`
    known = [one[place] for one, place in zip(reference.held_out, places, strict=True)]
    return rows._replace(beside_BK=torch.from_numpy(np.concatenate(known)))


def _files(settings: Settings, corpus: Corpus, folder: Path) -> Iterator[tuple[Path, str, str, int, int]]:
    """(file, domain, split, first pair, last pair) of every part."""
    for split in SPLITS:
        for domain in settings.data.domains:
            pairs = num_spans(corpus.num_tokens(domain, split), settings.data.span)
            for number, first in enumerate(range(0, pairs, PART)):
                path = folder / f"{split}.{domain}.{number:05d}.npy"
                yield path, domain, split, first, min(first + PART, pairs)


@torch.no_grad()
def _read(
    model: LanguageModel, settings: Settings, corpus: Corpus, domain: str, split: str, first: int, last: int
) -> np.ndarray:
    """log p of both responses of some pairs of a stream."""
    device, span = model.head_weight.device, settings.data.span
    stream, objective = [Stream.of(corpus, domain, split)], NextToken(settings)
    none, found = torch.zeros(settings.data.vocabulary, dtype=torch.int32, device=device), []
    step = max(1, ROWS_TOKENS // span)
    with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16-mixed"):
        for begin in range(first, last, step):
            starts = np.arange(begin, min(begin + step, last)) * span
            zeros = np.zeros(len(starts), dtype=np.int64)
            batch = Batch.of(Windows.of(stream, zeros, starts, span), zeros).to(device)
            found.append(-objective(model, batch, none, 1).rows_B3[:, 0].view(-1, 2).cpu())
    return torch.cat(found).numpy()
