"""Nothing of a step whose gradient is not finite enters the weights, and no step waits for the device to know it.

    norm of step t ──> bad, on the device: 1 once a norm was NaN or infinite ──> the optimizer changes no weight,
                                                                                and the average takes nothing in
    a row is due, or a checkpoint ──> `why`: the host looks at the norms since it last did, and names the first bad

An optimizer that says `_step_supports_amp_scaling`, as torch's fused ones do, reads `found_inf` in its own kernel. For
any other the run looks before each step. A step with a monitor on waits once in any case: the loss is asked first.
"""

from typing import Any

import torch
from torch import Tensor


class Guard:
    """`late`: whether somebody looks later (`fit.watch`); otherwise each step is looked at before it is taken."""

    def __init__(self) -> None:
        self.late = False
        self.bad: Tensor | None = None  # 0 or 1, float32, where the gradients are
        self.waiting: list[tuple[int, Tensor]] = []  # step and norm

    def see(self, norm: Tensor, step: int, optimizer: Any) -> bool:
        """Take in the norm of a step before it is taken; whether the host must look at once."""
        bad = torch.isfinite(norm).logical_not().float()
        self.bad = bad if self.bad is None else torch.maximum(self.bad, bad)
        self.waiting.append((step, norm))
        optimizer = getattr(optimizer, "optimizer", optimizer)  # Lightning's has torch's inside
        if not (self.late and getattr(optimizer, "_step_supports_amp_scaling", False)):
            return True
        optimizer.found_inf = self.bad
        return False

    def why(self) -> str | None:
        """The first step that was not taken because of its gradient, in words. Waits for the device."""
        waiting, self.waiting = self.waiting, []
        norms = torch.stack([norm for _, norm in waiting]).tolist() if waiting else []
        for (step, _), norm in zip(waiting, norms, strict=True):
            if norm - norm != 0:  # of NaN and of infinity
                return f"the gradient norm is {norm} at step {step}"
        return None
