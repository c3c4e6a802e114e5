"""A student's distance from its teacher: the chunked form against the plain one, and against trl's numbers."""

import itertools
from typing import Any

import pytest
import torch
from torch import nn

from ablate.data.windows import IGNORED
from ablate.run.distill import Distill
from ablate.scores import divergence, loss
from ablate.scores.divergence import divergence_sums, plain_divergence
from ablate.scores.loss import loss_sums, plain_nats

N, D, E, V = 6, 8, 10, 11  # tokens, widths of student and teacher, vocabulary
TARGETS = torch.tensor([3, IGNORED, 0, 10, IGNORED, 7])
KINDS: list[dict[str, Any]] = [
    {"kind": "forward"},
    {"kind": "reverse"},
    {"kind": "jensen_shannon"},
    {"kind": "jensen_shannon", "beta": 0.1},
]
ALL = {
    f"{kind} {temperature:g} {top_k} {share:g}": Distill(temperature=temperature, top_k=top_k, share=share, **kind)
    for kind, temperature, top_k, share in itertools.product(KINDS, [1.0, 0.7, 3.0], [0, 1, 4], [0.0, 0.3])
    if kind["kind"] != "reverse" or top_k == 0
}
# kind, beta, temperature -> the loss, the norms of its gradients by the hidden states and the head, and one number of
# each: `GKDTrainer.generalized_jsd_loss` of trl 1.16.0 (its beta is 0 and 1 for the first two kinds), reduction="sum",
# on what `case` makes
TRL = [
    ("forward", 0.5, 1.0, 22.063993453979492, 6.961820602416992, 5.7012038230896, 0.10093136131763, 1.0260121822357),
    ("forward", 0.5, 2.0, 7.436481952667236, 2.114549160003662, 1.81573915481567, 0.12227988988161, 0.3650514185428),
    ("reverse", 0.5, 1.0, 21.024063110351562, 6.674625396728516, 8.22451210021972, 0.22336088120937, 0.3226425945758),
    ("reverse", 0.5, 0.7, 33.77761459350586, 11.250362396240234, 14.9616832733154, 0.2228597253561, 0.7356339097023),
    ("jensen_shannon", 0.5, 1.0, 2.377639293670654, 0.2274389863014, 0.2496765851974, 0.0201827529817, 0.000597512931),
    ("jensen_shannon", 0.1, 3.0, 0.287433415651321, 0.0665778294205, 0.0608832538128, 0.0068448004312, 0.009937321767),
    ("jensen_shannon", 0.9, 1.5, 0.758215546607971, 0.1342298537492, 0.1452673822641, 0.0132819926366, 0.001979230670),
]


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def case():
    """Hidden states and head of a student, which carry gradients, and of a teacher."""
    student, head, taught, teacher = (
        random(*shape, seed=i) for i, shape in enumerate(((N, D), (V, D), (N, E), (V, E)))
    )
    return student.requires_grad_(), head.requires_grad_(), taught, teacher


def sums(student, head, taught, teacher, targets_N, asked, domain_B=None, num_domains=1):
    rows = 1 if domain_B is None else len(domain_B)
    whole = (x.view(rows, -1, x.shape[-1]) for x in (student, taught))
    hidden_BLD, taught_BLE = whole
    domain_B = torch.zeros(1, dtype=torch.long) if domain_B is None else domain_B
    bytes_V, targets_BL = torch.arange(1, V + 1), targets_N.view(rows, -1)
    return divergence_sums(hidden_BLD, head, taught_BLE, teacher, targets_BL, domain_B, bytes_V, num_domains, asked)


