"""Mutations of how a model is trained: rates, optimizer, loss, accumulation, averages, resumes."""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from ablate.fit import checkpoint, muon, optimizer, run
from ablate.fit.averaging import Average
from ablate.fit.module import Pretraining
from ablate.model import language
from ablate.model.language import LanguageModel
from ablate.plan import timeline
from ablate.run.settings import Settings
from ablate.scores import loss
from ablate.scores.loss import Sums
from bench.mutations.data import Change, Tampering, around, value


def rates(change: Change) -> Tampering:
    """Another path of the rate, also as the run itself plans it: rates (steps,) -> rates."""
    return around(timeline.schedule, "rates", lambda path, *args: change(path(*args)))


def schedule(**changed: Any) -> Tampering:
    return around(timeline.schedule, "rates", lambda path, s, *rest: path(dataclasses.replace(s, **changed), *rest))


def layers(change: Change) -> Tampering:
    return around(timeline.lerac, "factors", lambda factors, *args: change(factors(*args)))


def adamw(**changed: Any) -> Tampering:
    """The optimizer constructed with other numbers."""
    return around(torch.optim, "AdamW", lambda build, groups, **numbers: build(groups, **(numbers | changed)))


def clipping(change: Change) -> Tampering:
    return around(torch.nn.utils, "clip_grad_norm_", change)


def grouped(change: Callable[[list[dict[str, Any]]], Any]) -> Tampering:
    """Other groups of parameters than the model's."""

    def tampered(groups: Change, *args: Any) -> Any:
        found = groups(*args)
        change(found)
        return found

    return around(optimizer, "_groups", tampered)


def totals(change: Callable[[Tensor, Pretraining], Tensor]) -> Tampering:
    """Another loss to take the gradient of; what is reported stays."""

    def tampered(losses: Change, self: Pretraining, batch: Any, into: Any) -> Any:
        sums = losses(self, batch, into)
        return sums._replace(total=change(sums.total, self)) if self.model.training else sums

    return around(Pretraining, "losses", tampered)


def summed(change: Callable[[Sums, Tensor], Sums]) -> Tampering:
    """Other sums of nats, tokens or bytes; `change` also gets the domain of each row."""
    return around(loss, "loss_sums", lambda sums, *args, **how: change(sums(*args, **how), args[3]))


def gradients(change: Callable[[LanguageModel], None]) -> Tampering:
    """Gradients changed before they are clipped."""

    def tampered(step: Change, self: Pretraining, *args: Any) -> Any:
        change(self.model)
        return step(self, *args)

    return around(Pretraining, "step", tampered)


def after(step: int, change: Callable[[Pretraining], Any]) -> Tampering:
    """Something happens to the model once, after a step of the training."""

    def tampered(train: Change, self: Pretraining, batch: Any, number: int) -> None:
        train(self, batch, number)
        if self.trainer.global_step == step:
            with torch.no_grad():
                change(self)

    return around(Pretraining, "training_step", tampered)


def scaled(name: str, factor: float) -> Callable[[LanguageModel], None]:
    def change(model: LanguageModel) -> None:
        gradient = dict(model.named_parameters())[name].grad
        assert gradient is not None
        gradient.mul_(factor)

    return change


def shift(array: np.ndarray) -> np.ndarray:
    """Everything a step late."""
    return np.concatenate([array[:1], array[:-1]])


def one_step(path: np.ndarray, step: int, factor: float) -> np.ndarray:
    path[step] *= factor
    return path


def halved(set_rates: Change, built: torch.optim.Optimizer, *rest: Any) -> None:
    set_rates(built, *rest)
    built.param_groups[-1]["lr"] /= 2


def previous(planned: Change, group: dict[str, Any], row: np.void, factors: np.ndarray) -> tuple[float, float]:
    rate, decay = planned(group, row, factors)
    return rate * 0.99, decay


