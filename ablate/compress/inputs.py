"""What the layers of a model are given on calibration text, one after the other, as the model becomes smaller.

    for name, weight_OI, gram_II in layers(language, names, rows_RT):
        weight_OI.copy_(...)

Each layer comes with its inputs as they are by then: those of a model in which all that lies before it is smaller
already, inside a block too. `gram_II` is the mean of x x^T over all tokens; every layer has the rows go through
its block once, and only the states between blocks are kept.

Shapes: R rows, T tokens of a row, B rows at once, D width, I inputs, N tokens.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ablate.model.language import LanguageModel
from ablate.model.linear import Dense
from ablate.run.settings import SettingsError

AT_ONCE = 8  # rows


class Seen(NamedTuple):
    """`weight_OI`: the parameter; `gram_II`: of its inputs, float64, or None for an embedding and without rows."""

    name: str
    weight_OI: Tensor
    gram_II: Tensor | None


@torch.no_grad()
def layers(language: LanguageModel, names: set[str], rows_RT: Tensor | None) -> Iterator[Seen]:
    """The layers of that name, in the order of a forward pass. Without rows they come without inputs."""
    if "embedding" in names:
        yield Seen("embedding", language.embedding.weight, None)
    states = None if rows_RT is None else _states(language, rows_RT)
    for number, block in enumerate(language.blocks):
        prefix = f"blocks.{number}."
        dense = {prefix + name: layer for name, layer in block.named_modules() if isinstance(layer, Dense)}
        own = {name: layer for name, layer in dense.items() if name in names}
        if states is None:
            yield from (Seen(name, layer.weight, None) for name, layer in own.items())
            continue
        for name in _called(block, own, states):
            yield Seen(name, own[name].weight, _gram(name, own[name], block, states))
        states = [block(x_BTD) for x_BTD in states]
    if language.head is not None and "head" in names:
        last = nn.Sequential(language.norm, language.head)
        yield Seen("head", language.head.weight, None if states is None else _gram("head", language.head, last, states))


def _states(language: LanguageModel, rows_RT: Tensor) -> list[Tensor]:
    """What enters the first block. Raises SettingsError for rows that hold no tokens of the model."""
    vocabulary = len(language.embedding.weight)
    if rows_RT.ndim != 2 or 0 in rows_RT.shape:
        raise SettingsError(f"calibration rows of shape {tuple(rows_RT.shape)}: must be rows of tokens, at least one")
    if rows_RT.min() < 0 or rows_RT.max() >= vocabulary:
        raise SettingsError(f"calibration token {int(rows_RT.max())}: must be below the vocabulary of {vocabulary}")
    device = language.embedding.weight.device
    return [language.embedding(rows_BT.long().to(device)) for rows_BT in rows_RT.split(AT_ONCE)]


def _called(block: nn.Module, own: dict[str, Dense], states: list[Tensor]) -> list[str]:
    """Their names in the order in which a forward pass comes to them. Raises SettingsError for one that it does not."""
    found: dict[str, None] = {}
    hooks = [layer.register_forward_pre_hook(lambda *_, n=name: found.setdefault(n)) for name, layer in own.items()]
    block(states[0][:1])
    for hook in hooks:
        hook.remove()
    if missed := sorted(own.keys() - found):
        raise SettingsError(f"compress.keep: must name {missed[0]} too, whose inputs no forward pass shows")
    return list(found)


def _gram(name: str, layer: Dense, within: nn.Module, states: list[Tensor]) -> Tensor:
    """The mean of x x^T over all that the layer is given. Raises SettingsError when that is not finite."""
    tokens, total_II = 0, torch.zeros(layer.in_features, layer.in_features, dtype=torch.float64)

    def take(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        nonlocal tokens, total_II
        x_NI = layer.factors(given[0])[0].flatten(0, -2).float()
        total_II = total_II.to(x_NI.device) + (x_NI.T @ x_NI)
        tokens += len(x_NI)

    with layer.register_forward_pre_hook(take):
        for x_BTD in states:
            within(x_BTD)
    if not total_II.isfinite().all():
        raise SettingsError(f"{name}: its inputs on calibration text are not finite, so nothing can be fitted to them")
    return total_II / tokens
