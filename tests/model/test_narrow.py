"""precision=bf16: what blocks hand on is bfloat16, weights and gradients stay float32, and the loss is close."""

import pytest
import torch
from runs import losses, record_of, train_run

from ablate.model import budget
from ablate.model.language import build
from ablate.run.settings import Mamba, Model, Size
from ablate.scores.loss import loss_sums

SIZE = Size(width=64, depth=2, heads=4, kv_heads=2, hidden=96)
MAMBA = Mamba(state=16, head_width=16, chunk=16)


@pytest.mark.parametrize("pattern", ["A", "L", "M"])
def test_blocks_hand_on_bfloat16_and_masters_stay(pattern):
    model = build(Model(pattern=pattern, mamba=MAMBA), SIZE, 128, seed=0)
    tokens_BL = torch.randint(128, (2, 48), generator=torch.Generator().manual_seed(0))
    exact, seen = model(tokens_BL), list[torch.dtype]()
    for block in model.blocks:
        block.register_forward_hook(lambda _block, _inputs, y_BLD: seen.append(y_BLD.dtype))
    model.narrow = True
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(tokens_BL)
        told = (tokens_BL, torch.zeros(2, dtype=torch.long), torch.ones(128), 1)
        sums = loss_sums(rough, model.head_weight, *told)
    sums.total.backward()
    assert seen == [torch.bfloat16] * 2
    assert sums.nats_S.dtype == torch.float64
    assert (rough.float() - exact).norm() / exact.norm() < 0.03
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def test_a_run_of_it_is_another_run_and_close(tiny):
    full, narrow = tiny(), tiny(precision="bf16")
    assert losses(train_run(narrow))["macro"] == pytest.approx(losses(train_run(full))["macro"], abs=0.05)
    assert record_of(narrow).id != record_of(full).id
    types = record_of(narrow).starts()[0]["probe"]["types"]
    assert (types["weights"], types["activations"], types["optimizer"]) == ("float32", "bfloat16", "float32")


def test_its_activations_take_less(tiny):
    taken = {p: budget.of(tiny(precision=p)).memory.activations for p in ("fp32", "bf16-mixed", "bf16")}
    assert taken["bf16"] < taken["bf16-mixed"] < taken["fp32"]
