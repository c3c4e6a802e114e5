"""A run that begins with another's weights: its parent looked up, made to fit, and loaded.

    settings = resolved(settings)      start=run:<id>@<sha256>; data.tokenizer is the parent's
    load(model, settings)              the weights, if they still have that sha256

Both raise UserError, one line. Optimizer and timeline are the child's own; what it takes over is the architecture,
the tokenizer and the weights, to the bit. A teacher (`fit.teachers`) is looked up in the same way.
"""

import contextlib
import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from ablate.compress.forms import rounds_inputs
from ablate.data.tokens import cut_by, prepared
from ablate.fit.checkpoint import put, sha256
from ablate.model import match
from ablate.model.convert import from_folder
from ablate.model.language import VALUE, LanguageModel, letters
from ablate.model.linear import QUANTISED
from ablate.run import exported, lookup
from ablate.run.record import Record, run_record
from ablate.run.settings import Model, Settings, SettingsError, Size, UserError
from ablate.run.start import Start, parse

PARTS = {"latent": "L", "mamba": "M"}  # groups of `model` that matter to layers of one letter alone
UNBUILT = ("init_scale",)  # what only the first draw of weights depends on


@dataclass(frozen=True)
class Parent:
    """What a run takes over. `place`: its whole id or path; `size`: as the model is built; `tokenizer`: its file."""

    place: str
    sha256: str
    model: Model
    size: Size
    vocabulary: int
    tokenizer: Path


def resolved(settings: Settings) -> Settings:
    """The settings with the sha256 of the parent's weights in `start`, and its tokenizer in `data.tokenizer`.

    Raises UserError for a parent that is missing, unfinished or damaged, and for settings that it does not fit.
    """
    start = parse(settings.start)
    if start is None:
        return settings
    outputs = Path(settings.where.outputs)
    parent = found(start, outputs)
    check_fits(settings, start.setting, parent.model, parent.size, parent.vocabulary)
    data = cut_by(settings.data, parent.tokenizer, start.setting, outputs)
    return dataclasses.replace(settings, start=str(named(start, parent)), data=data)


def found(start: Start, outputs: Path) -> Parent:
    """The parent that is named. Raises UserError if it is not there, or has other weights than it was named with."""
    parent = _of_run(start, outputs) if start.kind == "run" else _of_folder(start)
    if start.sha256 not in ("", parent.sha256):
        raise SettingsError(f"{start.key}={start}: the weights there are others, of sha256 {parent.sha256}")
    return parent


def named(start: Start, parent: Parent) -> Start:
    """The parent's whole name, with the sha256 of its weights."""
    return dataclasses.replace(start, place=parent.place, sha256=parent.sha256)


def load(model: LanguageModel, settings: Settings) -> None:
    """Put the parent's weights in the place of those drawn. Raises UserError if they are not the ones meant."""
    if start := parse(settings.start):
        found = weights(start, Path(settings.where.outputs))
        drawn = {VALUE: model.state_dict()[VALUE]} if model.value is not None else {}
        put(model, drawn | {name: tensor for name, tensor in found.items() if name != VALUE or drawn})


def weights(start: Start, outputs: Path) -> dict[str, torch.Tensor]:
    """Of the parent, once looked up. Raises UserError if they are not the ones meant."""
    tensors = _weights(start, outputs)
    if (found := sha256(tensors)) != start.sha256:
        raise UserError(f"{start.setting}: damaged or changed: its weights have sha256 {found}, not {start.sha256}")
    return tensors


def check_fits(settings: Settings, what: str, model: Model, size: Size, vocabulary: int) -> None:
    """Raise SettingsError, with all overrides that would help, unless the model of `settings` is the one given."""
    wrong = _wrong(settings, model, size, vocabulary)
    if wrong:
        ours = ", ".join(f"{key}={_spelled(now)}" for key, (now, _) in wrong.items())
        needed = " ".join(f"{key}={_spelled(wanted)}" for key, (_, wanted) in wrong.items())
        raise SettingsError(f"{what}: its model does not fit {ours}; it does with {needed}")


def check_follows(settings: Settings, before: Settings, what: str) -> None:
    """Raise SettingsError, as `check_fits` does, unless a phase has the model of the phase before it.

    A phase may ask for another base of the rotation, by which it learns longer rows; after `start`, where that may be a
    default which nobody looked at, it is refused.
    """
    model = dataclasses.replace(before.model, rope_theta=settings.model.rope_theta)
    check_fits(settings, what, model, match.sized(before), before.data.vocabulary)


