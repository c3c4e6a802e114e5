import torch
from hypothesis import given
from hypothesis import strategies as st

from ablate.compress import bits


@given(st.integers(1, 8), st.integers(1, 50), st.integers(0, 2**16), st.integers(1, 4))
def test_numbers_come_back_and_take_no_more_than_their_bits(width, count, seed, parts):
    numbers = torch.randint(2**width, (count,), generator=torch.Generator().manual_seed(seed))
    whole, bits.AT_ONCE = bits.AT_ONCE, 8 * parts  # several parts too
    try:
        stream = bits.packed(numbers, width)
        assert torch.equal(bits.unpacked(stream, width, (count,)).long(), numbers)
    finally:
        bits.AT_ONCE = whole
    assert len(stream) == -(-count * width // 8)


def test_the_lowest_bit_of_the_first_number_comes_first():
    assert bits.packed(torch.tensor([1, 2, 15, 0]), 4).tolist() == [0x21, 0x0F]
    assert bits.packed(torch.tensor([5, 2, 7]), 3).tolist() == [0b11_010_101, 0b1]
