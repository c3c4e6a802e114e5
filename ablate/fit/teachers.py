"""The teacher of a run of objective=distill: looked up, and loaded where the run computes.

    settings = resolved(settings)      distill.teacher=run:<id>@<sha256>, with its cost; data.tokenizer is the teacher's
    teacher = loaded(settings, device) the model, the same at every call, in evaluation mode and without gradients

A teacher may have any architecture, but must have the student's tokens. It is no part of a checkpoint: its weights
never change, and their sha256 is part of what the run is.
"""

import dataclasses
import functools
from pathlib import Path

import torch

from ablate.data.tokens import cut_by
from ablate.fit import parents
from ablate.fit.parents import Parent
from ablate.model import budget
from ablate.model.language import VALUE, LanguageModel
from ablate.run import parts
from ablate.run.record import run_record
from ablate.run.settings import Settings, SettingsError
from ablate.run.start import PHASE, Start, parse, teacher_of
from ablate.run.whole import sha256_of


def resolved(settings: Settings) -> Settings:
    """The settings with the teacher's whole name, the sha256 of its weights and its cost in `distill`, and its
    tokenizer in `data.tokenizer`.

    Raises UserError for a teacher that is missing, unfinished or damaged, or has other tokens.
    """
    start = teacher_of(settings)
    if start is None or start.kind == PHASE:  # the launcher knows which run that is
        return settings
    outputs = Path(settings.where.outputs)
    teacher = _found(start, outputs)
    if (ours := settings.data.vocabulary) != (theirs := teacher.vocabulary):
        raise SettingsError(f"{start.setting}: knows {theirs} tokens, a student the same: data.vocabulary={ours}")
    if parent := parse(settings.start):
        _check_same(start, teacher, parents.found(parent, outputs).tokenizer, parent.setting)
    data = cut_by(settings.data, teacher.tokenizer, start.setting, outputs)
    lengths = tuple(sorted(set(settings.length.lengths)))
    cost = budget.of_model(teacher.model, teacher.size, teacher.vocabulary, lengths)
    distill = dataclasses.replace(
        settings.distill,
        teacher=str(parents.named(start, teacher)),
        flops=cost["forward_flops"],
        parameters=cost["parameters"],
    )
    return dataclasses.replace(settings, distill=distill, data=data)


def check_cut(settings: Settings, tokenizer: Path, whose: str) -> None:
    """Raise SettingsError unless the teacher, if there is one, has this tokenizer."""
    if (start := teacher_of(settings)) and start.kind != PHASE:
        _check_same(start, _found(start, Path(settings.where.outputs)), tokenizer, whose)


def loaded(settings: Settings, device: torch.device) -> LanguageModel:
    """The teacher on the device, once a process. Raises UserError if its weights are not the ones meant."""
    return _loaded(settings.distill.teacher, settings.where.outputs, device)


@functools.cache
def _loaded(name: str, outputs: str, device: torch.device) -> LanguageModel:
    start = parse(name, "distill.teacher")
    assert start, name
    assert start.known, f"distill.teacher={name} has not been looked up"
    teacher = _found(start, Path(outputs))
    with torch.device("meta"):
        language = LanguageModel(teacher.model, teacher.size, teacher.vocabulary)
    weights = parents.weights(start, Path(outputs))
    weights.pop(VALUE, None)  # a model of rewards predicts tokens as any other does
    language.load_state_dict(weights, assign=True)
    return language.requires_grad_(False).eval().to(device)


def _found(start: Start, outputs: Path) -> Parent:
    """The teacher, and the mixers of the user's own that it may be made of imported."""
    teacher = parents.found(start, outputs)
    if start.kind == "run":
        parts.load(run_record(outputs, teacher.place).settings().where.imports)
    return teacher


def _check_same(start: Start, teacher: Parent, tokenizer: Path, whose: str) -> None:
    if sha256_of(tokenizer) != sha256_of(teacher.tokenizer):
        raise SettingsError(f"{start.setting}: has another tokenizer than {whose}: a student has its teacher's")
