"""The weights that a run starts from, made smaller: what is done by a run of no tokens (`run.compress`).

    start ── load ──> weights ── rows of its training text ──> packed.safetensors, and the model that computes with it

Rows are drawn as a training of these settings would draw them: by its mixture and its seed.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ablate.compress import forms
from ablate.compress import packed as files
from ablate.compress.activations import round_inputs
from ablate.compress.forms import Form, Recipe
from ablate.compress.methods import METHODS
from ablate.compress.mixed import best, sensitivities
from ablate.compress.packed import Packed, Stored
from ablate.compress.smaller import apply, planned, smaller
from ablate.data.batches import Steps, training_spans
from ablate.data.tokens import Corpus
from ablate.model import match
from ablate.model.language import LanguageModel
from ablate.model.linear import QUANTISED
from ablate.plan.order import Order
from ablate.plan.timeline import timeline
from ablate.run.compress import Compress
from ablate.run.files import appear, writing
from ablate.run.settings import Averaging, Length, Ramp, Schedule, Settings, SettingsError

INTEGERS = ("int2", "int3", "int4", "int8")  # of which `compress.bits` chooses
CHOSEN = ("int4", "int4-fp8")  # what `compress.to` says then: without and with inputs in fp8


def check(settings: Settings) -> None:
    """Raises SettingsError for a recipe that cannot be carried out on this model, and for what does nothing.

    Before there are weights: a chain is refused before its first phase is trained.
    """
    _check_asked(asked := settings.compress)
    with torch.device("meta"):
        language = LanguageModel(settings.model, match.sized(settings), settings.data.vocabulary)
    stored = planned(language, _recipe(asked))[0].values()
    if asked.bits:
        trained = f"left out with model.linear={settings.model.linear}: its weights were trained in a form"
        _require(settings.model.linear not in QUANTISED, "bits", f"{asked.bits:g}", trained)
        _check_bits(asked.bits, [one for one in stored if one.form.to != "ternary"])


def _check_bits(bits: float, stored: list[Stored]) -> None:
    _require(bool(stored), "bits", f"{bits:g}", "left out: all matrices are ternary, and stay so")
    weights = sum(outputs * inputs for _, (outputs, inputs), _ in stored)
    sizes = [[one.form._replace(to=to).bytes(*one.shape) for to in INTEGERS] for one in stored]
    least, most = (8 * sum(map(end, sizes)) / weights for end in (min, max))
    _require(least <= bits <= most, "bits", f"{bits:g}", f"from {least:.3f} to {most:.3f}, scales and all")


def _check_asked(asked: Compress) -> None:
    recipe, usual = _recipe(asked), Compress()
    forms.check(recipe, {name for name, method in METHODS.items() if method.sparse}, list(METHODS))
    chosen = recipe.to in CHOSEN or not asked.bits
    _require(
        chosen, "to", asked.to, f"{' or '.join(CHOSEN)} with compress.bits={asked.bits:g}, which chooses among integers"
    )
    read = METHODS[asked.method].informed or asked.bits > 0
    _require(
        read or asked.rows == usual.rows, "rows", asked.rows, f"left out with method={asked.method}: it reads none"
    )
    scaled = forms.FORMATS[asked.to].scaled or asked.group == usual.group
    _require(scaled, "group", asked.group, f"left out with to={asked.to}, which has no scales")


def _require(fits: bool, key: str, value: object, allowed: str) -> None:
    if not fits:
        raise SettingsError(f"compress.{key}={value}: must be {allowed}")


def made(model: LanguageModel, settings: Settings, corpus: Corpus) -> Packed:
    """What the weights became; the model has them from now on."""
    asked = settings.compress
    recipe, rows_RT = _recipe(asked), None
    if METHODS[asked.method].informed or asked.bits:
        rows_RT = calibration(settings, corpus)
    if asked.bits:
        assert rows_RT is not None
        recipe = dataclasses.replace(recipe, forms=_forms(model, recipe, asked.bits, rows_RT))
    packed = smaller(model, recipe, rows_RT)
    apply(packed, model)
    return packed


def prepare(model: LanguageModel, settings: Settings) -> None:
    """Round the inputs of a run's model, which has the run's weights, where the run rounded them."""
    stored = planned(model, _recipe(settings.compress))[0]
    round_inputs(model, {name: one.form for name, one in stored.items()})


def calibration(settings: Settings, corpus: Corpus) -> Tensor:
    """Rows of training text, shape (compress.rows, data.span)."""
    span, rows = settings.data.span, settings.compress.rows
    reading = dataclasses.replace(
        settings,
        tokens=rows * span,
        step_tokens=rows * span,
        length=Length(lengths=[span], starts=[0.0]),
        mixture=dataclasses.replace(settings.mixture, stages={}),
        ramp=Ramp(),
        schedule=Schedule(),
        averaging=Averaging(),
        compress=Compress(),
    )
    return Steps(Order(timeline(reading), training_spans(corpus, reading)), corpus)[0].tokens_BL


def told(packed: Packed, path: Path) -> dict[str, Any]:
    """Write it; what the record says of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path):
        size = files.write(packed, temporary)
        appear(temporary, path)
    found = {"file_bytes": size, "bytes": packed.bytes, "bits": packed.bits, "kept": packed.kept}
    forms = {name: one.form.to for name, one in packed.stored.items()}
    return found | ({"forms": forms} if len(set(forms.values())) > 1 else {})


def _recipe(asked: Compress) -> Recipe:
    return Recipe(
        to=asked.to, method=asked.method, group=asked.group, symmetric=asked.symmetric, keep=tuple(asked.keep)
    )


def _forms(model: LanguageModel, recipe: Recipe, bits: float, rows_RT: Tensor) -> dict[str, Form]:
    """The best integers for each matrix, `bits` a weight on average."""
    inputs = recipe.to.removeprefix(CHOSEN[0])
    tried = [Form(to + inputs, recipe.group, recipe.symmetric) for to in INTEGERS]
    table = sensitivities(model, recipe, tried, rows_RT)
    weights = sum(model.get_parameter(f"{name}.weight").numel() for name in table)
    return best(table, int(weights * bits / 8))
