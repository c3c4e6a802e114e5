"""The quick forms of norm, rotation, gate, linear map and attention agree with the plain ones."""

import pytest
import torch
from torch.autograd import gradcheck

from ablate.model import attention, linear, parts


@pytest.fixture
def random():
    generator = torch.Generator().manual_seed(0)
    return lambda *shape, dtype=torch.float64: torch.randn(*shape, dtype=dtype, generator=generator).requires_grad_()


def same(quick, plain, *inputs, atol=1e-6):
    """Values and gradients of both, under one random cotangent."""
    y, expected = quick(*inputs), plain(*inputs)
    torch.testing.assert_close(y, expected, atol=atol, rtol=1e-5)
    cotangent = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    gradients = (torch.autograd.grad(x, inputs, cotangent) for x in (y, expected))
    for gradient, its in zip(*gradients, strict=True):
        torch.testing.assert_close(gradient, its, atol=atol, rtol=1e-5)


def test_rms_norm(random):
    x, weight = random(2, 3, 8), random(8)
    same(lambda x, w: parts._RMSNorm.apply(x, w, 0.1), lambda x, w: parts.plain_rms_norm(x, w, 0.1), x, weight)
    assert gradcheck(lambda x, w: parts._RMSNorm.apply(x, w, 0.1), (x, weight))


def test_rms_norm_of_zeros_is_zero_and_has_finite_gradients():
    x = torch.zeros(2, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(parts.RMSNorm(8, 1e-5)(x).sum(), x)
    assert torch.isfinite(gradient).all()


def test_rms_norm_of_bf16_rounds_its_result_and_not_the_scale_of_a_row(random):
    """Each number is off by less than a bf16 step; a scale rounded to bf16 would move whole rows by up to 0.8 %."""
    x, weight = random(64, 32, dtype=torch.float32).bfloat16(), torch.ones(32)
    exact = parts.plain_rms_norm(x.double(), weight.double(), 1e-5)
    out = parts._RMSNorm.apply(x, weight, 1e-5)
    assert out.dtype == torch.bfloat16
    of_rows = (out.double() / exact).mean(-1)  # half a step of bf16, 2^-9, where a scale near 1 rounds all alike
    assert (of_rows - 1).abs().max() < 2.0**-9
    (gradient,) = torch.autograd.grad(out.sum(), x)
    (expected,) = torch.autograd.grad(exact.sum(), x)
    assert (gradient.double() - expected).norm() < 0.005 * expected.norm()


def test_swiglu(random):
    gate_up = random(2, 3, 12)
    same(parts._SwiGLU.apply, parts.plain_swiglu, gate_up)
    assert gradcheck(parts._SwiGLU.apply, gate_up)


def test_squared_relu(random):
    feed, x = parts.SquaredReLU(4, 6, "dense"), random(2, 3, 4, dtype=torch.float32)
    same(feed, lambda x: (x @ feed.up.weight.T).clamp(min=0) ** 2 @ feed.down.weight.T, x)


def test_rotary_is_the_plain_rotation(random):
    x = random(2, 5, 3, 8, dtype=torch.float32)
    table = parts.turns(torch.arange(5), 8, 100.0)
    same(parts.Rotary(100.0), lambda x: parts.plain_rotary(x, table), x)


def test_rotary_scores_depend_on_distance_only(random):
    rotary = parts.Rotary(100.0)
    q, k = (random(1, 1, 1, 8, dtype=torch.float32).detach().expand(1, 40, 1, 8) for _ in range(2))
    scores_LL = torch.einsum("blhk,bmhk->lm", rotary(q), rotary(k))
    torch.testing.assert_close(scores_LL[7, 2], scores_LL[37, 32])
    assert (scores_LL[7, 2] - scores_LL[7, 3]).abs() > 1e-3


def test_rotary_after_inference_mode_can_be_trained():
    rotary, x = parts.Rotary(77.0), torch.randn(1, 11, 2, 6, requires_grad=True)
    with torch.inference_mode():
        rotary(x)
    rotary(x).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize(("inputs", "outputs"), [(5, 7), (7, 5), (6, 6)])
def test_linear(random, inputs, outputs):
    x, weight = random(2, 3, inputs, dtype=torch.float32), random(outputs, inputs, dtype=torch.float32)
    same(linear._OneDNNLinear.apply, torch.nn.functional.linear, x, weight)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 150])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_attention_in_blocks(random, length, kv_heads):
    q, k, v = random(2, 4, length, 6), random(2, kv_heads, length, 6), random(2, kv_heads, length, 6)
    same(attention._Blocks.apply, attention.plain_attention, q, k, v)


@pytest.mark.parametrize("width", [2, 9])
def test_attention_in_blocks_of_values_of_another_width(random, width):
    q, k, v = random(2, 4, 70, 6), random(2, 2, 70, 6), random(2, 2, 70, width)
    same(attention._Blocks.apply, attention.plain_attention, q, k, v)


def test_attention_gradients_of_strided_inputs(random):
    q, k, v = (random(1, 9, 2, 4).transpose(1, 2) for _ in range(3))
    assert gradcheck(attention._Blocks.apply, (q, k, v))


def test_attention_in_bfloat16_errs_no_more_than_the_kernel(random):
    q, k, v = random(2, 4, 256, 16), random(2, 2, 256, 16), random(2, 2, 256, 16)
    halves = [x.detach().bfloat16().requires_grad_() for x in (q, k, v)]
    cotangent = torch.randn(2, 4, 256, 16, generator=torch.Generator().manual_seed(1))
    exact = torch.autograd.grad(attention.plain_attention(q, k, v), (q, k, v), cotangent.double())

    def errors(form):
        gradients = torch.autograd.grad(form(*halves), halves, cotangent.bfloat16())
        return [(x - y).norm() / y.norm() for x, y in zip(gradients, exact, strict=True)]

    for ours, its in zip(errors(attention._Blocks.apply), errors(attention.plain_attention), strict=True):
        assert ours < max(1.5 * its, 0.01)
