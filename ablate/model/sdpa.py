"""Which kernel of a GPU attends: chosen once a process, in torch's own switches, and told for the record.

    FlashAttention-3     a Hopper GPU, and its wheel `flash_attn_interface` is there    repeats where that is asked
    cuDNN                a Hopper GPU or a later one, and kernels need not repeat       its backward pass does not
    as torch chooses     otherwise: FlashAttention-2 first, of bfloat16

torch's FlashAttention-2 reaches a third of a Hopper GPU. In float32 none of these is to be had, and torch takes
another.
"""

import importlib.util

import torch
from torch.nn.attention import (
    SDPBackend,
    activate_flash_attention_impl,
    current_flash_attention_impl,
    restore_flash_attention_impl,
)

FA3_WHEEL, HOPPER = "flash_attn_interface", 9
FLASH, EFFICIENT, MATH = SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH
ORDER = [FLASH, EFFICIENT, MATH, SDPBackend.CUDNN_ATTENTION]  # torch's own


def choose(major: int, deterministic: bool) -> None:
    """For a GPU of that major version. A process that has chosen before may choose again."""
    restore_flash_attention_impl(_raise_warn=False)
    order = ORDER
    if major == HOPPER and importlib.util.find_spec(FA3_WHEEL) is not None:
        activate_flash_attention_impl("FA3")
    elif major >= HOPPER and not deterministic:
        order = [SDPBackend.CUDNN_ATTENTION, *ORDER[:-1]]
    torch._C._set_sdp_priority_order([*map(int, order), int(SDPBackend.OVERRIDEABLE)])  # pyrefly: ignore


def first() -> str:
    """The kernel that is asked first; the next ones are where it cannot."""
    if implementation := current_flash_attention_impl():
        return {"FA3": "FlashAttention-3"}.get(implementation, implementation)
    order = torch._C._get_sdp_priority_order()  # pyrefly: ignore
    return "cuDNN" if SDPBackend(order[0]) == SDPBackend.CUDNN_ATTENTION else "FlashAttention-2"
