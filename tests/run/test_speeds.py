"""What is told of measured speeds: ratios within rounds, and no word that every round does not bear out."""

import pytest

from ablate.run import speeds, whole


def side(prompt, decode, runtime="onnx", type="int8", **other):
    usual = {"version": "1", "bytes": 1, "own": False, "joules": None}
    return {"runtime": runtime, "type": type, "prompt": prompt, "decode": decode} | usual | other


WIDE = side([100, 200, 100], [10, 20, 10], type="fp32")


def test_a_ratio_is_taken_within_a_round():
    """Of the second round, in which the machine was quick, too: 2, 1.5, 3."""
    assert speeds.ratio(side([200, 300, 300], [10, 10, 10]), WIDE, "prompt") == (2.0, 1.5, 3.0)


@pytest.mark.parametrize(
    ("prompt", "decode", "said"),
    [
        ([101, 201, 101], [11, 21, 11], "faster"),
        ([101, 201, 101], [30, 60, 10], "faster with prompts alone"),
        ([300, 600, 99], [11, 21, 11], "faster at decoding alone"),
        ([300, 600, 100], [30, 60, 9], "smaller, not faster"),
        ([50, 50, 50], [5, 5, 5], "smaller, not faster"),
    ],
)
def test_faster_is_what_was_faster_in_every_round(prompt, decode, said):
    assert speeds.words(side(prompt, decode), WIDE) == said


def test_the_original_is_the_first_side_of_the_same_program():
    torch = side([1], [1], runtime="torch", type="fp32")
    found = {"sides": [torch, WIDE, side([1], [1])]}
    assert speeds.original(found, "onnx") is WIDE
    assert speeds.original(found, "torch") is torch


def test_numbers_that_no_program_computes_with_are_smaller_and_not_faster():
    found = {"sides": [WIDE, side([1] * 3, [1] * 3)]}
    assert speeds.remark(found, "2:4") == "no program here computes with compress.to=2:4: smaller, not faster"
    assert speeds.remark(found, "") == ""
    assert speeds.remark({"sides": [WIDE, side([1] * 3, [1] * 3, own=True)]}, "int4") == ""


def test_joules_are_measured_or_not_there():
    assert speeds.joules(WIDE) is None
    assert speeds.joules(side([1], [1], joules=[0.2, 0.1, 0.4])) == 0.2


def test_what_was_measured_of_weights_is_found_again_unless_it_is_damaged(tmp_path):
    for number, weights in enumerate(("a", "a", "b", "a")):
        path = speeds.path(tmp_path, {"weights_sha256": weights, "threads": number})
        path.parent.mkdir(exist_ok=True)
        whole.write(path, {"weights_sha256": weights, "threads": number, "sides": [WIDE]})
    path.write_text(path.read_text().replace('"threads": 3', '"threads": 4'))
    found = speeds.by_weights(tmp_path)
    assert {weights: {one["threads"] for one in told} for weights, told in found.items()} == {"a": {0, 1}, "b": {2}}
    assert speeds.by_weights(tmp_path / "nowhere") == {}
