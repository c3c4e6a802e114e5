"""The optimizer, with its parameters in two groups: matrices decay, vectors do not."""

from torch import nn
from torch.optim import AdamW
from torch.optim.optimizer import Optimizer as TorchOptimizer

from ablate.model.language import decay_groups
from ablate.settings import Optimizer


def adamw(groups: list[dict], settings: Optimizer) -> TorchOptimizer:
    """Decoupled weight decay (Loshchilov and Hutter 2019), all parameters in one fused kernel."""
    return AdamW(groups, lr=settings.lr, betas=settings.betas, eps=settings.eps, fused=True)


OPTIMIZERS = {"adamw": adamw}


def build(model: nn.Module, settings: Optimizer) -> TorchOptimizer:
    """Groups carry `decays`: whether the timeline's weight decay applies to them."""
    named = dict(model.named_parameters())
    decay, no_decay = decay_groups(model)
    groups = [
        {"params": [named[name] for name in names], "decays": decays}
        for names, decays in ((decay, True), (no_decay, False))
        if names
    ]
    return OPTIMIZERS[settings.name](groups, settings)


def set_rates(optimizer: TorchOptimizer, lr: float, weight_decay: float) -> None:
    """Put one row of the timeline into the parameter groups, before the step it belongs to."""
    for group in optimizer.param_groups:
        group["lr"] = lr
        group["weight_decay"] = weight_decay if group["decays"] else 0.0
