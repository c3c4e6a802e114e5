"""Several runs on one GPU: NVIDIA's Multi-Process Service lets their kernels run side by side, not in turns.

Its daemon is started once a machine, before a process first asks for the GPU, and goes on afterwards: other runs may
use it. `echo quit | nvidia-cuda-mps-control` ends it. Where it is not installed, processes take turns as ever.
"""

import shutil
import subprocess

from ablate.run.where import Where

CONTROL = "nvidia-cuda-mps-control"
SECONDS = 20  # until a daemon that does not start is left alone


def start(where: Where) -> bool:
    """Whether it was asked to start; one that runs already says so, and nothing changes."""
    if where.runs_per_device == 1 or where.device == "cpu" or shutil.which(CONTROL) is None:
        return False
    subprocess.run([CONTROL, "-d"], capture_output=True, check=False, timeout=SECONDS)
    return True