def frozen(build: Change, model: LanguageModel, settings: Any) -> Any:
    model.norm.weight.requires_grad_(False)
    return build(model, settings)


def rounded(update: Change, self: Average, model: LanguageModel, share: float) -> None:
    update(self, model, share)
    self.mean = {name: mean.float().double() for name, mean in self.mean.items()}


@contextmanager
def resumed(change: Callable[[dict[str, Any]], None] | None = None, **where: Any) -> Iterator[None]:
    """The run stops at step 4, and what it goes on from, or where, is not what it left."""
    train, load = run._train, checkpoint.SafetensorsIO.load_checkpoint

    def stopping(settings: Settings, corpus: Any, record: Any, growth: Any) -> None:
        with contextlib.suppress(SystemExit):
            train(settings, corpus, record, dataclasses.replace(growth, until=4))
        train(dataclasses.replace(settings, where=dataclasses.replace(settings.where, **where)), corpus, record, growth)

    def tampered(self: Any, path: Any, *args: Any, **more: Any) -> dict[str, Any]:
        state = load(self, path, *args, **more)
        if change:
            change(state)
        return state

    with (
        mock.patch.object(run, "_train", stopping),
        mock.patch.object(checkpoint.SafetensorsIO, "load_checkpoint", tampered),
    ):
        yield


def without_moments(state: dict[str, Any]) -> None:
    for values in state["optimizer_states"][0]["state"].values():
        values["exp_avg"].zero_()


def other_weights(state: dict[str, Any]) -> None:
    name = next(iter(state["state_dict"]))
    state["state_dict"][name] = state["state_dict"][name] + 1e-4


def later_step(state: dict[str, Any]) -> None:
    progress = state["loops"]["fit_loop"]["epoch_loop.manual_optimization.optim_step_progress"]
    progress["total"]["completed"] += 1


@contextmanager
def of_another_seed() -> Iterator[None]:
    """The run goes on from a checkpoint that another run has left."""
    train = run._train

    def stopping(settings: Settings, corpus: Any, record: Any, growth: Any) -> None:
        with contextlib.suppress(SystemExit):
            train(dataclasses.replace(settings, seed=7), corpus, record, dataclasses.replace(growth, until=4))
        os.remove(record.folder / "config.yaml")
        train(settings, corpus, record, growth)

    with mock.patch.object(run, "_train", stopping):
        yield


