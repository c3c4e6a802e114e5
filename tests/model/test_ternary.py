"""BitNet b1.58: what the matrices hold, what gradients see, and that every matrix inside a block is one."""

from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ablate.model.language import build
from ablate.model.linear import Dense, Ternary, int8, packed_bytes, ternary
from ablate.model.mixers import MIXERS
from ablate.model.pack import packed, unpacked
from ablate.run.settings import Mamba, Model, Size

SIZE = Size(width=32, depth=2, heads=4, kv_heads=2, hidden=48)
MAMBA = Mamba(state=16, head_width=16, chunk=16)
VOCABULARY = 64


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def layer(inputs=24, outputs=10, splits=(6, 3, 1)):
    made = Ternary(inputs, outputs, splits)
    with torch.no_grad():
        # Logical matrices of very different size: one scale for all would round some of them to zero
        sizes = torch.cat([torch.full((rows, 1), 10.0**-i) for i, rows in enumerate(made.splits)])
        made.weight.copy_(random(outputs, inputs) * sizes)
        made.norm.weight.copy_(1 + 0.3 * random(inputs, seed=1))
    return made


def model(pattern="A", linear: Literal["dense", "ternary"] = "ternary", **changes):
    return build(Model(pattern=pattern, linear=linear, mamba=MAMBA, **changes), SIZE, VOCABULARY, seed=0)


def by_hand(x_ND, made):
    """The formulas of the paper, a number at a time."""
    y_NO = torch.zeros(len(x_ND), made.out_features)
    for n, x_D in enumerate(x_ND):
        normed = x_D / (x_D.square().mean() + 1e-5).sqrt() * made.norm.weight
        largest = normed.abs().max()
        quantised = torch.round(normed * 127 / largest) * largest / 127
        for rows in torch.arange(made.out_features).split(made.splits):
            gamma = sum(abs(w.item()) for w in made.weight[rows].flatten()) / made.weight[rows].numel()
            for row in rows:
                weights = [max(-1, min(1, round(w.item() / gamma))) * gamma for w in made.weight[row]]
                y_NO[n, row] = sum(w * value.item() for w, value in zip(weights, quantised, strict=True))
    return y_NO


def test_output_is_that_of_the_paper():
    made, x_ND = layer(), 3 * random(5, 24, seed=2)
    with torch.no_grad():
        torch.testing.assert_close(made(x_ND), by_hand(x_ND, made), atol=1e-5, rtol=1e-5)


def test_weights_are_ternary_with_one_scale_for_each_logical_matrix():
    made = layer()
    weight_OI, scale_O = ternary(made.weight, made.splits)
    assert set(weight_OI.unique().tolist()) == {-1.0, 0.0, 1.0}
    for rows in torch.arange(10).split(made.splits):
        assert torch.equal(scale_O[rows], made.weight[rows].abs().mean().expand(len(rows)))
        assert set(weight_OI[rows].unique().tolist()) == {-1.0, 0.0, 1.0}


def test_inputs_lie_on_the_grid_of_8_bits_and_use_all_of_it():
    x = random(7, 24) * torch.logspace(-3, 3, 7)[:, None]
    quantised, scale = int8(x)
    assert torch.equal(quantised, quantised.round())
    assert torch.equal(quantised.abs().amax(-1), torch.full((7,), 127.0))
    assert ((quantised * scale - x).abs() <= scale / 2 * 1.001).all()


def test_zeros_stay_zeros():
    made = Ternary(8, 4)
    with torch.no_grad():
        made.weight.zero_()
    x = torch.zeros(3, 8, requires_grad=True)
    y = made(x)
    assert torch.equal(y, torch.zeros(3, 4))
    assert torch.autograd.grad(y.sum(), x)[0].isfinite().all()


def test_gradients_are_those_of_a_dense_product_with_the_rounded_factors():
    made, x, cotangent = layer(), random(5, 24, seed=2).requires_grad_(), random(5, 10, seed=3)
    normed = made.norm(x)
    quantised, scale = int8(normed.detach())
    weight_OI, scale_O = ternary(made.weight.detach(), made.splits)
    to_weight = cotangent.T @ (quantised * scale)
    (to_x,) = torch.autograd.grad(normed, x, cotangent @ (weight_OI * scale_O[:, None]))
    ours = torch.autograd.grad(made(x), (x, made.weight), cotangent)
    torch.testing.assert_close(ours, (to_x, to_weight), atol=1e-5, rtol=1e-5)


def test_bfloat16_multiplies_the_integers_exactly():
    made, x = layer(splits=(10,)), random(50, 24, seed=2)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rough = made(x)
    exact = made(x)
    assert rough.dtype == torch.bfloat16
    # Two roundings of the result, 2^-8 each, also where terms cancel; rounded factors would leave more there.
    assert ((rough - exact).abs() <= 2**-7 * 1.01 * exact.abs()).all()