def _wrong(settings: Settings, model: Model, size: Size, vocabulary: int) -> dict[str, tuple[Any, Any]]:
    """{key: (value in the settings, value that fits)} of all that would build another model."""
    pairs = {"data.vocabulary": (settings.data.vocabulary, vocabulary)}
    built = match.sized(settings)
    if set(model.pattern) <= set(PARTS.values()):
        size = dataclasses.replace(size, kv_heads=built.kv_heads)
    if built != size:
        pairs |= {f"size.{key}": pair for key, pair in _fields(settings.size, size).items()}
    spelled = letters(settings.model.pattern, built.depth), letters(model.pattern, size.depth)
    for key, (now, wanted) in _fields(settings.model, model).items():
        if key in UNBUILT or (key in PARTS and PARTS[key] not in model.pattern):
            continue
        if key in PARTS:
            pairs |= {f"model.{key}.{name}": pair for name, pair in _fields(now, wanted).items()}
        elif key == "linear" and now in QUANTISED and wanted == "dense":
            continue  # rounded from now on, which no default asks for
        elif key != "pattern" or spelled[0] != spelled[1]:
            pairs[f"model.{key}"] = now, wanted
    return {key: (now, wanted) for key, (now, wanted) in pairs.items() if now != wanted}


def _fields(ours: Any, theirs: Any) -> dict[str, tuple[Any, Any]]:
    return {field.name: (getattr(ours, field.name), getattr(theirs, field.name)) for field in dataclasses.fields(ours)}


def _spelled(value: Any) -> str:
    """A value as it is written on the command line."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _of_run(start: Start, outputs: Path) -> Parent:
    try:
        record = run_record(outputs, lookup.find(start.place, outputs).id)
    except UserError as error:
        if child := _finished_child(start, outputs):
            return child
        raise UserError(f"{start.key}=run:{error}") from None
    if not record.folder.exists():
        raise UserError(f"{start.setting}: no such run in {outputs / 'runs'}")
    result = record.result()
    if result is None:
        raise UserError(f"{start.setting}: is not finished; the command that started it goes on with it")
    if result["outcome"] != "finished":
        raise UserError(f"{start.setting}: {result['outcome']}: {result['reason']}; nothing can begin from it")
    if not record.weights.exists():
        raise UserError(f"{start.setting}: its {record.weights} is gone")
    if rounds_inputs(to := record.settings().compress.to):
        raise UserError(f"{start.setting}: with compress.to={to} its inputs are rounded, which no weights say")
    return _parent(record.id, result["weights_sha256"], record)


def _parent(place: str, sha256: str, like: Record) -> Parent:
    """With the model and the tokenizer of a run."""
    settings, outputs = like.settings(), like.folder.parents[1]
    tokenizer = prepared(outputs, like.fingerprint).folder / "tokenizer.json"
    return Parent(place, sha256, settings.model, match.sized(settings), settings.data.vocabulary, tokenizer)


def _finished_child(start: Start, outputs: Path) -> Parent | None:
    """A parent that is gone, as a run tells that began with it and is done: that run is found again all the same."""
    for child in lookup.runs(outputs) if start.key == "start" else ():  # what a teacher costs is known of itself alone
        with contextlib.suppress(UserError):  # settings of another version
            began = parse(child.settings().start)
            if child.done and began and began.name == start.name:
                return _parent(began.place, began.sha256, child)
    return None


def _of_folder(start: Start) -> Parent:
    folder = Path(start.place).resolve()
    if not (folder / "config.json").exists() or not (folder / "tokenizer.json").exists():
        raise UserError(f"{start.setting}: must be a folder with config.json, tokenizer.json and weights")
    try:
        exported.check(folder, but=(exported.CARD,))
    except UserError as error:
        raise UserError(f"{start.setting}: {error}") from None
    model, size, vocabulary, digest = _looked_at(folder, start.setting)
    return Parent(str(folder), digest, model, size, vocabulary, folder / "tokenizer.json")


@functools.cache
def _looked_at(folder: Path, setting: str) -> tuple[Model, Size, int, str]:
    language = _converted(folder, setting)
    return language.model, language.size, len(language.head_weight), sha256(language.state_dict())


def _converted(folder: Path, setting: str) -> LanguageModel:
    try:
        return from_folder(folder)
    except Exception as error:  # safetensors, torch and transformers have error classes of their own
        raise UserError(f"{setting}: cannot be loaded: {(str(error).splitlines() or [''])[0]}") from None


def _weights(start: Start, outputs: Path) -> dict[str, torch.Tensor]:
    if start.kind == "folder":
        return dict(_converted(Path(start.place), start.setting).state_dict())
    path = run_record(outputs, start.place).weights
    try:
        return load_file(path)
    except Exception as error:  # safetensors has an error class of its own
        raise UserError(f"{start.setting}: {path} cannot be read: {error}") from None
