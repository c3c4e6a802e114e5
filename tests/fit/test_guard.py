"""No step waits for the device, and nothing of a step without a finite gradient enters weights or average."""

from collections import Counter
from types import SimpleNamespace
from typing import Any
from unittest import mock

import lightning as L
import pytest
import torch
from runs import record_of, train_run
from safetensors.torch import load_file
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from ablate.data.batches import Batch
from ablate.fit import module, run, watch
from ablate.fit.guard import Guard
from ablate.model.language import LanguageModel
from ablate.plan.timeline import timeline

# What a host asks a device for: a number, whether two tensors are equal, how many entries there are
WAITS = ("aten._local_scalar_dense.default", "aten.equal.default", "aten.nonzero.default", "aten.is_nonzero.default")
AVERAGED = {"averaging": {"kind": "ema", "start": 0.2, "decay": 0.8}}


class Waits(TorchDispatchMode):
    """Counts them by step; `step` is None where a row is due."""

    def __init__(self) -> None:
        super().__init__()
        self.step: int | None = None
        self.steps: list[int] = []
        self.found: Counter[tuple[int, str]] = Counter()

    def look(self) -> None:
        """In place of `Pretraining.look`, which reads a list of numbers: no dispatcher sees that."""
        if self.step is not None:
            self.found[self.step, "look"] += 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.step is not None and str(func) in WAITS:
            self.found[self.step, str(func)] += 1
        return func(*args, **(kwargs or {}))


class Steps(L.Callback):
    """The first of all callbacks: tells `Waits` which step it is, from batch to batch."""

    def __init__(self, waits: Waits, every: int, evaluations: tuple[int, ...]) -> None:
        self.waits, self.every, self.evaluations = waits, every, evaluations

    # pyrefly: ignore[bad-override]
    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        step = trainer.global_step + 1
        due = step % self.every == 0 or step in self.evaluations or step == trainer.max_steps
        self.waits.step = None if due else step
        self.waits.steps += [] if due else [step]


def waits_of(settings: Any) -> Waits:
    waits, trainer = Waits(), run.trainer_of
    steps = Steps(waits, max(1, settings.steps // watch.LOG_ROWS), timeline(settings).evaluations)
    with (
        mock.patch.object(module.Pretraining, "look", waits.look),
        mock.patch.object(run, "trainer_of", lambda s, record, callbacks: trainer(s, record, [steps, *callbacks])),
        waits,
    ):
        train_run(settings)
    return waits


@pytest.mark.slow
@pytest.mark.parametrize("change", [{}, AVERAGED], ids=["plain", "average"])
def test_no_step_between_two_rows_waits(tiny, monkeypatch, change):
    monkeypatch.setattr(watch, "LOG_ROWS", 2)
    waits = waits_of(tiny(evaluation={"times": 1}, **change))
    assert len(waits.steps) > 10
    assert waits.found == Counter()


def test_a_look_at_a_step_is_counted(tiny, monkeypatch):
    """What the test above would find."""
    monkeypatch.setattr(watch, "LOG_ROWS", 2)
    monkeypatch.setattr(Guard, "see", lambda guard, norm, step, optimizer: bool(torch.isfinite(norm)))
    waits = waits_of(tiny(evaluation={"times": 1}, tokens=5120))
    assert {step for step, _ in waits.found} == set(waits.steps) != set()


def test_a_step_on_fake_tensors_asks_for_no_number(tiny, monkeypatch):
    """These have no numbers, and raise where one is asked for, or a list of them."""
    settings = tiny(**AVERAGED)
    strategy = SimpleNamespace(reduce=lambda value, reduce_op: value)
    with FakeTensorMode():
        undrawn = LanguageModel(settings.model, settings.size, settings.data.vocabulary)
        monkeypatch.setattr(module, "build", lambda *_, **__: undrawn)
        made = module.Pretraining(settings, timeline(settings), torch.ones(settings.data.vocabulary, dtype=torch.int32))
        # pyrefly: ignore[bad-argument-type]
        made.trainer = SimpleNamespace(global_step=0, world_size=1, strategy=strategy)
        made.manual_backward = torch.Tensor.backward
        made.guard.late = True
        optimizer = made.configure_optimizers()
        made.custody.begin(made, optimizer, 0)
        tokens_BL, domain_B = torch.zeros(4, 64, dtype=torch.long), torch.zeros(4, dtype=torch.long)
        batch = Batch(tokens_BL, tokens_BL, domain_B, tokens_BL[:, :0].float())
        for share in (0.0, 1.0, 0.2):
            made.take_step(batch, optimizer, share)
        with pytest.raises(DataDependentOutputException):
            made.look()


class Poison(L.Callback):
    """Puts NaN into a gradient of one step, and remembers the weights before it."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.weights: dict[str, torch.Tensor] = {}

    # pyrefly: ignore[bad-override]
    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, module.Pretraining)
        if trainer.global_step == self.step:
            model, average = pl_module.model, pl_module.average.mean
            self.weights = {name: value.detach().clone() for name, value in model.named_parameters()}
            self.weights |= {name: value.float() for name, value in average.items()}
            model.norm.weight.register_hook(lambda gradient: gradient * torch.nan)


@pytest.mark.slow
@pytest.mark.parametrize("change", [{}, AVERAGED, {"optimizer": {"name": "muon"}}], ids=["plain", "average", "muon"])
def test_a_step_that_is_found_bad_late_has_left_nothing(tiny, monkeypatch, change):
    monkeypatch.setattr(watch, "LOG_ROWS", 2)
    settings, poison = tiny(evaluation={"times": 1}, **change), Poison(12)
    assert settings.steps == 20
    monkeypatch.setattr(run.callbacks, "own", lambda where: [poison])
    result = train_run(settings)
    assert (result["outcome"], result["reason"]) == ("diverged", "the gradient norm is nan at step 12")
    assert result["step"] == 10  # of the last row
    saved = load_file(record_of(settings).weights)
    assert all(torch.equal(saved[name], poison.weights[name]) for name in saved)


def test_whoever_does_not_look_later_is_told_at_once():
    guard, optimizer = Guard(), SimpleNamespace(_step_supports_amp_scaling=True)
    assert guard.see(torch.tensor(1.0), 3, optimizer)
    guard.late = True
    assert not guard.see(torch.tensor(torch.inf), 4, SimpleNamespace(optimizer=optimizer))
    assert optimizer.found_inf == 1
    assert not guard.see(torch.tensor(1.0), 5, optimizer)
    assert optimizer.found_inf == 1  # for good
    assert guard.see(torch.tensor(1.0), 6, SimpleNamespace())
    assert guard.why() == "the gradient norm is inf at step 4"
    assert guard.why() is None
