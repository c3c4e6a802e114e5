"""What the outputs of each layer do to the model's predictions, on calibration text.

When outputs y of a layer move by e, the predictions p of the model move by KL(p || p') = e G e^T / 2, with

    G = mean g g^T,    g = gradient of -log p(token) in y, of a token that the model itself draws

the Fisher information, to second order and without what one token's outputs do beside another's. So errors in
directions that nothing reads are cheap, and outputs can make up for one another. With H of the inputs a change E of the
weights costs tr(G E H E^T) / 2 (as in K-FAC, arXiv:1503.05671, and for rounding in YAQA, arXiv:2505.22988).

Tokens differ too: those whose outputs matter more count for more in H. By |g|^2 that would be exact, but a few tokens,
of one draw each, would then be most of H; |g| is better on text that was not looked at.

Shapes: B rows of T tokens, N tokens, D width, O outputs, V vocabulary.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ablate.model.language import LanguageModel
from ablate.model.linear import Ternary
from ablate.run.settings import SettingsError


class Cost(NamedTuple):
    """`gram_OO`: G, float32. `tokens`: of every part of the rows how much each token matters (N,), 1 on average."""

    gram_OO: Tensor
    tokens: list[Tensor]


@torch.enable_grad()
def costs(language: LanguageModel, names: set[str], parts: Sequence[Tensor]) -> dict[str, Cost]:
    """Of the layers of the blocks, by name, from rows (B, T). Tokens are drawn by a generator of their own.

    Raises SettingsError when the predictions are not finite.
    """
    layers = {name: language.get_submodule(name) for name in sorted(names) if name.startswith("blocks.")}
    layers = {name: layer for name, layer in layers.items() if not isinstance(layer, Ternary)}
    gram_OO: dict[str, Tensor] = {}
    sizes: dict[str, list[Tensor]] = {name: [] for name in layers}
    draw = torch.Generator().manual_seed(0)
    for rows_BT in parts if layers else ():
        given: dict[str, Tensor] = {}
        hooks = [layer.register_forward_hook(_noting(given, name)) for name, layer in layers.items()]
        logits_NV = _logits(language, rows_BT)
        for hook in hooks:
            hook.remove()
        if not logits_NV.isfinite().all():
            raise SettingsError("the predictions of the model on calibration text are not finite: the run diverged")
        nats = F.cross_entropy(logits_NV, _drawn(logits_NV, draw), reduction="sum")
        for name, grad_BTO in zip(given, torch.autograd.grad(nats, list(given.values())), strict=True):
            grad_NO = grad_BTO.flatten(0, -2)
            gram_OO[name] = gram_OO.get(name, 0) + grad_NO.T @ grad_NO
            sizes[name].append(grad_NO.norm(dim=-1))
    return {name: Cost(gram_OO[name], _shares(sizes[name])) for name in layers}


def _shares(sizes: list[Tensor]) -> list[Tensor]:
    mean = torch.cat(sizes).mean()
    return [size_N / mean if mean > 0 else torch.ones_like(size_N) for size_N in sizes]


def _noting(given: dict[str, Tensor], name: str) -> Callable[..., None]:
    def hook(_layer: object, _x: object, y_BTO: Tensor) -> None:
        given[name] = y_BTO

    return hook


def _logits(language: LanguageModel, rows_BT: Tensor) -> Tensor:
    """With a graph behind them, whether or not parameters have gradients."""
    x_BTD = language.embedding(rows_BT).detach().requires_grad_()
    for block in language.blocks:
        x_BTD = block(x_BTD)
    return F.linear(language.norm(x_BTD), language.head_weight).flatten(0, 1).float()


def _drawn(logits_NV: Tensor, draw: torch.Generator) -> Tensor:
    """A token for every one before it, as the model says."""
    return torch.multinomial(logits_NV.detach().softmax(-1).cpu(), 1, generator=draw)[:, 0].to(logits_NV.device)
