"""Mamba-2: chunks against the recurrence, the block against transformers, what it costs and how it begins."""

import functools
import math
import sys
import types
from typing import cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import Mamba2Config
from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

from ablate.model import mamba
from ablate.model.language import build, decay_groups
from ablate.model.mamba import Mamba2, causal_convolution, kernel
from ablate.model.ssd import ssd, ssd_recurrent
from ablate.run.settings import Mamba, Model, Size

CONVOLUTION_BACKWARD = torch.ops.aten.convolution_backward
SIZE = Size(width=32, depth=2, heads=2, kv_heads=1, hidden=48)
MAMBA = Mamba(state=16, head_width=16, groups=2, chunk=16)
# In tokens: some end inside a chunk of 16, some with it, and two are shorter than the convolution.
DOCUMENTS = (5, 16, 1, 3, 25)
SEQ_IDX = torch.repeat_interleave(torch.tensor([4, 0, 4, 7, 1]), torch.tensor(DOCUMENTS))[None]


def generator():
    return torch.Generator().manual_seed(0)


def inputs(length, groups, heads=4) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    random = generator()
    shapes = ((2, length, heads, 6), (2, length, heads), (heads,), (2, length, groups, 8), (2, length, groups, 8))
    x, dt, A, B, C = (torch.randn(shape, generator=random) for shape in shapes)
    # From heads that forget in a token to heads that remember all, as at the start of training and beyond
    dt, A, B = F.softplus(2 * dt - 2), -torch.exp(1.5 * A), B / 8**0.5
    return x.requires_grad_(), dt.requires_grad_(), A.requires_grad_(), B.requires_grad_(), C.requires_grad_()


def same(y, expected, inputs, atol=1e-5):
    torch.testing.assert_close(y, expected, atol=atol, rtol=1e-5)
    cotangent = torch.randn(y.shape, generator=generator()) / y.numel() ** 0.5
    pair = (torch.autograd.grad(z, inputs, cotangent) for z in (y, expected))
    for gradient, its in zip(*pair, strict=True):
        torch.testing.assert_close(gradient, its, atol=atol, rtol=1e-5)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("length", [1, 7, 16, 17, 48, 70])
def test_chunks_are_the_recurrence(length, groups):
    args = inputs(length, groups)
    same(ssd(*args, 16), ssd_recurrent(*args), args)


@pytest.mark.parametrize("chunk", [1, 5, 64, 200])
def test_the_chunk_does_not_matter(chunk):
    args = inputs(50, 2)
    same(ssd(*args, chunk), ssd_recurrent(*args), args)


def test_the_recurrence_is_a_decaying_sum():
    """By hand: one head, one state, decay exp(-1/2) a token."""
    x, ones = torch.tensor([3.0, 0.0, 2.0]).view(1, 3, 1, 1), torch.ones(1, 3, 1)
    y = ssd_recurrent(x, ones / 2, torch.tensor([-1.0]), ones[..., None], 2 * ones[..., None])
    expected = [3.0, 3 * math.exp(-0.5), 3 * math.exp(-1) + 2]
    torch.testing.assert_close(y.flatten(), torch.tensor(expected))


def test_strong_decay_is_forgetting_and_not_nan():
    x, dt, A, B, C = inputs(40, 1)
    args = x, (dt * 0 + 50).detach().requires_grad_(), (A * 0 - 16).detach().requires_grad_(), B, C
    y = ssd(*args, 16)
    same(y, ssd_recurrent(*args), args, atol=1e-4)
    assert y.isfinite().all()


@pytest.mark.parametrize("scan", [functools.partial(ssd, chunk=16), ssd_recurrent])
def test_no_state_crosses_into_another_document(scan):
    x, dt, A, B, C = args = inputs(50, 2)
    apart = []
    for part in zip(*(y.split(DOCUMENTS, dim=1) for y in (x, dt, B, C)), strict=True):
        apart.append(ssd_recurrent(part[0], part[1], A, *part[2:]))
    same(scan(*args, seq_idx=SEQ_IDX.expand(2, -1)), torch.cat(apart, dim=1), args)


def block(mamba=MAMBA, size=SIZE, init_scale=1.2, norm_eps=1e-5) -> Mamba2:
    model = build(Model(pattern="M", mamba=mamba, init_scale=init_scale, norm_eps=norm_eps), size, 64, seed=3)
    return cast(Mamba2, model.get_submodule("blocks.0.mixer"))


