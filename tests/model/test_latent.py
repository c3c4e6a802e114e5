"""Latent attention: the formula of the paper, a key that positions turn and one that they do not."""

import math
from typing import Any

import pytest
import torch

from ablate.model.language import RESIDUAL, build, decay_groups
from ablate.run.settings import Latent, Model, Size

SIZE = Size(width=48, depth=2, heads=4, kv_heads=1, hidden=80)
with_or_without_query_latent = pytest.mark.parametrize("q_rank", [0, 20])


def mixer(q_rank=0, **latent) -> Any:
    shape = Latent(**{"kv_rank": 15, "q_rank": q_rank, "rope_width": 6} | latent)
    return build(Model(pattern="L", latent=shape, init_scale=3.0, rope_theta=100.0), SIZE, 97, seed=0).blocks[0].mixer


def inputs(length=40):
    return torch.randn(2, length, 48, generator=torch.Generator().manual_seed(1))


def from_the_paper(m, x_BLD):
    """Equations 9-19 and 37-46 of arXiv:2405.04434, head by head."""
    c = m.kv_norm(m.kv_down(x_BLD))
    q = m.q_up(m.q_norm(m.q_down(x_BLD))) if m.q_rank else m.q(x_BLD)
    k_rope_BLP = m.rotary(m.k_rope(x_BLD)[:, :, None])[:, :, 0]
    heads = []
    for q_head, kv_head in zip(q.chunk(m.heads, -1), m.kv_up(c).chunk(m.heads, -1), strict=True):
        q_content, q_rope = q_head[..., : m.width], m.rotary(q_head[:, :, None, m.width :])[:, :, 0]
        k_content, value = kv_head.chunk(2, -1)
        scores_BLL = q_content @ k_content.mT + q_rope @ k_rope_BLP.mT
        behind = torch.ones_like(scores_BLL).triu(1).bool()
        scores_BLL = scores_BLL.div(math.sqrt(m.width + m.rope_width)).masked_fill(behind, -torch.inf)
        heads.append(scores_BLL.softmax(-1) @ value)
    return m.out(torch.cat(heads, -1))


@with_or_without_query_latent
@pytest.mark.parametrize("length", [1, 40, 150])
def test_it_is_the_formula_of_the_paper(q_rank, length):
    m = mixer(q_rank)
    torch.testing.assert_close(m(inputs(length)), from_the_paper(m, inputs(length)), atol=1e-5, rtol=1e-5)


def test_the_state_is_all_that_inference_needs():
    """Keys merged into the query and values into the output: the latent and the rotary key serve all heads."""
    m, x_BLD = mixer(), inputs()
    c_BLC, k_rope_BLP = m.kv_norm(m.kv_down(x_BLD)), m.rotary(m.k_rope(x_BLD)[:, :, None])[:, :, 0]
    assert m.state_bytes(40) == 2 * 40 * (c_BLC.shape[-1] + k_rope_BLP.shape[-1])
    k_up_HKC, v_up_HKC = m.kv_up.weight.view(m.heads, 2, m.width, -1).unbind(1)
    q_BHK, q_rope_BHP = m._queries(x_BLD)[:, -1].split((m.width, m.rope_width), -1)
    scores = torch.einsum("bhk,hkc,blc->bhl", q_BHK, k_up_HKC, c_BLC)
    scores = (scores + torch.einsum("bhp,blp->bhl", q_rope_BHP, k_rope_BLP)) / math.sqrt(m.width + m.rope_width)
    y_BHK = torch.einsum("bhl,blc,hkc->bhk", scores.softmax(-1), c_BLC, v_up_HKC)
    torch.testing.assert_close(m.out(y_BHK.flatten(1)), m(x_BLD)[:, -1], atol=1e-5, rtol=1e-5)


def scores_and_keys(m, x_BLD):
    """Scores (B, H, L, L) before the mask, and the keys (B, L, H, K + P) behind them."""
    k_BLHK = torch.cat((m._content(m._latent(x_BLD))[0], m._shared_key(x_BLD)), -1)
    return torch.einsum("blhk,bmhk->bhlm", m._queries(x_BLD), k_BLHK), k_BLHK


@with_or_without_query_latent
def test_scores_depend_on_distance_only(q_rank):
    """Every token moved to the right by 23: the scores stay."""
    m, x_BLD = mixer(q_rank), inputs()
    moved_BLD = torch.cat((inputs(23).flip(-1), x_BLD), dim=1)
    scores, _ = scores_and_keys(m, x_BLD)
    moved, _ = scores_and_keys(m, moved_BLD)
    torch.testing.assert_close(moved[:, :, 23:, 23:], scores, atol=1e-3, rtol=1e-4)


def test_content_keys_know_no_position_and_rotary_keys_do():
    m = mixer()
    x_BLD = inputs(1).expand(-1, 40, -1)
    scores, k_BLHK = scores_and_keys(m, x_BLD)
    content, rope = k_BLHK.split((m.width, m.rope_width), dim=-1)
    torch.testing.assert_close(content, content[:, :1].expand_as(content))
    assert (rope[:, 1:] - rope[:, :1]).abs().amax(dim=(0, 2, 3)).min() > 0.1
    assert (scores[:, :, 7, 2] - scores[:, :, 7, 3]).abs().max() > 1e-2


def test_heads_share_the_rotary_key_only():
    m = mixer()
    _, k_BLHK = scores_and_keys(m, inputs())
    content, rope = k_BLHK.split((m.width, m.rope_width), dim=-1)
    assert torch.equal(rope[:, :, 1:], rope[:, :, :1].expand_as(rope[:, :, 1:]))
    assert not torch.equal(content[:, :, 1], content[:, :, 0])
    assert m.k_rope.weight.shape == (6, 48)


def test_key_value_heads_do_not_count():
    one, two = (
        build(Model(pattern="L"), Size(width=48, depth=1, heads=4, kv_heads=kv_heads, hidden=80), 97, seed=0)
        for kv_heads in (1, 2)
    )
    tokens_BL = torch.arange(30)[None]
    assert torch.equal(one(tokens_BL), two(tokens_BL))


@with_or_without_query_latent
def test_initial_scales_and_decay(q_rank):
    model = build(Model(pattern="L", latent=Latent(kv_rank=64, q_rank=q_rank)), Size(width=128), 512, seed=0)
    state, std = model.state_dict(), 0.6 / math.sqrt(128)
    for name, value in state.items():
        if "norm" in name:
            assert torch.equal(value, torch.ones_like(value)), name
        else:
            expected = std / math.sqrt(2 * 4) if name.endswith(RESIDUAL) else std
            assert value.std().item() == pytest.approx(expected, rel=0.05), name
    decay, rest = decay_groups(model)
    assert sorted(rest) == sorted(name for name in state if "norm" in name)
    assert "blocks.0.mixer.kv_norm.weight" in rest
    assert ("blocks.0.mixer.q_norm.weight" in rest) == (q_rank > 0)
    assert set(decay) | set(rest) == set(state)
