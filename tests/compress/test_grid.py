"""Worked examples of every kind of number, and what rounding may lose."""

import pytest
import torch
from compressible import given, random

from ablate.compress.forms import FORMATS, Form
from ablate.compress.grid import rounded, scales

GROUPS = [Form(to, 16, symmetric) for to in FORMATS for symmetric in (True, False) if FORMATS[to].numbers == "int"]


def test_symmetric_integers_by_hand():
    """The largest is -8, and what is as large on the other side is cut off at 7."""
    weight_OI = torch.tensor([[8.0, -1.4, 0.6, 0.4, 1.0, -4.0, 0.3, 3.9]])
    matrix = rounded(weight_OI, Form("int4", 4))
    assert given(matrix.scales.scale_OG).tolist() == [[-1.0, 0.5]]
    assert matrix.number_OI.tolist() == [[-8, 1, -1, 0, 2, -8, 1, 7]]
    assert matrix.weight().tolist() == [[8, -1, 1, 0, 1, -4, 0.5, 3.5]]


def test_integers_with_zeros_by_hand():
    """From -1 to 2 in 3 steps of 1: 2 bits suffice, and nothing is lost."""
    matrix = rounded(torch.tensor([[-1.0, 2.0, 0.0, 1.0]]), Form("int2", 4, symmetric=False))
    assert given(matrix.scales.zero_OG).tolist() == [[1.0]]
    assert matrix.weight().tolist() == [[-1.0, 2.0, 0.0, 1.0]]


def test_fp8_by_hand():
    """448 is the largest e4m3 number; from 256 on they are 32 apart, from 16 on 2, and those below 2^-6 are even."""
    matrix = rounded(torch.tensor([[896.0, 600.0, 35.0, 2**-8 * 1.4]]), Form("fp8", 4))
    assert given(matrix.scales.scale_OG).tolist() == [[2.0]]
    assert matrix.weight().tolist() == [[896.0, 576.0, 36.0, 2**-8]]


@pytest.mark.parametrize("form", GROUPS, ids=str)
def test_no_weight_loses_more_than_half_a_step_of_its_group_but_those_cut_off(form):
    weight_OI = random(6, 64) * torch.logspace(-3, 3, 6)[:, None]
    matrix = rounded(weight_OI, form)
    scale_OG, zero_OG = matrix.scales
    half = 2 ** (form.format.bits - 1)
    code_OI = matrix.number_OI + (half if zero_OG is None else zero_OG.repeat_interleave(16, dim=1))
    assert torch.equal(code_OI, code_OI.round().clamp(0, 2 * half - 1))
    cut_off = (code_OI == 0) | (code_OI == 2 * half - 1)
    step = given(scale_OG).repeat_interleave(16, dim=1).abs()
    assert ((matrix.weight() - weight_OI).abs() <= torch.where(cut_off, 1.0001, 0.5001) * step).all()


@pytest.mark.parametrize("to", FORMATS)
def test_zeros_stay_zeros(to):
    weight_OI = torch.zeros(2, 16)
    weight_OI[1] = random(16)
    lost = rounded(weight_OI, Form(to, 16)).weight()
    assert torch.equal(lost[0], weight_OI[0])
    assert lost.isfinite().all()


def test_a_group_never_exceeds_its_row():
    assert given(scales(random(3, 48), Form("int4", 128)).scale_OG).shape == (3, 1)
    assert given(scales(random(3, 48), Form("int4", 0)).scale_OG).shape == (3, 1)
    assert "48 are not whole groups of 32" in Form("int4", 32).misfit(48)
    assert Form("int4", 128).misfit(48) == ""
    assert "30 are not whole groups of 4" in Form("2:4", 0).misfit(30)


@pytest.mark.parametrize("to", FORMATS)
def test_rounding_again_loses_nothing_more(to):
    first = rounded(random(5, 64), Form(to, 16)).weight()
    assert torch.equal(rounded(first, Form(to, 16)).weight(), first)