def test_the_block_keeps_documents_apart():
    mixer, x_BLD = block(), torch.randn(1, 50, 32, generator=generator()).requires_grad_()
    apart = torch.cat([mixer(part) for part in x_BLD.split(DOCUMENTS, dim=1)], dim=1)
    same(mixer(x_BLD, SEQ_IDX), apart, (x_BLD, *mixer.parameters()))
    assert (mixer(x_BLD) - apart).abs().max() > 1e-2
    same(mixer(x_BLD, SEQ_IDX * 0), mixer(x_BLD), (x_BLD, *mixer.parameters()))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("length", [3, 64, 75])
def test_outputs_and_gradients_are_those_of_transformers(length, groups):
    mixer = block(Mamba(state=16, head_width=16, groups=groups, chunk=16), norm_eps=1e-3)
    shape = {"hidden_size": 32, "num_heads": 4, "head_dim": 16, "state_size": 16, "n_groups": groups}
    theirs = Mamba2Mixer(Mamba2Config(**shape, chunk_size=32, num_hidden_layers=1, layer_norm_epsilon=1e-3), 0)
    theirs.load_state_dict(mixer.state_dict())
    x_BLD = torch.randn(2, length, 32, generator=generator()).requires_grad_()
    named = dict(theirs.named_parameters())
    y, expected = mixer(x_BLD), theirs(x_BLD)
    torch.testing.assert_close(y, expected, atol=1e-5, rtol=0)
    cotangent = torch.randn(y.shape, generator=generator()) / y.numel() ** 0.5
    ours = torch.autograd.grad(y, (x_BLD, *mixer.parameters()), cotangent)
    its = torch.autograd.grad(expected, (x_BLD, *(named[name] for name, _ in mixer.named_parameters())), cotangent)
    for gradient, reference in zip(ours, its, strict=True):
        torch.testing.assert_close(gradient, reference, atol=1e-5, rtol=1e-4)


def test_names_and_shapes_are_those_of_mamba_ssm():
    inner, channels, heads = 64, 64 + 2 * 2 * 16, 4
    assert {name: tuple(parameter.shape) for name, parameter in block().named_parameters()} == {
        "in_proj.weight": (inner + channels + heads, 32),
        "conv1d.weight": (channels, 1, 4),
        "conv1d.bias": (channels,),
        "dt_bias": (heads,),
        "A_log": (heads,),
        "D": (heads,),
        "norm.weight": (inner,),
        "out_proj.weight": (32, inner),
    }


@pytest.mark.parametrize("mamba", [MAMBA, Mamba(state=32, head_width=32, chunk=64), Mamba(expand=3, head_width=8)])
@pytest.mark.parametrize("length", [40, 256, 1000])
def test_flops_are_those_counted(mamba, length):
    with torch.device("meta"):
        mixer, x_BLD = Mamba2(Model(mamba=mamba), SIZE), torch.zeros(2, length, 32)
    with FlopCounterMode(display=False) as forward:
        y_BLD = mixer(x_BLD)
    assert mixer.flops(length) == pytest.approx(forward.get_total_flops() / (2 * length), rel=0.01)
    with FlopCounterMode(display=False) as backward:
        y_BLD.sum().backward()
    # Left out: the input asks for no gradient, and torch counts the weights of a grouped convolution as if dense
    convolution = 2 * mamba.conv * mixer.conv1d.in_channels
    backward_flops = backward.get_total_flops() - backward.get_flop_counts()["Global"][CONVOLUTION_BACKWARD]
    expected = 2 * (mixer.flops(length) - convolution) - mixer.in_proj.flops()
    assert expected == pytest.approx(backward_flops / (2 * length), rel=0.01)


def test_state_does_not_grow_with_length():
    mixer, heads, channels = block(), 4, 64 + 2 * 2 * 16
    assert mixer.state_bytes(1) == mixer.state_bytes(10**6) == 2 * (heads * 16 * 16 + 3 * channels)


def large() -> Mamba2:
    size = Size(width=256, depth=1, heads=4, kv_heads=1, hidden=32)
    return block(Mamba(head_width=2), size)  # 256 heads


