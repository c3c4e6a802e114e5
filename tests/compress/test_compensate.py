"""GPTQ and SparseGPT against the same written slowly, and on inputs that nothing can be learnt from."""

import pytest
import torch
from compressible import error, gram, random

from ablate.compress import compensate
from ablate.compress.compensate import compensated
from ablate.compress.forms import Form
from ablate.compress.grid import Scales, numbers, rounded, scales
from ablate.compress.methods import METHODS


def slowly(weight_OI, gram_II, form):
    """Optimal Brain Surgeon as it is derived: after each column H loses it, and is inverted anew."""
    rest, done = weight_OI.double().clone(), torch.zeros_like(weight_OI)
    hessian = gram_II + compensate.DAMPING * gram_II.diagonal().mean() * torch.eye(len(gram_II)).double()
    group, kept, found = form.columns(weight_OI.shape[1]), torch.empty(0), Scales(None, None)
    for j in range(weight_OI.shape[1]):
        inverse = hessian[j:, j:].inverse()
        if j % group == 0:
            found = scales(rest[:, j : j + group], form._replace(group=0))
        if form.format.sparse and j % 4 == 0:
            # What it costs to lose a weight when all that follow make up for it
            cost = torch.stack([rest[:, k].square() / hessian[k:, k:].inverse()[0, 0] for k in range(j, j + 4)], dim=1)
            kept = torch.zeros(cost.shape, dtype=torch.bool).scatter(1, cost.topk(2).indices, True)
        value = numbers(rest[:, j : j + 1].float(), form, found)[:, 0]
        value = value if found.scale_OG is None else value * found.scale_OG[:, 0]
        done[:, j] = value * kept[:, j % 4] if form.format.sparse else value
        lost = (rest[:, j] - done[:, j]) / inverse[0, 0]
        rest[:, j:] -= lost[:, None] * inverse[0]
    return done


@pytest.mark.parametrize(
    "form",
    [
        Form("int3", 16),
        Form("int4", 24),
        Form("int4", 0, symmetric=False),
        Form("fp8", 16),
        Form("2:4"),
        Form("2:4-int4", 16),
    ],
    ids=str,
)
@pytest.mark.parametrize("inputs", [48, 192])
def test_one_pass_is_optimal_brain_surgeon(form, inputs):
    weight_OI, gram_II = random(12, inputs), gram(inputs)
    ours, theirs = compensated(weight_OI, gram_II, form).weight(), slowly(weight_OI, gram_II, form)
    # A number that lies in the middle of two may be rounded the other way, and all after it differ
    same = (ours - theirs).abs() < 1e-4
    assert same.float().mean() > 0.97
    assert error(ours, weight_OI, gram_II) == pytest.approx(error(theirs, weight_OI, gram_II), rel=0.05)


@pytest.mark.parametrize("form", [Form("int4", 8), Form("int3", 8, symmetric=False), Form("2:4-int4", 8)], ids=str)
def test_with_outputs_it_is_optimal_brain_surgeon_of_all_weights_at_once(form, monkeypatch):
    """Row behind row as one long vector, whose H is that of outputs times that of inputs, when rows go one by one."""
    weight_OI, gram_II, gram_OO = random(6, 16), gram(16), gram(6, seed=5)
    monkeypatch.setattr(compensate, "ROWS", 1)
    outer = compensate.damped(gram_OO, compensate.OUTPUT_DAMPING)
    whole = torch.kron(outer, compensate.damped(gram_II))
    monkeypatch.setattr(compensate, "DAMPING", 0.0)
    theirs = slowly(weight_OI.reshape(1, -1), whole, form).view(6, 16)
    monkeypatch.undo()
    monkeypatch.setattr(compensate, "ROWS", 1)
    assert torch.allclose(compensated(weight_OI, gram_II, form, gram_OO).weight(), theirs, atol=1e-4)


