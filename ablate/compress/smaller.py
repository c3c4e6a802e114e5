"""A trained model -> a smaller one: layer by layer, in the order of a forward pass.

    packed = smaller(language, Recipe(to="int4", method="gptq"), rows_RT)
    write(packed, path)                  as small as it says
    apply(read(path), language)          the model computes with the compressed weights

The rows are calibration text, drawn from training text by the caller; `round` and `magnitude` need none. Nothing is
random: the same model, recipe and rows give the same bytes. The model that is given stays as it is.

What can be compressed are the linear maps of the blocks (`language.matrices`), the embedding and an untied head. A tied
embedding is one matrix, stored once. An embedding has no inputs to look at: it is rounded to nearest, or cut by
magnitude, whatever the method. Ternary matrices are stored as they are (`compress.ternary`), whatever is asked;
those that were trained in a form (`linear.Quantised`) are in it already, and no other is taken.
"""

import copy
from fnmatch import fnmatch

import numpy as np
import torch
from torch import Tensor

from ablate.compress import packed as files
from ablate.compress.activations import round_inputs
from ablate.compress.forms import FORMATS, Form, Recipe, check
from ablate.compress.inputs import Seen, layers, parts
from ablate.compress.methods import METHODS
from ablate.compress.outputs import costs
from ablate.compress.packed import Packed, Stored
from ablate.model.language import LanguageModel, matrices
from ablate.model.linear import QUANTISED, Quantised, Ternary
from ablate.run.settings import SettingsError

ENDS = ("embedding", "head")  # which keep may name also where there is no such matrix


@torch.no_grad()
def smaller(language: LanguageModel, recipe: Recipe, rows_RT: np.ndarray | Tensor | None = None) -> Packed:
    """Raises SettingsError for a recipe that cannot be carried out, and for rows that nothing can be learnt from."""
    stored, kept = planned(language, recipe)
    for name in stored:
        if not language.get_parameter(f"{name}.weight").isfinite().all():
            raise SettingsError(f"{name}: its weights are not finite: the run diverged")
    method, whole, language = METHODS[recipe.method], language, copy.deepcopy(language).eval()
    if method.informed and rows_RT is None:
        raise SettingsError(f"compress.method={recipe.method}: needs calibration rows")
    round_inputs(language, {name: one.form for name, one in stored.items()})
    tensors = _others(language, set(stored))
    rows_RT = torch.as_tensor(rows_RT) if method.informed else None
    cost = costs(whole, set(stored), parts(whole, rows_RT)) if method.fitted and rows_RT is not None else {}
    for seen in layers(language, set(stored), rows_RT, whole, cost):
        one = stored[seen.name]
        found = made(seen, one, recipe.method)
        seen.weight_OI.copy_(files.weight(found, one))
        tensors |= {seen.name + part: tensor for part, tensor in found.items()}
    return Packed(tensors, stored, kept)


def planned(language: LanguageModel, recipe: Recipe) -> tuple[dict[str, Stored], dict[str, str]]:
    """How each matrix will be stored, and why others are kept; of a model without weights too (`meta`).

    Raises SettingsError when nothing is left to do.
    """
    check(recipe, {name for name, method in METHODS.items() if method.sparse}, list(METHODS))
    there = _matrices(language)
    unknown = [name for name in recipe.keep if name not in ENDS and not any(fnmatch(one, name) for one in there)]
    unknown += [name for name in recipe.forms if name not in there]
    if unknown:
        raise SettingsError(f"compress.keep={unknown[0]}: no such matrix; there are {', '.join(there)}")
    stored, kept = {}, {}
    for name, (shape, splits) in there.items():
        form, why = _form(language, name, recipe, shape[1])
        if form is None:
            kept[name] = why
        else:
            stored[name] = Stored(form, shape, splits)
    if not stored:
        raise SettingsError(f"compress.to={recipe.to}: nothing to compress; {'; '.join(map(' '.join, kept.items()))}")
    return stored, kept


def apply(packed: Packed, language: LanguageModel) -> LanguageModel:
    """The model with compressed weights, and with rounded inputs where the format has them."""
    language.load_state_dict(files.unpacked(packed))
    round_inputs(language, {name: one.form for name, one in packed.stored.items()})
    return language


def _matrices(language: LanguageModel) -> dict[str, tuple[tuple[int, int], tuple[int, ...]]]:
    """Shape and splits, by name, in the order of a forward pass."""
    outputs = {"embedding.weight": (len(language.embedding.weight),)} | matrices(language)
    if language.head is not None:
        outputs["head.weight"] = language.head.splits
    width = {name: language.get_parameter(name).shape[1] for name in outputs}
    return {name.removesuffix(".weight"): ((sum(rows), width[name]), rows) for name, rows in outputs.items()}


def _form(language: LanguageModel, name: str, recipe: Recipe, inputs: int) -> tuple[Form | None, str]:
    """Its form; or None, and why it is kept."""
    layer = language.get_submodule(name)
    if isinstance(layer, Ternary):
        return Form("ternary"), ""
    if isinstance(layer, Quantised):
        return _trained(layer, recipe), ""
    if any(fnmatch(name, pattern) for pattern in recipe.keep):
        return None, "was asked to stay"
    form = recipe.form(name)
    misfit = form.misfit(inputs)
    return (None, f"stays: {misfit}") if misfit else (form, "")


def _trained(layer: Quantised, recipe: Recipe) -> Form:
    """Of a matrix that was trained in a form: that one, whatever is to be kept. Raises SettingsError for another."""
    to, method = layer.form, "magnitude" if QUANTISED[layer.form].sparse else "round"
    said = f"with model.linear={to}: its weights were trained in that form"
    for key, value, allowed in (
        ("to", recipe.to, [to, f"{to}-fp8"] if f"{to}-fp8" in FORMATS else [to]),
        ("method", recipe.method, [method]),
        ("symmetric", str(recipe.symmetric).lower(), ["true"]),
    ):
        if value not in allowed:
            raise SettingsError(f"compress.{key}={value}: must be {' or '.join(allowed)} {said}")
    return Form(recipe.to, layer.group)


def _others(language: LanguageModel, compressed: set[str]) -> dict[str, Tensor]:
    """What is kept, as it is stored; the model has it so from now on, as it will when it is read again."""
    found = {}
    for name, parameter in language.named_parameters():
        if name.removesuffix(".weight") not in compressed:
            found[name] = parameter.to("cpu", torch.bfloat16 if parameter.ndim > 1 else torch.float32, copy=True)
            parameter.copy_(found[name])
    return found


def made(seen: Seen, stored: Stored, method: str) -> dict[str, Tensor]:
    """The parts of a matrix (`compress.packed`), by a method."""
    if stored.form.to == "ternary":
        return files.of_ternary(seen.weight_OI, stored.splits)
    by = METHODS[method]
    if by.informed and seen.gram_II is None:  # of an embedding
        by = METHODS["magnitude" if by.sparse else "round"]
    if by.fitted:
        return files.of_matrix(by.made(seen.wanted_OI, seen.gram_II, stored.form, seen.gram_OO))
    return files.of_matrix(by.made(seen.weight_OI, seen.gram_II, stored.form))
