"""What the layers of a model are given on calibration text, one after the other, as the model becomes smaller.

    for seen in layers(language, names, rows_RT, whole):
        seen.weight_OI.copy_(...)

Each layer comes with its inputs x as they are by then: those of a model in which all that lies before it is smaller
already, inside a block too. Beside it runs the model as it was, where the same layer is given x'. What the smaller
layer should give is W x', and where it writes to the residual stream also what that has lost on the way, r' - r. Of
all weights W + D those come closest, by least squares, with

    D = (W mean (x' - x) x^T + mean (r' - r) x^T) H^-1,    H = mean x x^T

(GPTAQ, arXiv:2504.02692, has the first part). Tokens count in these means as `compress.outputs` says. Every layer has
the rows go through its block once, and only the states between blocks are kept.

Shapes: R rows, T tokens of a row, B rows at once, D width, O outputs, I inputs, N tokens.
"""

import types
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ablate.compress.compensate import damped
from ablate.compress.outputs import Cost
from ablate.model.language import RESIDUAL, LanguageModel
from ablate.model.linear import Dense
from ablate.run.settings import SettingsError

AT_ONCE = 8  # rows


class Seen(NamedTuple):
    """`weight_OI`: the parameter. Of an embedding, and without rows, there is nothing else.

    `gram_II`: H, in float64. `wanted_OI`: the weights W + D that come closest to what the layer gave before.
    `gram_OO`: G, where it was asked what errors cost.
    """

    name: str
    weight_OI: Tensor
    gram_II: Tensor | None = None
    wanted_OI: Tensor | None = None
    gram_OO: Tensor | None = None


class _Place(NamedTuple):
    """A layer, what it lies in, and the norm whose input is the residual stream that it writes to, if it does."""

    layer: Dense
    within: nn.Module
    norm: nn.Module | None

    def given(self, x_BTD: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the layer is given (N, I), and the residual stream (N, O)."""
        found: dict[nn.Module, Tensor] = {}
        places = [self.layer] if self.norm is None else [self.layer, self.norm]
        hooks = [one.register_forward_pre_hook(lambda one, x: found.update({one: x[0]})) for one in places]
        self.within(x_BTD)
        for hook in hooks:
            hook.remove()
        x_NI = self.layer.factors(found[self.layer])[0].flatten(0, -2).float()
        return x_NI, None if self.norm is None else found[self.norm].flatten(0, -2).float()


@torch.no_grad()
def layers(
    language: LanguageModel,
    names: set[str],
    rows_RT: Tensor | None,
    whole: LanguageModel,
    costs: Mapping[str, Cost] = types.MappingProxyType({}),
) -> Iterator[Seen]:
    """The layers of that name, in the order of a forward pass; `whole` is the model as it was, `costs` theirs."""
    if "embedding" in names:
        yield Seen("embedding", language.embedding.weight)
    if rows_RT is None:
        yield from (Seen(name, language.get_parameter(f"{name}.weight")) for name in sorted(names - {"embedding"}))
        return
    states, before = _states(language, rows_RT), _states(whole, rows_RT)
    for number, (block, was) in enumerate(zip(language.blocks, whole.blocks, strict=True)):
        prefix = f"blocks.{number}."
        for name in _called(block, {name for name in names if name.startswith(prefix)}, prefix, states):
            places = _place(block, name, prefix), _place(was, name, prefix)
            yield _seen(name, *places, states, before, costs.get(name))
        states, before = [block(x_BTD) for x_BTD in states], [was(x_BTD) for x_BTD in before]
    if language.head is not None and whole.head is not None and "head" in names:
        now = _Place(language.head, nn.Sequential(language.norm, language.head), None)
        then = _Place(whole.head, nn.Sequential(whole.norm, whole.head), None)
        yield _seen("head", now, then, states, before, None)


def _states(language: LanguageModel, rows_RT: Tensor) -> list[Tensor]:
    """What enters the first block."""
    return [language.embedding(rows_BT) for rows_BT in parts(language, rows_RT)]


def parts(language: LanguageModel, rows_RT: Tensor) -> list[Tensor]:
    """Rows that go through at once, where the model is. Raises SettingsError for rows without tokens of the model."""
    vocabulary = len(language.embedding.weight)
    if rows_RT.ndim != 2 or 0 in rows_RT.shape:
        raise SettingsError(f"calibration rows of shape {tuple(rows_RT.shape)}: must be rows of tokens, at least one")
    if rows_RT.min() < 0 or rows_RT.max() >= vocabulary:
        raise SettingsError(f"calibration token {int(rows_RT.max())}: must be below the vocabulary of {vocabulary}")
    device = language.embedding.weight.device
    return list(rows_RT.long().to(device).split(AT_ONCE))


def _place(block: nn.Module, name: str, prefix: str) -> _Place:
    layer = block.get_submodule(name.removeprefix(prefix))
    assert isinstance(layer, Dense)
    writes = f"{name}.weight".endswith(RESIDUAL)
    return _Place(layer, block, block.get_submodule(f"{name.split('.')[2]}_norm") if writes else None)


def _called(block: nn.Module, names: set[str], prefix: str, states: list[Tensor]) -> list[str]:
    """The names in the order in which a forward pass comes to them. Raises SettingsError for one that it does not."""
    found: dict[str, None] = {}
    own = {name: block.get_submodule(name.removeprefix(prefix)) for name in names}
    hooks = [layer.register_forward_pre_hook(lambda *_, n=name: found.setdefault(n)) for name, layer in own.items()]
    block(states[0][:1])
    for hook in hooks:
        hook.remove()
    if missed := sorted(names - found.keys()):
        raise SettingsError(f"compress.keep: must name {missed[0]} too, whose inputs no forward pass shows")
    return list(found)


def _seen(name: str, now: _Place, then: _Place, states: list[Tensor], before: list[Tensor], cost: Cost | None) -> Seen:
    """Raises SettingsError when the inputs are not finite."""
    weight_OI = now.layer.weight
    outputs, inputs = weight_OI.shape
    gram_II, lost_OI = (torch.zeros(rows, inputs).to(weight_OI.device, torch.float64) for rows in (inputs, outputs))
    for part, (now_BTD, then_BTD) in enumerate(zip(states, before, strict=True)):
        (x_NI, r_NO), (was_NI, r_was_NO) = now.given(now_BTD), then.given(then_BTD)
        lost_NO = (was_NI - x_NI) @ weight_OI.T
        if r_NO is not None and r_was_NO is not None:
            lost_NO += r_was_NO - r_NO
        counted_NI = x_NI if cost is None else x_NI * cost.tokens[part][:, None]
        gram_II += x_NI.T @ counted_NI
        lost_OI += lost_NO.T @ counted_NI
    if not (gram_II.isfinite().all() and lost_OI.isfinite().all()):
        raise SettingsError(f"{name}: its inputs on calibration text are not finite, so nothing can be fitted to them")
    tokens = sum(x_BTD[..., 0].numel() for x_BTD in states)
    change_OI = torch.linalg.solve(damped(gram_II / tokens), lost_OI / tokens, left=False)
    return Seen(name, weight_OI, gram_II / tokens, weight_OI + change_OI.float(), cost.gram_OO if cost else None)