RATES = {
    "warmup a step longer": schedule(warmup=4),
    "warmup a step shorter": schedule(warmup=2),
    "decay begins a step late": schedule(decay=2),
    "another shape of decay": schedule(shape="cosine"),
    "decay to nothing": schedule(final=0.0),
    "rates a step late": rates(shift),
    "a rate of 1e-6 more": rates(lambda path: path * (1 + 1e-6)),
    "a rate of 1e-6 more in one step": rates(lambda path: one_step(path, 5, 1 + 1e-6)),
    "rates in float32": rates(lambda path: path.astype(np.float32).astype(np.float64)),
    "one group at half the rate": around(optimizer, "set_rates", halved),
    "a rate that the check is told of too": around(optimizer, "planned", previous),
    "weight decay of 1 % more": around(timeline.schedule, "weight_decays", lambda path, *args: path(*args) * 1.01),
    "weight decay from the second step on": around(
        timeline.schedule, "weight_decays", lambda path, *args: one_step(path(*args), 0, 0.0)
    ),
    "weight decay on norms": around(
        language, "decay_groups", lambda groups, model: ([name for part in groups(model) for name in part], [])
    ),
    "no weight decay on the embedding": around(
        language,
        "decay_groups",
        lambda groups, model: (groups(model)[0][1:], [*groups(model)[1], groups(model)[0][0]]),
    ),
}
LAYERS = {
    "layers off by one": layers(lambda factors: np.roll(factors, 1, axis=1)),
    "layers a step late": layers(shift),
    "layers that the model counts from one": around(
        language, "layer_of", lambda layer, name, n: min(layer(name, n) + 1, n + 1)
    ),
}
OPTIMIZER = {
    "eps of 1e-7": adamw(eps=1e-7),
    "second beta of .99": adamw(betas=(0.9, 0.99)),
    "first beta of .95": adamw(betas=(0.95, 0.95)),
    "largest second moment": adamw(amsgrad=True),
    "optimizer not fused": adamw(fused=False),
    "Adam for AdamW": around(torch.optim, "AdamW", lambda _, groups, **numbers: torch.optim.Adam(groups, **numbers)),
    "clipping at half the norm": clipping(lambda clip, parameters, largest: clip(parameters, largest / 2)),
    "no clipping": clipping(lambda clip, parameters, largest: clip(parameters, float("inf"))),
    "clipping by another norm": clipping(lambda clip, parameters, largest: clip(parameters, largest, norm_type=1.0)),
    "a parameter left out": grouped(lambda groups: groups[0]["params"].pop()),
    "a parameter frozen": around(optimizer, "build", frozen),
    "gradients not set to zero": value(torch.optim.Optimizer, "zero_grad", lambda *args, **more: None),
    "a gradient twice as large": gradients(scaled("embedding.weight", 2.0)),
    "a gradient left out": gradients(scaled("blocks.0.feed.down.weight", 0.0)),
}
MUON = {
    "muon with another momentum": around(
        muon, "Muon", lambda build, groups, **numbers: build(groups, **(numbers | {"momentum": 0.9}))
    ),
    "muon with other sizes of steps": around(
        muon, "Muon", lambda build, groups, **numbers: build(groups, **(numbers | {"adjust_lr_fn": "original"}))
    ),
}
LOSS = {
    "micro-batches averaged": totals(lambda total, self: total / 2),
    "a loss of 0.1 % more": totals(lambda total, self: total * 1.001),
    "a penalty on the embedding": totals(lambda total, self: total + 1e-3 * self.model.embedding.weight.square().sum()),
    "smoothed labels": around(
        loss, "_grad_of_logits", lambda grad, log_p, index, counted: grad(log_p, index, counted) + 1e-5
    ),
    "later domains weigh more": summed(lambda s, domain_R: s._replace(total=s.total * (1 + domain_R.float().mean()))),
    "bytes counted as tokens": summed(lambda s, domain_R: s._replace(bytes_S=s.tokens_S)),
}
AVERAGES = {
    "an average that nobody declared": around(
        timeline.average, "shares", lambda shares, settings, total: np.repeat([0.0, 1.0, 0.1], [4, 1, total - 5])
    ),
    "no average where one is declared": around(timeline.average, "shares", lambda shares, *args: shares(*args) * 0),
    "an average that begins a step late": around(
        timeline.average, "shares", lambda shares, *args: shift(shares(*args))
    ),
    "an average that forgets more slowly": around(
        timeline.average, "shares", lambda shares, *args: np.where(shares(*args) == 1, 1.0, shares(*args) / 2)
    ),
    "an average in float32": around(Average, "update", rounded),
    "raw weights evaluated": value(Average, "in_place_of_weights", lambda self, model: contextlib.nullcontext()),
}
TRIES: dict[str, Tampering] = {
    "resumed without moments": functools.partial(resumed, without_moments),
    "resumed with other weights": functools.partial(resumed, other_weights),
    "resumed a step later": functools.partial(resumed, later_step),
    "resumed with two threads": functools.partial(resumed, threads=2),
    "resumed from another run": of_another_seed,
}
LATE = {
    "a weight changed after step 3": after(3, lambda self: self.model.embedding.weight[0, 0].add_(1e-3)),
    "a step undone": after(4, lambda self: self.model.norm.weight.fill_(1.0)),
    "moments lost after step 2": after(
        2, lambda self: [state["exp_avg"].zero_() for state in self.trainer.optimizers[0].state.values()]
    ),
}
