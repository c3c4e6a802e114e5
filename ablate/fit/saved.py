"""A finished run from what it saved: its model, and its scores once more.

    load(record)        the model with its final weights, or with those kept after some step
    packed(record)      the final weights in few bits, of a run that made them smaller
    of_folder(path)     the model of a folder that transformers loads, with its tokenizer
    rescore(records)    outputs/runs/<id>/rescored.json, read by `verdict.validity.scores`

A run reports what its own process worked out while it trained, and files can be edited. So the weights of all runs of a
study are scored again, in one process, with the code as it is there, and the verdict leans on numbers that agree.
"""

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ablate.compress import packed as files
from ablate.compress.forms import rounds_inputs
from ablate.compress.packed import Packed
from ablate.data import tokenizer as tokenizers
from ablate.data.batches import Batch, validation_rows
from ablate.data.tokens import Corpus, prepared
from ablate.fit import reference, smaller
from ablate.fit.basis import basis
from ablate.fit.checkpoint import put, sha256
from ablate.fit.objectives import NextToken
from ablate.fit.parallel import strategy
from ablate.fit.preferred import measured
from ablate.fit.watch import losses_by_row, sums_by_domain
from ablate.model import match
from ablate.model.convert import from_folder
from ablate.model.language import VALUE, LanguageModel
from ablate.run import exported, parts
from ablate.run.compress import NONE
from ablate.run.failures import first_line
from ablate.run.progress import Progress
from ablate.run.record import Record
from ablate.run.settings import Settings, UserError

# Nats, relative: products on another machine, or with other threads, add in another order. On the same one all
# types give the same bits
ROUNDING = 1e-5
SILENT = 20  # runs that need no bar: a second or two each
COARSE = 1e-3  # of numbers that are rounded to few digits on the way, where a last bit may be a whole one


def load(record: Record, step: int | None = None) -> LanguageModel:
    """The model of a finished run with its trained weights, or with those kept after a step, on the CPU.

    Raises UserError for a step of which none are kept, and when they are others now than the run noted.
    """
    settings, kept, last = record.settings(), record.kept(), (record.result() or {})["step"]
    step = last if step is None else step
    path = record.weights if step == last else record.weights_after(step)
    if step in kept and not path.exists():
        raise UserError(f"{path}: is gone")
    if step not in kept:
        there = ", ".join(map(str, sorted(kept))) or "none"
        raise UserError(f"{record.id}: no weights are kept of step {step}; there are those of {there}")
    parts.load(settings.where.imports)
    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path}: damaged: {error}") from None
    if sha256(weights) != kept[step]:
        raise UserError(f"{path}: not the weights that the run had after step {step}, by their sha256")
    try:
        return _model(settings, weights)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def packed(record: Record) -> Packed | None:
    """Of a run that made its weights smaller. Raises UserError when they are not the weights that it noted."""
    if (asked := record.settings().compress).to == NONE:
        return None
    try:
        found = files.read(record.packed)
        weights, forms = files.unpacked(found), [one.form for one in found.stored.values()]
    except OSError as error:
        raise UserError(f"{record.packed}: {error.strerror or error}") from None
    except Exception as error:  # safetensors, json and torch have error classes of their own
        raise UserError(f"{record.packed}: damaged: {first_line(error)}") from None
    same = sha256(weights) == (record.result() or {})["weights_sha256"]
    if not same or any(rounds_inputs(form.to) != rounds_inputs(asked.to) for form in forms if form.to != "ternary"):
        raise UserError(f"{record.packed}: not the weights that the run had, by their sha256")
    return found


def of_folder(folder: Path) -> tuple[LanguageModel, tokenizers.Tokenizer, int]:
    """The model, on the CPU, its tokenizer, and the positions that it has. Raises UserError for what cannot be ours,
    and for an exported one that has changed."""
    exported.check(folder, but=(exported.CARD,))
    try:
        tokenizer = tokenizers.load((folder / "tokenizer.json").read_text(encoding="utf-8"))
        language = from_folder(folder)
        positions = json.loads((folder / "config.json").read_text(encoding="utf-8"))["max_position_embeddings"]
    except Exception as error:  # safetensors, torch, tokenizers and transformers have error classes of their own
        raise UserError(f"{folder}: cannot be loaded: {first_line(error)}") from None
    if tokenizers.end_of(tokenizer) is None:
        raise UserError(f"{folder}: its tokenizer has no token that ends a document")
    size, rows = max(tokenizer.get_vocab().values()) + 1, len(language.head_weight)
    if size > rows:
        raise UserError(f"{folder}: its tokenizer has {size} tokens, and its model {rows}")
    return language, tokenizer, positions


