"""Optimizers by what they do to parameters and keep in memory; whole runs are in test_rates."""

import copy

import numpy as np
import pytest
import torch

from ablate.fit import muon
from ablate.fit import optimizer as optimizers
from ablate.fit.checkpoint import SafetensorsIO
from ablate.fit.optimizer import OPTIMIZERS, build
from ablate.model import budget, language
from ablate.model.language import LanguageModel
from ablate.run.optimizer import LeRaC, Optimizer
from ablate.run.settings import Model, Settings, Size

SMALL = Size(width=64, depth=3, heads=4, kv_heads=2, hidden=96)
HYBRID = Model(pattern="MAL", tied=False, qk_norm=True)
SENSITIVE = ("A_log", "D", "dt_bias", "norm.weight", "conv1d.bias")
LERAC = LeRaC(lowest=0.1)

every = pytest.mark.parametrize("name", sorted(OPTIMIZERS))


def model_of(model: Model = HYBRID, size: Size = SMALL, vocabulary: int = 512) -> LanguageModel:
    return language.build(model, size, vocabulary, seed=0)


def give_gradients(model: LanguageModel, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator) * 1e-2


def stepped(optimizer: torch.optim.Optimizer, model: LanguageModel, steps: range, lr: float = 1e-3) -> None:
    """Steps with gradients that follow from their number."""
    row = np.array([(lr, 0.1)], dtype=[("lr", "f8"), ("weight_decay", "f8")])[0]
    for step in steps:
        give_gradients(model, step)
        optimizers.set_rates(optimizer, row, np.ones(SMALL.depth + 2))
        optimizer.step()


def tensors_of(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [value for state in optimizer.state.values() for value in state.values() if isinstance(value, torch.Tensor)]


def bytes_of(optimizer: torch.optim.Optimizer) -> int:
    """What the moments take up; a storage that parameters share counts once, the count of steps not at all."""
    storages = {tensor.untyped_storage().data_ptr(): tensor for tensor in tensors_of(optimizer) if tensor.ndim}
    return sum(tensor.untyped_storage().nbytes() for tensor in storages.values())


def assert_equal(a: LanguageModel, b: LanguageModel) -> None:
    for (name, one), other in zip(a.named_parameters(), b.parameters(), strict=True):
        assert torch.equal(one, other), name


@every
@pytest.mark.parametrize("lerac", [LeRaC(), LERAC])
def test_every_parameter_is_in_one_group_of_its_layer_and_decay(name, lerac):
    model = model_of()
    groups = build(model, Optimizer(name=name, lerac=lerac)).param_groups
    of = {id(parameter): group for group in groups for parameter in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters())) == len(of)
    for key, parameter in model.named_parameters():
        group = of[id(parameter)]
        assert group["decays"] == (parameter.ndim > 1), key
        assert group["layer"] == (language.layer_of(key, SMALL.depth) if lerac.lowest < 1 else 0), key
        assert not (key.endswith(SENSITIVE) and group["decays"]), key
    if lerac.lowest < 1:
        assert {group["layer"] for group in groups} == set(range(SMALL.depth + 2))
        assert of[id(model.embedding.weight)]["layer"] == 0
        assert of[id(model.head_weight)]["layer"] == of[id(model.norm.weight)]["layer"] == SMALL.depth + 1


def test_adamw_has_the_two_groups_it_always_had():
    groups = build(model_of(), Optimizer()).param_groups
    assert [group["decays"] for group in groups] == [True, False]


@every
def test_what_is_sensitive_keeps_full_precision_and_does_not_decay(name):
    model = model_of()
    optimizer = build(model, Optimizer(name=name))
    before = copy.deepcopy(model.state_dict())
    row = np.array([(1e-3, 0.9)], dtype=[("lr", "f8"), ("weight_decay", "f8")])[0]
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizers.set_rates(optimizer, row, np.ones(SMALL.depth + 2))
    optimizer.step()
    for key, parameter in model.named_parameters():
        moved = not torch.equal(parameter, before[key])
        assert moved == (parameter.ndim > 1), key
        if key.endswith(SENSITIVE):
            assert parameter.dtype == torch.float32, key
            moments = [value for value in optimizer.state[parameter].values() if torch.is_tensor(value) and value.ndim]
            assert len(moments) == 2, key
            assert {moment.dtype for moment in moments} == {torch.float32}, key


@every
def test_grouped_by_layer_the_same_rates_make_the_same_steps(name):
    one, other = model_of(), model_of()
    stepped(build(one, Optimizer(name=name)), one, range(5))
    stepped(build(other, Optimizer(name=name, lerac=LERAC)), other, range(5))
    assert_equal(one, other)


@every
def test_two_times_the_same_steps_end_with_the_same_bits(name):
    one, other = model_of(), model_of()
    for model in (one, other):
        stepped(build(model, Optimizer(name=name)), model, range(5))
    assert_equal(one, other)


@every
@pytest.mark.parametrize("lerac", [LeRaC(), LERAC])
def test_through_a_checkpoint_it_goes_on_as_if_it_had_never_stopped(name, lerac, tmp_path):
    settings, through = Optimizer(name=name, lerac=lerac), model_of()
    optimizer = build(through, settings)
    stepped(optimizer, through, range(3))
    contents = {"state_dict": through.state_dict(), "optimizer_states": [optimizer.state_dict()], "average": {}}
    SafetensorsIO().save_checkpoint(contents, tmp_path / "step-3")
    stepped(optimizer, through, range(3, 6))

    resumed = model_of()
    loaded = SafetensorsIO().load_checkpoint(tmp_path / "step-3")
    resumed.load_state_dict(loaded["state_dict"])
    again = build(resumed, settings)
    again.load_state_dict(loaded["optimizer_states"][0])
    stepped(again, resumed, range(3, 6))
    assert_equal(through, resumed)
    assert bytes_of(again) == bytes_of(optimizer)
    kept, found = (made.state_dict()["state"] for made in (optimizer, again))
    for parameter, values in kept.items():
        assert values.keys() == found[parameter].keys()
        for key, value in values.items():
            other = found[parameter][key]
            assert (
                torch.equal(value, other) and value.dtype == other.dtype if torch.is_tensor(value) else value == other
            )


