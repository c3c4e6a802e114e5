"""Sums of nats, tokens and bytes; the chunked loss against the plain one."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ablate.data.windows import IGNORED
from ablate.scores import loss
from ablate.scores.loss import implausible, loss_sums, plain_nats
from ablate.scores.metrics import bits_per_byte


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def targets(vocabulary, *shape, masked=0.2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(vocabulary, shape, generator=generator)
    return chosen.masked_fill(torch.rand(shape, generator=generator) < masked, IGNORED)


def sums(hidden_BLD, head_VD, targets_BL, domain_B=None, num_domains=1):
    domain_B = torch.zeros(len(hidden_BLD), dtype=torch.long) if domain_B is None else domain_B
    bytes_V = torch.arange(1, len(head_VD) + 1)
    return loss_sums(hidden_BLD, head_VD, targets_BL, domain_B, bytes_V, num_domains)


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 4), length=st.integers(1, 40), vocabulary=st.integers(2, 50), chunk=st.integers(1, 70))
def test_chunked_is_whole(rows, length, vocabulary, chunk):
    hidden, head = random(rows, length, 8), random(vocabulary, 8, seed=1)
    wanted = targets(vocabulary, rows, length)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss, "LEAST_ROWS", chunk)
        patch.setitem(loss.CHUNK_LOGITS, "cpu", 1)
        total = sums(hidden, head, wanted).total
    whole = plain_nats(hidden.flatten(0, 1), head, wanted.flatten()).sum()
    torch.testing.assert_close(total, whole, rtol=1e-5, atol=1e-5)
    for ours, its in zip(*(torch.autograd.grad(x * 0.3, (hidden, head)) for x in (total, whole)), strict=True):
        torch.testing.assert_close(ours, its, rtol=1e-4, atol=1e-5)


def test_an_evaluation_works_out_no_gradient(monkeypatch):
    hidden, head, wanted = random(2, 9, 8).detach(), nn.Parameter(random(20, 8, seed=1).detach()), targets(20, 2, 9)
    trained = sums(hidden, head, wanted)
    monkeypatch.delattr(loss, "_grad_of_logits")
    with torch.no_grad():
        evaluated = sums(hidden, head, wanted)
    for ours, its in zip(evaluated, trained, strict=True):
        assert torch.equal(ours, its)


def test_sums_by_domain():
    hidden, head, wanted = random(5, 7, 8), random(20, 8, seed=1), targets(20, 5, 7)
    domain_B = torch.tensor([2, 0, 2, 0, 3])
    found = sums(hidden, head, wanted, domain_B, num_domains=4)
    nats_BL = plain_nats(hidden.flatten(0, 1), head, wanted.flatten()).view(5, 7)
    for domain in range(4):
        rows = domain_B == domain
        counted = wanted[rows] != IGNORED
        assert found.nats_S[domain].item() == pytest.approx(nats_BL[rows].sum().item(), rel=1e-5)
        assert found.tokens_S[domain] == counted.sum()
        assert found.bytes_S[domain] == (wanted[rows] + 1)[counted].sum()
    assert found.total.item() == pytest.approx(found.nats_S.sum().item(), rel=1e-6)
    assert found.tokens_S[1] == found.bytes_S[1] == found.nats_S[1] == 0


def test_masked_targets_count_for_nothing():
    hidden, head = random(2, 6, 8), random(20, 8, seed=1)
    found = sums(hidden, head, torch.full((2, 6), IGNORED))
    assert found.total == found.tokens_S.sum() == found.bytes_S.sum() == 0
    assert not any(gradient.any() for gradient in torch.autograd.grad(found.total, (hidden, head)))


def test_rows_may_be_added_up_in_parts():
    hidden, head, wanted = random(4, 6, 8), random(20, 8, seed=1), targets(20, 4, 6)
    whole, first, second = (
        sums(hidden, head, wanted),
        sums(hidden[:1], head, wanted[:1]),
        sums(hidden[1:], head, wanted[1:]),
    )
    for a, b, c in zip(whole[:-1], first, second, strict=False):
        torch.testing.assert_close(a, b + c)
    torch.testing.assert_close(whole.rows_B3, torch.cat([first.rows_B3, second.rows_B3]))
    torch.testing.assert_close(whole.rows_B3.sum(0), torch.stack(whole[1:-1]).sum(1))


def test_nothing_but_the_total_carries_a_gradient():
    found = sums(random(2, 6, 8), random(20, 8), targets(20, 2, 6))
    assert found.total.requires_grad
    assert not any(x.requires_grad for x in found[1:])


def test_without_gradients_the_values_are_the_same():
    hidden, head, wanted = random(2, 6, 8), random(20, 8), targets(20, 2, 6)
    with torch.no_grad():
        assert torch.equal(sums(hidden, head, wanted).nats_S, sums(hidden, head, wanted).nats_S)
        quiet = sums(hidden, head, wanted).total
    assert torch.equal(sums(hidden, head, wanted).total, quiet)
    assert not quiet.requires_grad


def test_a_model_that_copies_its_input_is_not_rewarded():
    """Hidden state = the input token: near-zero loss only if targets were never shifted."""
    vocabulary, tokens_BL = 64, torch.randint(64, (4, 101), generator=torch.Generator().manual_seed(0))
    copies_BLD = nn.functional.one_hot(tokens_BL[:, :-1], vocabulary).float() * 12
    shifted = sums(copies_BLD, torch.eye(vocabulary), tokens_BL[:, 1:])
    leaked = sums(copies_BLD, torch.eye(vocabulary), tokens_BL[:, :-1])
    assert shifted.total / 400 > math.log(vocabulary)
    assert implausible(shifted.total.item(), 400, shifted.bytes_S.sum().item() / 30) is None
    assert leaked.total / 400 < 0.01
    assert "shifted" in str(implausible(leaked.total.item(), 400, leaked.bytes_S.sum().item() / 30))


def test_confident_tokens_keep_their_precision():
    """A probability within 1e-7 of one is not rounded to zero nats, and 200 nats are not infinite."""
    head = torch.eye(2)
    sure = sums(torch.tensor([[[16.0, 0.0]]]), head, torch.tensor([[0]])).total.item()
    wrong = sums(torch.tensor([[[0.0, 200.0]]]), head, torch.tensor([[0]])).total.item()
    assert sure == pytest.approx(math.log1p(math.exp(-16)), rel=0.1)
    assert wrong == pytest.approx(200)


def test_bf16_autocast_is_close():
    hidden, head, wanted = random(4, 50, 32), random(300, 32, seed=1), targets(300, 4, 50)
    exact = sums(hidden, head, wanted).total
    with torch.autocast("cpu", torch.bfloat16):
        rough = sums(hidden, head, wanted).total
    assert rough.item() == pytest.approx(exact.item(), rel=1e-3)
    for ours, its in zip(*(torch.autograd.grad(x, (hidden, head)) for x in (rough, exact)), strict=True):
        assert ours.dtype == torch.float32
        assert (ours - its).norm() < 0.02 * its.norm()


def test_large_vocabularies_never_hold_all_logits():
    """The largest tensor seen in forward and backward is far below tokens x vocabulary."""
    vocabulary, tokens = 20_000, 2048
    hidden, head = random(2, tokens // 2, 8), random(vocabulary, 8, seed=1)

    class Largest(torch.utils._python_dispatch.TorchDispatchMode):
        numel = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            tensors = [x for x in (out if isinstance(out, tuple | list) else [out]) if isinstance(x, torch.Tensor)]
            Largest.numel = max([Largest.numel, *(x.numel() for x in tensors)])
            return out

    with Largest():
        sums(hidden, head, targets(vocabulary, 2, tokens // 2)).total.backward()
    assert Largest.numel <= tokens * vocabulary / 8


def test_bits_per_byte():
    assert bits_per_byte(8 * math.log(2), 4) == pytest.approx(2.0)


@pytest.mark.parametrize("nats", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_named(nats):
    assert "diverged" in str(implausible(nats, 10, 40))


def test_honest_losses_pass():
    assert implausible(10 * 1.2, 10, 40) is None
    assert implausible(0.0, 0, 0) is None