@pytest.mark.parametrize("chunk", [1, 4, 100])
@pytest.mark.parametrize("asked", ALL.values(), ids=ALL)
def test_chunked_is_plain(asked, chunk, monkeypatch):
    monkeypatch.setattr(loss, "LEAST_ROWS", chunk)
    monkeypatch.setitem(loss.CHUNK_LOGITS, "cpu", 1)
    student, head, taught, teacher = case()
    total = sums(student, head, taught, teacher, TARGETS, asked).total
    plain = plain_divergence(student @ head.T, taught @ teacher.T, TARGETS, asked).sum()
    torch.testing.assert_close(total, plain, rtol=1e-5, atol=1e-5)
    for ours, its in zip(*(torch.autograd.grad(x * 0.3, (student, head)) for x in (total, plain)), strict=True):
        torch.testing.assert_close(ours, its, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kind", "beta", "temperature", "expected", "norm", "of_head", "one", "other"), TRL)
def test_it_is_that_of_trl(kind, beta, temperature, expected, norm, of_head, one, other):
    student, head, taught, teacher = case()
    asked = Distill(kind=kind, beta=beta, temperature=temperature)
    total = sums(student, head, taught, teacher, TARGETS, asked).total
    by_student, by_head = torch.autograd.grad(total, (student, head))
    found = [total, by_student.norm(), by_head.norm(), by_student[3, 2], by_head[4, 1]]
    assert [float(x) for x in found] == pytest.approx([expected, norm, of_head, one, other], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("kind", ["forward", "reverse", "jensen_shannon"])
def test_who_says_what_the_teacher_says_has_nothing_to_learn(kind):
    student, head, *_ = case()
    found = sums(student, head, student.detach(), head.detach(), TARGETS, Distill(kind=kind, temperature=2.0))
    assert abs(float(found.total)) < 1e-5
    assert all(float(gradient.abs().max()) < 1e-6 for gradient in torch.autograd.grad(found.total, (student, head)))


def test_of_the_likeliest_token_alone_it_is_the_cross_entropy_of_that_token():
    student, head, taught, teacher = case()
    found = sums(student, head, taught, teacher, TARGETS, Distill(top_k=1))
    likeliest = (taught @ teacher.T).argmax(-1)
    nats = plain_nats(student, head, likeliest.masked_fill(TARGETS == IGNORED, IGNORED)).sum()
    torch.testing.assert_close(found.total, nats, rtol=1e-5, atol=1e-5)


def test_all_but_the_total_is_of_the_text():
    student, head, taught, teacher = case()
    domain_B = torch.tensor([2, 0, 2])
    found = sums(student, head, taught, teacher, TARGETS, Distill(temperature=2.0, share=0.5), domain_B, 3)
    text = loss_sums(student.view(3, 2, D), head, TARGETS.view(3, 2), domain_B, torch.arange(1, V + 1), 3)
    for ours, its in zip(found[1:], text[1:], strict=True):
        torch.testing.assert_close(ours, its)


def test_rows_of_which_nothing_counts_teach_nothing():
    student, head, taught, teacher = case()
    found = sums(student, head, taught, teacher, torch.full((N,), IGNORED), Distill(share=0.5))
    assert found.total == 0
    assert not any(gradient.any() for gradient in torch.autograd.grad(found.total, (student, head)))


def test_a_teacher_gets_no_gradient():
    student, head, *_ = case()
    taught, teacher = (nn.Parameter(random(*shape)) for shape in ((N, E), (V, E)))
    sums(student, head, taught, teacher, TARGETS, Distill()).total.backward()
    assert taught.grad is None
    assert teacher.grad is None


@pytest.mark.parametrize("kind", ["forward", "reverse", "jensen_shannon"])
def test_what_is_all_but_impossible_is_finite(kind):
    """Logits 200 apart, the other way round for the teacher: no 0 times infinity."""
    student = torch.tensor([[200.0, -200.0]]).requires_grad_()
    found = plain_divergence(student, torch.tensor([[-200.0, 200.0]]), torch.tensor([0]), Distill(kind=kind)).sum()
    taken = divergence_sums(
        student[None],
        torch.eye(2),
        torch.tensor([[[-200.0, 200.0]]]),
        torch.eye(2),
        torch.tensor([[0]]),
        torch.tensor([0]),
        torch.ones(2),
        1,
        Distill(kind=kind),
    ).total
    assert torch.isfinite(found)
    assert float(taken) == pytest.approx(float(found), rel=1e-5)
    assert torch.isfinite(torch.autograd.grad(taken, student)[0]).all()


def test_bf16_autocast_is_close():
    student, head, taught, teacher = case()
    exact = sums(student, head, taught, teacher, TARGETS, Distill()).total
    with torch.autocast("cpu", torch.bfloat16):
        rough = sums(student, head, taught, teacher, TARGETS, Distill()).total
    assert rough.item() == pytest.approx(exact.item(), rel=1e-2)
    for ours, its in zip(*(torch.autograd.grad(x, (student, head)) for x in (rough, exact)), strict=True):
        assert ours.dtype == torch.float32
        assert (ours - its).norm() < 0.02 * its.norm()


def test_large_vocabularies_never_hold_all_logits():
    vocabulary, tokens = 20_000, 2048
    student, head = random(1, tokens, D).requires_grad_(), random(vocabulary, D, seed=1).requires_grad_()
    taught, teacher = random(1, tokens, E), random(vocabulary, E, seed=3)
    largest = [0]

    class Largest(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            tensors = [x for x in (out if isinstance(out, tuple | list) else [out]) if isinstance(x, torch.Tensor)]
            largest[0] = max([largest[0], *(x.numel() for x in tensors)])
            return out

    targets, domain_B, bytes_V = torch.ones(1, tokens, dtype=torch.long), torch.tensor([0]), torch.ones(vocabulary)
    asked = Distill(kind="jensen_shannon", temperature=2.0, top_k=32)
    with Largest():
        divergence_sums(student, head, taught, teacher, targets, domain_B, bytes_V, 1, asked).total.backward()
    assert largest[0] <= tokens * vocabulary / 7


def test_probabilities_that_are_left_out_are_none():
    log_q = divergence.teacher_log_q(random(5, V), Distill(top_k=3))
    assert torch.allclose(log_q.exp().sum(-1), torch.ones(5))
    assert ((log_q.exp() > 0).sum(-1) == 3).all()
