"""Not every matrix in the same form: what each costs in each, and the best of all under a budget of bytes.

    table = sensitivities(language, recipe, forms, rows_RT)    matrix -> form -> (bytes, damage)
    best(table, budget)                                        matrix -> form

The damage of a form is how far the model's predictions move on calibration text (training text, never held-out) when
this matrix alone is in that form, with its inputs rounded where the form rounds them: KL(as it was || now), nats a
token. It is never below 0, where a difference of losses can be by luck. Damages of matrices are taken to add up; then
which form each should have is a knapsack with a choice in every class, solved exactly: of the ways to store the first
matrices, those stay that no way as small beats.

Shapes: R rows, T tokens of a row, N tokens, D width, V vocabulary.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ablate.compress import outputs
from ablate.compress import packed as files
from ablate.compress.activations import round_inputs
from ablate.compress.forms import Form, Recipe
from ablate.compress.inputs import AT_ONCE, layers, parts
from ablate.compress.methods import METHODS
from ablate.compress.smaller import made, planned
from ablate.model.language import LanguageModel
from ablate.run.distill import Distill
from ablate.scores.divergence import divergence_sums

PLAIN = Distill()  # KL of teacher and student


class Cost(NamedTuple):
    bytes: int
    damage: float  # nats a token


Table = Mapping[str, Mapping[Form, Cost]]


@torch.no_grad()
def sensitivities(
    language: LanguageModel, recipe: Recipe, forms: Sequence[Form], rows_RT: np.ndarray | Tensor
) -> Table:
    """Of every matrix that the recipe does not keep, and of every form that fits its rows, by the recipe's method."""
    language, rows_RT = copy.deepcopy(language).eval(), torch.as_tensor(rows_RT).long()
    before = [language(rows_BT) for rows_BT in rows_RT.split(AT_ONCE)]
    stored = {name: one for name, one in planned(language, recipe)[0].items() if one.form.to != "ternary"}
    table = {}
    method = METHODS[recipe.method]
    costs = outputs.costs(language, set(stored), parts(language, rows_RT)) if method.fitted else {}
    for seen in list(layers(language, set(stored), rows_RT, language, costs)):
        name, live_OI = seen.name, seen.weight_OI
        table[name], weight_OI = {}, live_OI.clone()
        for form in (form for form in forms if not form.misfit(weight_OI.shape[1])):
            one = stored[name]._replace(form=form)
            found = made(seen._replace(weight_OI=weight_OI), one, recipe.method)
            live_OI.copy_(files.weight(found, one))
            layer = language.get_submodule(name)
            round_inputs(language, {name: form})
            table[name][form] = Cost(sum(part.nbytes for part in found.values()), moved(language, before, rows_RT))
            language.set_submodule(name, layer)
        live_OI.copy_(weight_OI)
    return {name: costs for name, costs in table.items() if costs}


def moved(language: LanguageModel, before: list[Tensor], rows_RT: Tensor) -> float:
    """KL(p as it was || p now) in nats a token, of hidden states as they were; the head is that of now."""
    total = 0.0
    for was_BTD, rows_BT in zip(before, rows_RT.split(AT_ONCE), strict=True):
        head_VD, domain_B = language.head_weight, torch.zeros(len(rows_BT), dtype=torch.long)
        now_BTD, ones_V = language(rows_BT), torch.ones(len(head_VD))
        found = divergence_sums(now_BTD, head_VD, was_BTD, head_VD, rows_BT, domain_B, ones_V, 1, PLAIN)
        total += float(found.total)
    return total / rows_RT.numel()


class _Way(NamedTuple):
    """Forms of the first matrices, and what they cost together."""

    bytes: int = 0
    damage: float = 0.0
    forms: tuple[Form, ...] = ()


def best(table: Table, budget: int) -> dict[str, Form]:
    """The forms with the least damage that take at most `budget` bytes together. Raises ValueError if none do."""
    ways = [_Way()]
    for costs in table.values():
        further = [
            _Way(way.bytes + cost.bytes, way.damage + cost.damage, (*way.forms, form))
            for way in ways
            for form, cost in costs.items()
        ]
        ways = _unbeaten([way for way in further if way.bytes <= budget])
    if not ways:
        least = sum(min(cost.bytes for cost in costs.values()) for costs in table.values())
        raise ValueError(f"budget={budget}: must be at least {least} bytes, with these forms")
    return dict(zip(table, ways[-1].forms, strict=True))


def _unbeaten(ways: list[_Way]) -> list[_Way]:
    """Those that no way as small is as good as, the smallest first, the best last."""
    kept: list[_Way] = []
    for way in sorted(ways, key=lambda way: (way.bytes, way.damage)):
        if not kept or way.damage < kept[-1].damage:
            kept.append(way)
    return kept
