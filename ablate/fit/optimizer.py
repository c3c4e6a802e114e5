"""The optimizers, and the groups of parameters that a row of the timeline gives its rates to.

    adamw       two moments of 32 bits for every parameter
    adamw8bit   two moments of 8 bits and a scale for every 256 of them; vectors keep 32 bits
    muon        one moment, made orthogonal, for the matrices of the blocks; adamw for the rest

Matrices decay, vectors do not: two groups. A curriculum over layers (`plan.lerac`) makes two of each layer.

torch takes seconds to load, and is not before an optimizer is made: a wrong name is refused at once.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.run.optimizer import Optimizer
from ablate.run.parts import require_member

if TYPE_CHECKING:
    from torch.optim.optimizer import Optimizer as TorchOptimizer

    from ablate.model.language import LanguageModel

Groups = list[dict[str, Any]]
Row = np.void | Mapping[str, float]  # of the timeline, or what of it rates follow from


def adamw(groups: Groups, settings: Optimizer) -> "TorchOptimizer":
    """Decoupled weight decay (Loshchilov and Hutter 2019), all parameters in one fused kernel."""
    from torch.optim import AdamW

    return AdamW(groups, lr=settings.lr, betas=settings.betas, eps=settings.eps, fused=True)


def adamw8bit(groups: Groups, settings: Optimizer) -> "TorchOptimizer":
    from ablate.fit.eightbit import AdamW8bit  # its import takes a second, which no other run should pay

    return AdamW8bit(groups, lr=settings.lr, betas=settings.betas, eps=settings.eps)


def muon(groups: Groups, settings: Optimizer) -> "TorchOptimizer":
    """One rate serves both: `match_rms_adamw` gives Muon's steps the size of AdamW's (arXiv 2502.16982)."""
    from ablate.fit.muon import Both, Muon

    of_matrices = [group for group in groups if "splits" in group]
    others = [group for group in groups if "splits" not in group]
    scaled = Muon(of_matrices, lr=settings.lr, momentum=settings.momentum, adjust_lr_fn="match_rms_adamw")
    return Both(scaled, adamw(others, settings))


# (groups, settings) -> an optimizer of torch
OPTIMIZERS: dict[str, Callable[[Groups, Optimizer], "TorchOptimizer"]] = {
    "adamw": adamw,
    "adamw8bit": adamw8bit,
    "muon": muon,
}


def check(settings: Optimizer) -> None:
    """Raises SettingsError for an optimizer that there is not."""
    require_member("optimizer.name", settings.name, OPTIMIZERS)


def build(model: "LanguageModel", settings: Optimizer) -> "TorchOptimizer":
    """Groups carry `decays`, whether weight decay applies to them, and `layer`, a column of the layers' factors."""
    return OPTIMIZERS[settings.name](_groups(model, settings), settings)


def set_rates(optimizer: "TorchOptimizer", row: Row, factors: np.ndarray) -> None:
    """Put one row of the timeline, and the factors of its layers, into the groups before the step it belongs to."""
    for group in optimizer.param_groups:
        group["lr"], group["weight_decay"] = planned(group, row, factors)


def planned(group: dict[str, Any], row: Row, factors: np.ndarray) -> tuple[float, float]:
    """Learning rate and weight decay of one group at a step."""
    decay = float(row["weight_decay"]) if group["decays"] else 0.0
    return float(row["lr"]) * float(factors[group["layer"]]), decay


def _groups(model: "LanguageModel", settings: Optimizer) -> Groups:
    """Parameters of one layer, of one decay and of one kind; of one layer without a curriculum."""
    from ablate.model.language import decay_groups, layer_of, matrices

    named, of_decay = dict(model.named_parameters()), decay_groups(model)
    splits = matrices(model) if settings.name == "muon" else {}
    groups: dict[tuple, dict[str, Any]] = {}
    for names, decays in zip(of_decay, (True, False), strict=True):
        for name in names:
            layer = layer_of(name, model.size.depth) if settings.lerac.lowest < 1 else 0
            empty = {"params": [], "decays": decays, "layer": layer} | ({"splits": []} if name in splits else {})
            group = groups.setdefault((layer, decays, name in splits), empty)
            group["params"].append(named[name])
            if name in splits:
                group["splits"].append(splits[name])
    return list(groups.values())
