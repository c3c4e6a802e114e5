"""AdamW with moments of 8 bits: a quarter of the memory (Dettmers et al. 2022, arXiv 2110.02861).

Each block of 256 values is divided by its largest and rounded to the nearest of 256 numbers that lie
closer together near 0. bitsandbytes does it, on GPUs and CPUs; torchao's form compiles itself for half
a minute before the first step on a CPU and takes three times as long for each (DECISIONS.md).
"""

import logging
from typing import Any

import torch
from torch.optim.optimizer import Optimizer

logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)  # of 4-bit kernels, not used here

from bitsandbytes.optim import AdamW8bit as _AdamW8bit  # noqa: E402

TABLES = ("qmap1", "qmap2")  # the 256 numbers, signed and unsigned: constants, the same for all parameters


class AdamW8bit(_AdamW8bit):
    """A state of plain tensors; what does not decay (norms, A_log, D, dt_bias) keeps moments of 32 bits."""

    def get_config(self, gindex: int, pindex: int, group: dict[str, Any]) -> dict[str, Any]:
        return super().get_config(gindex, pindex, group) | ({} if group["decays"] else {"optim_bits": 32})

    def state_dict(self) -> dict[str, Any]:
        """Without the tables; theirs would hide the quantised tensors in a dict, for the sake of FSDP."""
        state = Optimizer.state_dict(self)
        kept = {
            index: {name: value for name, value in values.items() if name not in TABLES}
            for index, values in state["state"].items()
        }
        return state | {"state": kept}

    def load_state_dict(self, state_dict: dict[str, Any], move_to_device: bool = True) -> None:
        super().load_state_dict(state_dict, move_to_device)
        for values in self.state.values():
            if values["state1"].dtype == torch.uint8:
                for table, name in zip(TABLES, ("dynamic", "udynamic"), strict=True):
                    self.name2qmap[name] = self.name2qmap[name].to(values["state1"].device)
                    values[table] = self.name2qmap[name]
