"""Blocks computed anew in the backward pass: the same bits, less memory."""

import dataclasses
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from ablate.model import budget
from ablate.model.language import LanguageModel, build
from ablate.run.settings import Mamba, Model, Settings, Size, Where

SIZE = Size(width=64, depth=6, heads=4, kv_heads=2, hidden=96)
MODELS = {
    "A": Model(qk_norm=True),
    "L": Model(pattern="L"),
    "M": Model(pattern="M", mamba=Mamba(chunk=32)),
    "MMMA": Model(pattern="MMMA", feed="relu2"),
    "ternary": Model(pattern="AL", linear="ternary"),
}
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
every_precision = pytest.mark.parametrize("precision", ["fp32", "bf16-mixed"])
TOKENS_BL = torch.randint(512, (3, 256), generator=torch.Generator().manual_seed(0))


def step(model: LanguageModel, precision: str) -> dict[str, torch.Tensor]:
    """The gradients of a made-up loss, and its value."""
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
        hidden_BLD = model(TOKENS_BL)
    loss = hidden_BLD.float().square().mul(torch.linspace(0, 1, SIZE.width)).sum()
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return {"loss": loss.detach()} | gradients


@pytest.mark.slow
@every_model
@every_precision
@pytest.mark.parametrize("how", [True, "selective"])
def test_the_same_bits(model, precision, how):
    language = build(model, SIZE, 512, seed=0)
    kept = step(language, precision)
    language.recompute = how
    anew = step(language, precision)
    assert len(kept) == 1 + len(list(language.parameters()))
    assert kept.keys() == anew.keys()
    assert all(torch.equal(kept[name], anew[name]) for name in kept)


def peak(model: LanguageModel, precision: str) -> int:
    """Bytes allocated at once in a step, at most; the first gradients among them."""
    step(model, precision)  # what is made once and kept is no part of a step
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        step(model, precision)
    profiler = seen.profiler
    assert profiler is not None
    assert profiler.kineto_results is not None
    events: list[Any] = [event for event in profiler.kineto_results.events() if event.name() == "[memory]"]
    now = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        highest = max(highest, now)
    return highest


# Every mixer in one precision and attention in both; `test_budget` has what is kept of each in each
PEAKS = [("A", "fp32"), ("A", "bf16-mixed"), ("L", "fp32"), ("M", "fp32"), ("MMMA", "bf16-mixed"), ("ternary", "fp32")]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "precision"), PEAKS)
def test_the_peak_falls_to_what_the_budget_says(name, precision):
    model = MODELS[name]
    language = build(model, SIZE, 512, seed=0)
    settings = Settings(size=SIZE, model=model, precision=precision)
    recomputing = (dataclasses.replace(settings, where=Where(recompute=how)) for how in (True, "selective"))
    found, planned = [], []
    for choice in (settings, *recomputing):
        language.recompute = choice.where.recompute
        # events of one moment come in any order, which can hide a part of the peak
        found.append(max(peak(language, precision) for _ in range(3)))
        planned.append(budget.activation_bytes(choice, 512, *TOKENS_BL.shape))
    assert found[1] < 0.4 * found[0]
    assert planned[1] < 0.4 * planned[0]
    assert found[1] < found[2] < found[0]
    # beside activations a step holds gradients, of the parameters and of one block's values
    gradients = 4 * budget.count(language)
    for real, said in zip(found, planned, strict=True):
        assert 0.95 * said < real < 1.25 * said + gradients


def test_no_product_with_a_weight_is_computed_twice():
    language = build(Model(), SIZE, 512, seed=0)
    products = {}
    for how in (False, "selective", True):
        language.recompute = how
        with FlopCounterMode(display=False) as counter:
            step(language, "bf16-mixed")
        products[how] = counter.get_flop_counts()["Global"][torch.ops.aten.mm]
    assert products["selective"] == products[False] < products[True]


def test_nothing_is_kept_where_nothing_is_learned():
    language = build(Model(), SIZE, 512, seed=0)
    plain = language(TOKENS_BL)
    language.recompute = True
    with torch.no_grad():
        assert torch.equal(language(TOKENS_BL), plain)
