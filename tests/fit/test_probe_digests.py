"""Digests of tensors: of few numbers by all bytes, of many by a sum of bits that any change moves."""

import hashlib

import pytest
import torch

from ablate.fit import probe
from ablate.fit.probe import digest

SIZES = [(), (3,), (40, 50), (1, 1000)]
TYPES = [torch.float32, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool]


@pytest.fixture(params=[8, 2**20], ids=["many", "few"])
def many(request, monkeypatch):
    """Of more than 8 numbers bits are summed, 16 at a time; or all bytes are hashed."""
    monkeypatch.setattr(probe, "MANY", request.param)
    monkeypatch.setattr(probe, "SUMMED", 16)
    probe._weights.cache_clear()
    yield
    probe._weights.cache_clear()


def numbers(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randint(0, 100, shape, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.mark.parametrize("dtype", TYPES)
def test_a_digest_repeats_and_is_of_a_type_and_a_shape(many, dtype):
    whole = numbers((40, 50), dtype)
    assert digest([whole]) == digest([whole.clone()]) == digest([whole.t().contiguous().t()])
    assert digest([whole]) != digest([whole.flatten()])
    assert digest([whole]) != digest([whole.to(torch.float16)])
    assert digest([whole, whole]) != digest([whole])


@pytest.mark.parametrize("place", [0, 15, 16, 999])
def test_any_number_that_changes_is_seen(many, place):
    one = numbers((1000,))
    for changed in (one[place] + 1e-4, -one[place] - 1.0, one[place] * 2 + 1):
        other = one.clone()
        other[place] = changed
        assert digest([other]) != digest([one])


def test_zero_and_minus_zero_differ(many):
    assert digest([torch.zeros(100)]) != digest([-torch.zeros(100)])


def test_numbers_that_change_places_are_seen(many):
    """Exchanged beside each other, sixteen apart (the same place of another part), and parts as wholes."""
    one = torch.arange(96, dtype=torch.float32)
    found = {digest([one]), digest([one.roll(1)]), digest([one.flip(0)]), digest([one.roll(16)])}
    for first, second in ((3, 4), (3, 19)):
        other = one.clone()
        other[[first, second]] = one[[second, first]]
        found.add(digest([other]))
    assert len(found) == 6


@pytest.mark.parametrize("shape", SIZES)
def test_few_numbers_have_the_digest_of_its_bytes(shape):
    """As it had in the records of earlier versions."""
    one = numbers(shape)
    told = hashlib.blake2b(f"torch.float32 {shape} ".encode() + one.numpy().tobytes(), digest_size=8)
    assert digest([one]) == told.hexdigest()
