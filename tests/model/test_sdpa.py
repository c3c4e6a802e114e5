"""Which kernel of a GPU is asked first, and that the record names it; the GPU is a pretended one."""

import importlib.util
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.nn import attention

from ablate.model import sdpa
from ablate.model.attention import kernel


@pytest.fixture(autouse=True)
def put_back() -> Iterator[None]:
    order = torch._C._get_sdp_priority_order()  # pyrefly: ignore
    yield
    attention.restore_flash_attention_impl(_raise_warn=False)
    torch._C._set_sdp_priority_order(order)  # pyrefly: ignore


@pytest.fixture
def wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """FlashAttention-3 is installed, and torch registers it."""
    found, handle = importlib.util.find_spec, types.SimpleNamespace(remove=lambda: None)
    asked: Any = lambda name, package=None: object() if name == sdpa.FA3_WHEEL else found(name, package)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", asked)
    monkeypatch.setitem(attention._registry._FLASH_ATTENTION_IMPLS, "FA3", lambda: handle)
    monkeypatch.setitem(sys.modules, sdpa.FA3_WHEEL, types.ModuleType(sdpa.FA3_WHEEL))


@pytest.mark.parametrize(
    ("major", "deterministic", "first"),
    [
        (8, False, "FlashAttention-2"),
        (9, True, "FlashAttention-2"),  # cuDNN's backward pass does not repeat
        (9, False, "cuDNN"),
        (10, False, "cuDNN"),
    ],
)
def test_without_the_wheel(major, deterministic, first):
    sdpa.choose(major, deterministic)
    assert sdpa.first() == first
    assert kernel(torch.device("cuda"), 4096) == f"scaled_dot_product_attention, {first} first"
    assert kernel(torch.device("cpu"), 64) == "attention in blocks of queries"


@pytest.mark.parametrize(
    ("major", "deterministic", "first"),
    [(9, True, "FlashAttention-3"), (9, False, "FlashAttention-3"), (10, False, "cuDNN")],
)
def test_with_the_wheel(wheel, major, deterministic, first):
    sdpa.choose(major, deterministic)
    assert sdpa.first() == first


def test_the_next_run_of_a_process_chooses_anew(wheel):
    sdpa.choose(9, False)
    sdpa.choose(10, False)
    sdpa.choose(8, True)
    assert sdpa.first() == "FlashAttention-2"
    assert torch._C._get_sdp_priority_order() == [1, 2, 0, 3, 4]  # pyrefly: ignore