def test_outputs_that_make_up_for_one_another_lose_less():
    """tr(G E H E^T), the more rows go one by one the less; without G between them outputs are as they were."""
    weight_OI, gram_II, gram_OO = random(64, 64), gram(), gram(seed=7)

    def lost(made):
        lost_OI = (made.weight() - weight_OI).double()
        return float((gram_OO @ lost_OI @ gram_II @ lost_OI.T).trace())

    form = Form("int4", 16)
    alone, together = (compensated(weight_OI, gram_II, form, given) for given in (None, gram_OO))
    assert lost(together) < 0.8 * lost(alone)
    assert error(alone.weight(), weight_OI, gram_II) < error(together.weight(), weight_OI, gram_II)
    alike = compensated(weight_OI, gram_II, form, torch.eye(64))
    assert torch.equal(alike.weight(), alone.weight())


@pytest.mark.parametrize("to", ["int4", "int3", "fp8"])
def test_gptq_changes_the_outputs_less_than_rounding(to):
    weight_OI, gram_II = random(32, 64), gram()
    least = error(rounded(weight_OI, Form(to, 16)).weight(), weight_OI, gram_II)
    assert error(compensated(weight_OI, gram_II, Form(to, 16)).weight(), weight_OI, gram_II) < 0.35 * least


def test_of_2_to_4_sparsegpt_loses_least_and_wanda_less_than_magnitude():
    weight_OI, gram_II = random(32, 64), gram()
    lost = {
        name: error(METHODS[name].made(weight_OI, gram_II, Form("2:4")).weight(), weight_OI, gram_II)
        for name in ("magnitude", "wanda", "sparsegpt")
    }
    assert lost["sparsegpt"] < 0.35 * lost["magnitude"]
    assert lost["sparsegpt"] < lost["wanda"] < lost["magnitude"]


@pytest.mark.parametrize("form", [Form("int4", 16), Form("2:4"), Form("2:4-int4", 16)], ids=str)
def test_inputs_that_say_nothing_leave_plain_rounding(form):
    weight_OI = random(8, 64)
    plain = rounded(weight_OI, form, kept_OI=METHODS["magnitude"].made(weight_OI, None, form).kept_OI)
    plain = plain if form.format.sparse else rounded(weight_OI, form)
    for gram_II in (torch.zeros(64, 64).double(), torch.eye(64).double()):
        assert torch.equal(compensated(weight_OI, gram_II, form).weight(), plain.weight())


def test_a_dead_column_is_rounded_and_helps_no_other():
    weight_OI, gram_II = random(8, 64), gram()
    gram_II[5], gram_II[:, 5] = 0, 0
    there = compensated(weight_OI, gram_II, Form("int8", 0)).weight()
    assert torch.equal(there[:, 5], rounded(weight_OI, Form("int8", 0)).weight()[:, 5])
    weight_OI[:, 5] = 0
    without = compensated(weight_OI, gram_II, Form("int8", 0)).weight()
    others = [column for column in range(64) if column != 5]
    assert torch.equal(there[:, others], without[:, others])


def test_one_token_is_enough_to_be_clear():
    """H of rank 1: what that one input gives is all but kept."""
    weight_OI, x_I = random(8, 64), random(64, seed=3).double()
    gram_II = torch.outer(x_I, x_I)
    there = compensated(weight_OI, gram_II, Form("int4", 16)).weight()
    assert there.isfinite().all()
    plain = rounded(weight_OI, Form("int4", 16)).weight()
    assert error(there, weight_OI, gram_II) < 0.1 * error(plain, weight_OI, gram_II)


@pytest.mark.parametrize("to", ["int8", "int4", "int3", "fp8"])
def test_weights_that_are_on_the_grid_already_stay(to):
    weight_OI = rounded(random(8, 64), Form(to, 16)).weight()
    assert torch.equal(compensated(weight_OI, gram(), Form(to, 16)).weight(), weight_OI)