def test_first_decays_and_steps_have_the_distribution_of_mamba_ssm():
    mixer = large()
    rates, steps = mixer.A_log.exp().detach(), F.softplus(mixer.dt_bias).detach()
    assert 1 <= rates.min() < 1.3 < 15.7 < rates.max() <= 16
    assert rates.mean() == pytest.approx(8.5, abs=0.6)
    assert 0.00099 < steps.min() < 0.0012 < 0.08 < steps.max() < 0.101
    assert steps.log().mean() == pytest.approx(math.log(0.01), abs=0.2)
    assert torch.equal(mixer.D, torch.ones(256))
    assert torch.equal(mixer.norm.weight, torch.ones(512))
    assert mixer.conv1d.weight.detach().abs().max() == pytest.approx(0.5, abs=0.01)
    assert mixer.conv1d.weight.detach().std() == pytest.approx(0.5 / math.sqrt(3), rel=0.05)


def test_initialisation_is_by_name():
    short, long = (build(Model(pattern=p, mamba=MAMBA), SIZE, 64, seed=1).state_dict() for p in ("MA", "M"))
    for name in ("A_log", "dt_bias", "conv1d.weight", "conv1d.bias", "in_proj.weight"):
        assert torch.equal(short[f"blocks.0.mixer.{name}"], long[f"blocks.0.mixer.{name}"]), name
        assert not torch.equal(long[f"blocks.0.mixer.{name}"], long[f"blocks.1.mixer.{name}"]), name


def test_the_matrix_that_writes_to_the_residual_stream_begins_smaller():
    mixer = block()
    ratio = mixer.in_proj.weight.std() / mixer.out_proj.weight.std()
    assert ratio.item() == pytest.approx(math.sqrt(2 * SIZE.depth), rel=0.05)


def test_sensitive_parameters_do_not_decay():
    model = build(Model(pattern="M", mamba=MAMBA), SIZE, 64, seed=0)
    decay, rest = decay_groups(model)
    mixer = {name.removeprefix("blocks.0.mixer.") for name in decay if name.startswith("blocks.0.mixer.")}
    assert mixer == {"in_proj.weight", "out_proj.weight", "conv1d.weight"}
    assert {f"blocks.1.mixer.{name}" for name in ("A_log", "D", "dt_bias", "conv1d.bias", "norm.weight")} < set(rest)