@every
@pytest.mark.parametrize("model", [HYBRID, Model()])
def test_budget_says_what_the_state_takes(name, model):
    settings = Settings(model=model, size=SMALL, optimizer=Optimizer(name=name))
    language_model = model_of(model, vocabulary=settings.data.vocabulary)
    optimizer = build(language_model, settings.optimizer)
    stepped(optimizer, language_model, range(1))
    assert budget.of(settings).memory.optimizer == bytes_of(optimizer)


@pytest.mark.parametrize(("size", "millions"), [(Size(), 1.0), (Size(width=320, depth=7, hidden=960), 10.0)])
def test_8_bits_take_less_than_a_third_of_adamw(size, millions):
    taken = {}
    for name in ("adamw", "adamw8bit"):
        model = model_of(Model(), size, vocabulary=2048)
        assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(millions, rel=0.1)
        optimizer = build(model, Optimizer(name=name))
        stepped(optimizer, model, range(1))
        taken[name] = bytes_of(optimizer)
    assert taken["adamw8bit"] < taken["adamw"] / 3


def test_8_bits_step_almost_as_adamw_and_vectors_exactly_so():
    one, other, start = model_of(), model_of(), model_of()
    stepped(build(one, Optimizer()), one, range(20))
    stepped(build(other, Optimizer(name="adamw8bit")), other, range(20))
    for (key, a), b, begin in zip(one.named_parameters(), other.parameters(), start.parameters(), strict=True):
        moved, apart = (a - begin).norm(), (a - b).norm()
        assert apart < (0.1 if a.ndim > 1 else 1e-5) * moved, key


@pytest.mark.parametrize("model", [HYBRID, Model(), Model(linear="ternary")])
def test_muon_is_that_of_torch_on_matrices_stored_apart_and_adamw_on_the_rest(model):
    settings = Optimizer(name="muon", lr=1e-3, momentum=0.9)
    ours = model_of(model)
    splits = language.matrices(ours)
    assert any(len(rows) > 1 for rows in splits.values())
    apart = {
        name: [
            torch.nn.Parameter(part.detach().clone())
            for part in parameter.split(list(splits.get(name, [len(parameter)])))
        ]
        for name, parameter in ours.named_parameters()
    }
    parts = [part for name in splits for part in apart[name]]
    its_muon = torch.optim.Muon(parts, lr=1e-3, weight_decay=0.1, momentum=0.9, adjust_lr_fn="match_rms_adamw")
    others = [part for name in apart.keys() - splits.keys() for part in apart[name]]
    adamw = torch.optim.AdamW(
        [
            {"params": [part for part in others if part.ndim > 1], "weight_decay": 0.1},
            {"params": [part for part in others if part.ndim < 2], "weight_decay": 0.0},
        ],
        lr=1e-3,
        betas=settings.betas,
        eps=settings.eps,
        fused=True,
    )
    optimizer = build(ours, settings)
    for step in range(4):
        stepped(optimizer, ours, range(step, step + 1))
        for name, parameter in ours.named_parameters():
            assert parameter.grad is not None
            for part, grad in zip(apart[name], parameter.grad.split([len(p) for p in apart[name]]), strict=True):
                part.grad = grad.clone()
        its_muon.step()
        adamw.step()
    for name, parameter in ours.named_parameters():
        assert torch.equal(parameter, torch.cat([part.detach() for part in apart[name]])), name


@pytest.mark.parametrize("chunk", [2**26, 64 * 64 * 2], ids=["one stack a shape", "several"])
def test_stacked_matrices_step_as_they_do_alone(monkeypatch, chunk):
    monkeypatch.setattr(muon, "CHUNK", chunk)
    alone, stacked = model_of(), model_of()
    one, other = (build(model, Optimizer(name="muon", momentum=0.9)) for model in (alone, stacked))
    before = {name: value.clone() for name, value in alone.state_dict().items()}
    stepped(one, alone, range(3))
    monkeypatch.setattr(muon.Muon, "_step_supports_amp_scaling", True)
    stepped(other, stacked, range(3))
    for name in language.matrices(alone):
        moved, difference = (alone.state_dict()[name] - against[name] for against in (before, stacked.state_dict()))
        assert difference.norm() < 0.01 * moved.norm(), name
    for ours, its in zip(tensors_of(one), tensors_of(other), strict=True):
        torch.testing.assert_close(ours, its)


def test_stacked_matrices_take_nothing_of_a_bad_step(monkeypatch):
    monkeypatch.setattr(muon.Muon, "_step_supports_amp_scaling", True)
    model = model_of()
    optimizer = build(model, Optimizer(name="muon"))
    stepped(optimizer, model, range(2))
    before = copy.deepcopy((model.state_dict(), [value.clone() for value in tensors_of(optimizer)]))
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, torch.nan)
    optimizer.found_inf = torch.ones(())  # pyrefly: ignore
    optimizer.step()
    assert all(torch.equal(value, before[0][name]) for name, value in model.state_dict().items())
    assert all(torch.equal(ours, its) for ours, its in zip(tensors_of(optimizer), before[1], strict=True))