@pytest.mark.parametrize("pattern", sorted(MIXERS))
@pytest.mark.parametrize("tied", [True, False])
def test_every_matrix_but_embedding_and_head_is_ternary(pattern, tied):
    """A public copy of BitNet had left the mixers dense."""
    made = model(pattern, tied=tied)
    inside = {name for name, m in made.blocks.named_modules() if isinstance(m, nn.Linear)}
    assert inside == {name for name, m in made.blocks.named_modules() if type(m) is Ternary}
    matrices = {name.removesuffix(".weight") for name, p in made.blocks.named_parameters() if p.ndim == 2}
    assert matrices == inside
    assert len(inside) >= 4 * SIZE.depth
    assert type(made.embedding) is nn.Embedding
    assert made.head is None if tied else type(made.head) is Dense


@pytest.mark.parametrize("pattern", sorted(MIXERS))
def test_the_norm_moves_from_the_block_into_each_matrix(pattern):
    names = {name for name, _ in model(pattern).named_parameters()}
    dense = {name for name, _ in model(pattern, "dense").named_parameters()}
    assert {name for name in dense - names} == {
        f"blocks.{i}.{norm}_norm.weight" for i in range(SIZE.depth) for norm in ("mixer", "feed")
    }
    own = {name for name, m in model(pattern).named_modules() if isinstance(m, Ternary)}
    assert names - dense == {f"{name}.norm.weight" for name in own}


def test_fused_products_have_a_scale_for_each_matrix():
    splits = {n: m.splits for n, m in model("AM").blocks.named_modules() if isinstance(m, Ternary)}
    assert splits["0.mixer.qkv"] == (32, 16, 16)
    assert splits["0.feed.gate_up"] == (48, 48)
    assert splits["1.mixer.in_proj"] == (64, 64, 16, 16, 4)  # z, x, B, C, dt


def test_dense_and_ternary_begin_with_the_same_weights():
    begun, dense = model().state_dict(), model(linear="dense").state_dict()
    for name in begun.keys() & dense.keys():
        assert torch.equal(begun[name], dense[name]), name
    assert torch.equal(begun["blocks.0.mixer.qkv.norm.weight"], torch.ones(32))


def test_packed_bytes():
    layers = 2 * (32 * 64 + 32 * 32 + 3 * 32 * 48) // 4
    scales = 2 * 4 * (3 + 1 + 2 + 1)
    others = 2 * (VOCABULARY * 32 + 32 + 2 * (32 + 32 + 32 + 48))
    assert packed_bytes(model()) == layers + scales + others
    assert packed_bytes(model(linear="dense")) == 2 * sum(p.numel() for p in model(linear="dense").parameters())


@pytest.mark.parametrize("pattern", sorted(MIXERS))
def test_no_token_sees_a_later_one(pattern):
    """Not even by its scale: a scale over the whole row would look ahead."""
    made, tokens_BL = model(pattern, init_scale=1.2), torch.randint(VOCABULARY, (2, 40))
    changed_BL = tokens_BL.clone()
    changed_BL[:, 20] = (changed_BL[:, 20] + 1) % VOCABULARY
    with torch.no_grad():
        before, after = made(tokens_BL), made(changed_BL)
    assert torch.equal(before[:, :20], after[:, :20])
    assert not torch.equal(before[:, 20:], after[:, 20:])


@pytest.mark.parametrize("pattern", ["A", "M"])
def test_it_trains(pattern):
    made = model(pattern)
    tokens_BL = torch.randint(8, (8, 33), generator=torch.Generator().manual_seed(0))
    optimizer, losses = torch.optim.AdamW(made.parameters(), lr=3e-3), []
    for _ in range(20):
        loss = F.cross_entropy(made.logits(tokens_BL[:, :-1]).flatten(0, 1), tokens_BL[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    # Only 8 of the 64 tokens occur: log 64 = 4.2 at first, log 8 = 2.1 once that is learnt
    assert losses[0] > 3.8
    assert losses[-1] < 2.6


@pytest.mark.parametrize("pattern", ["A", "MA"])
def test_packed_it_is_as_small_as_said_and_what_is_multiplied_comes_back(pattern):
    there = model(pattern)
    small = packed(there)
    back = unpacked(small, model(pattern, init_scale=2.0))
    assert sum(tensor.nbytes for tensor in small.values()) == packed_bytes(there)
    assert set(back) == {name for name, _ in there.named_parameters()}
    for name, layer in there.named_modules():
        if isinstance(layer, Ternary):
            weight_OI, scale_O = ternary(layer.weight, layer.splits)
            assert torch.equal(back.pop(f"{name}.weight"), weight_OI * scale_O[:, None]), name
    for name, value in back.items():
        torch.testing.assert_close(value, dict(there.named_parameters())[name], atol=0, rtol=2**-8)