@pytest.mark.parametrize("pattern", ["M", "MA"])
@pytest.mark.parametrize("linear", ["dense", "ternary"])
def test_a_step_lowers_the_loss(pattern, linear):
    model = build(Model(pattern=pattern, linear=linear, mamba=MAMBA), SIZE, 64, seed=0)
    tokens_BL = torch.randint(64, (4, 41), generator=generator())
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=3e-3), []
    for _ in range(2):
        loss = F.cross_entropy(model.logits(tokens_BL[:, :-1]).flatten(0, 1), tokens_BL[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert losses[1] < losses[0]


def test_autocast_leaves_the_scan_in_float32(monkeypatch):
    mixer, x_BLD, seen = block(), torch.randn(2, 50, 32, generator=generator()), []

    def watch(*args, **kwargs):
        y = ssd(*args, **kwargs)
        assert all(arg.dtype == torch.float32 for arg in args[:5])
        with torch.autocast("cpu", enabled=False):
            seen.append(torch.equal(y, ssd(*args, **kwargs)))
        return y

    monkeypatch.setattr("ablate.model.mamba.kernel", lambda device: watch)
    exact = mixer(x_BLD)
    with torch.autocast("cpu", torch.bfloat16):
        rough = mixer(x_BLD)
    assert seen == [True, True]
    assert rough.dtype == torch.bfloat16
    assert (rough - exact).norm() / exact.norm() < 0.02
    gradients = torch.autograd.grad(rough.float().square().sum(), tuple(mixer.parameters()))
    assert all(gradient.isfinite().all() and gradient.dtype == torch.float32 for gradient in gradients)


@pytest.mark.slow
def test_compiled_is_the_same_model():
    """Traced in one piece, forward and backward; a compiler for the result is not needed here."""
    size = Size(width=32, depth=1, heads=2, kv_heads=1, hidden=32)
    model = build(Model(pattern="M", linear="ternary", mamba=MAMBA), size, 64, seed=0)
    compiled, tokens_BL = torch.compile(model, fullgraph=True, backend="aot_eager"), torch.arange(40)[None]
    y_BLD, expected = compiled(tokens_BL), model(tokens_BL)
    torch.testing.assert_close(y_BLD, expected, atol=1e-4, rtol=1e-4)
    ours, its = (torch.autograd.grad(x.square().sum(), tuple(model.parameters())) for x in (y_BLD, expected))
    torch.testing.assert_close(ours, its, atol=1e-2, rtol=1e-3)


def test_the_plain_form_is_used_without_a_gpu():
    assert kernel(torch.device("cpu")) is ssd


def as_mamba_ssm(
    x,
    dt,
    A,
    B,
    C,
    chunk_size,
    D=None,
    z=None,
    dt_bias=None,
    initial_states=None,
    seq_idx=None,
    cu_seqlens=None,
    dt_softplus=False,
    dt_limit=(0.0, float("inf")),
    return_final_states=False,
    return_varlen_states=False,
):
    """`mamba_chunk_scan_combined` of mamba_ssm: its arguments, shapes and types, and what it says that it returns."""
    assert dt_softplus
    assert D is not None
    assert z is not None
    assert dt_bias is not None
    assert x.dtype == z.dtype == B.dtype == C.dtype
    assert A.dtype == D.dtype == dt_bias.dtype == torch.float32
    assert x.shape == z.shape
    assert seq_idx is None or seq_idx.dtype == torch.int32
    step = F.softplus(dt.float() + dt_bias)
    y = ssd(x.float(), step, A, B.float(), C.float(), chunk_size, seq_idx=seq_idx) + x.float() * D[:, None]
    return (y * F.silu(z.float())).to(x.dtype)


def as_causal_conv1d(
    x, weight, bias=None, seq_idx=None, initial_states=None, return_final_states=False, final_states_out=None,
    activation=None,
):  # fmt: skip
    """`causal_conv1d_fn`: x (batch, dim, seqlen), weight (dim, width)."""
    assert activation == "silu"
    assert weight.ndim == 2
    assert seq_idx is None or seq_idx.dtype == torch.int32
    assert bias is not None
    bias = bias.to(x.dtype)
    return F.silu(causal_convolution(x.mT, weight.to(x.dtype)[:, None], bias, seq_idx=seq_idx)).mT


@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize(("autocast", "off"), [(False, 1e-6), (True, 0.02)])
def test_with_the_fused_kernels_it_is_the_same_mixer(monkeypatch, documents, autocast, off):
    mixer, x_BLD = block(), torch.randn(2, 50, 32, generator=generator())
    seq_idx = (torch.arange(50) // 20).expand(2, -1) if documents else None
    plain = mixer(x_BLD, seq_idx=seq_idx)
    monkeypatch.setattr("ablate.model.mamba.fused_scan", lambda device: as_mamba_ssm)
    monkeypatch.setattr("ablate.model.mamba.fused_convolution", lambda device, tokens: as_causal_conv1d)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        fused = mixer(x_BLD, seq_idx=seq_idx)
    assert fused.dtype == (torch.bfloat16 if autocast else torch.float32)
    assert (fused - plain).norm() / plain.norm() < off
    found = [torch.autograd.grad(y.float().sin().sum(), tuple(mixer.parameters())) for y in (fused, plain)]
    for ours, its in zip(*found, strict=True):
        assert (ours - its).norm() / its.norm() < 10 * off
    both = f"{__name__}.as_mamba_ssm and {__name__}.as_causal_conv1d"
    assert mixer.kernel(torch.device("cpu"), 50) == both


def test_a_gpu_gets_the_kernels_that_are_installed(monkeypatch):
    """By the names that they are imported under; without them, and on a CPU, the plain forms."""
    scan, convolution = types.ModuleType("mamba_ssm.ops.triton.ssd_combined"), types.ModuleType("causal_conv1d")
    scan.mamba_chunk_scan_combined = as_mamba_ssm  # pyrefly: ignore
    convolution.causal_conv1d_fn = as_causal_conv1d  # pyrefly: ignore
    for name in ("mamba_ssm", "mamba_ssm.ops", "mamba_ssm.ops.triton"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    for module in (scan, convolution):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    for there in (True, False):
        monkeypatch.setattr(mamba, "HAS_MAMBA_SSM", there)
        monkeypatch.setattr(mamba, "HAS_CAUSAL_CONV1D", there)
        assert mamba.kernel(cuda) is (as_mamba_ssm if there else ssd)
        assert mamba.fused_convolution(cuda, 4) is (as_causal_conv1d if there else None)
        assert mamba.fused_convolution(cuda, 5) is None  # more tokens than it can see
        assert mamba.kernel(cpu) is ssd