def rescore(records: Sequence[Record]) -> None:
    """Score the weights of finished runs, one after the other, and note what comes of it beside each run.

    Of a run whose text is not here any more, that was scored by a GPU where there is none, or whose settings this
    version cannot read, that is noted: "why".
    """
    with Progress(len(records), shown=len(records) > SILENT, unit="run") as progress:
        for number, record in enumerate(records, start=1):
            progress.at(number, f"scored once more: {record.id}")
            found = basis(record)  # before: what changes meanwhile will differ from it
            try:
                record.keep_rescored({"basis": found} | _rescored(record))
            except UserError as error:
                record.keep_rescored({"why": str(error)})


def _rescored(record: Record) -> dict[str, Any]:
    """Of weights that are not those of the run only their sha256."""
    corpus, settings = prepared(record.folder.parents[1], record.fingerprint), record.settings()
    device = torch.device("cpu" if record.device == "cpu" else "cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("a GPU scored them, and there is none here")
    found: dict[str, Any] = {"weights_sha256": ""}
    try:
        weights = load_file(record.weights)
    except SafetensorError:
        return found
    found["weights_sha256"] = sha256(weights)
    if found["weights_sha256"] != (record.result() or {})["weights_sha256"]:
        return found
    parts.load(settings.where.imports)
    with as_there(settings, record.threads, device):
        return found | {"bound": COARSE if _coarse(settings) else ROUNDING} | _scores(settings, weights, corpus, device)


def _scores(settings: Settings, weights: dict[str, Any], corpus: Corpus, device: torch.device) -> dict[str, Any]:
    """`sums` and `validation`, as in a result."""
    where = dataclasses.replace(settings.where, device=device.type)
    micro_tokens = strategy.in_parts(dataclasses.replace(settings, where=where)).where.micro_tokens
    model, domains = _model(settings, weights).to(device), settings.data.domains
    bytes_per_token = torch.from_numpy(corpus.bytes_per_token).to(device)
    rows = validation_rows(corpus, settings)
    parts = rows.to(device).parts(max(1, micro_tokens // settings.data.span))
    found = [NextToken(settings)(model, part, bytes_per_token, len(domains)) for part in parts]
    sums_D3 = sum(torch.stack([one.nats_S, one.tokens_S, one.bytes_S], dim=1) for one in found)
    assert isinstance(sums_D3, torch.Tensor)
    rows_R3 = torch.cat([one.rows_B3 for one in found])
    scored = {"sums": sums_by_domain(sums_D3.cpu(), domains), "validation": losses_by_row(rows_R3.cpu(), settings)}
    return scored | ({"pairs": _pairs(rows_R3.cpu(), rows, settings, corpus)} if settings.data.pairs else {})


def _pairs(rows_R3: torch.Tensor, rows: Batch, settings: Settings, corpus: Corpus) -> dict[str, dict[str, float]]:
    """`pairs`, as in a result. Raises UserError where it is not kept any more what the start thought of them."""
    if settings.objective == "preference":
        where = dataclasses.replace(settings.where, outputs=str(corpus.folder.parents[1]))
        known = reference.kept(dataclasses.replace(settings, where=where), corpus)
        rows = reference.beside_rows(rows, known, settings.evaluation.spans)
    return measured(rows_R3, rows, settings)


@contextlib.contextmanager
def as_there(settings: Settings, threads: int, device: torch.device) -> Iterator[None]:
    """With the threads and the types that the run had."""
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("high" if settings.where.tf32 else "highest")
    try:
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, settings.precision != "fp32"):
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.set_float32_matmul_precision(before[1])


def _coarse(settings: Settings) -> bool:
    where = settings.where
    return settings.precision != "fp32" or settings.model.linear == "ternary" or where.tf32 or where.compile


def _model(settings: Settings, weights: dict[str, Any]) -> LanguageModel:
    with torch.device("meta"):
        language = LanguageModel(settings.model, match.sized(settings), settings.data.vocabulary, VALUE in weights)
    put(language, weights, assign=True)
    language.narrow = settings.precision == "bf16"
    if settings.compress.to != NONE:
        smaller.prepare(language, settings)
    return language.eval()
