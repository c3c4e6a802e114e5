"""What a run ran on: commit, versions, hardware. Recorded, never hashed into an id.

environment()    {"commit": "22af9a3...", "python": "3.11.2", "processor": "...", "packages": {"torch": ...}, ...}
"""

import functools
import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

# Beginnings of the names of environment variables by which libraries choose kernels, types and orders of addition
NUMERIC = (
    "OMP_",
    "MKL_",
    "ONEDNN_",
    "DNNL_",
    "ATEN_",
    "TORCH_",
    "PYTORCH_",
    "CUDA_",
    "CUBLAS_",
    "CUDNN_",
    "NVIDIA_TF32_",
)
# Of these, which device and how many threads a process gets is recorded as it came to be
ELSEWHERE = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
PACKAGES = ("ablate", "torch", "lightning", "numpy", "tokenizers", "safetensors", "deepspeed", "mamba-ssm")


@functools.cache
def boot() -> str:
    """This machine since it was started, and which of its processes can be seen from here: no two machines of one name,
    and no two containers of one machine, have the same."""
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"


def environment() -> dict[str, Any]:
    """Commit, versions and machine; what may explain a drift between two runs of one id."""
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "packages": {name: version for name in PACKAGES if (version := package_version(name))},
        "variables": numeric_variables(),
    }


def numeric_variables() -> dict[str, str]:
    """Environment variables that may move numbers, by name; none that holds a path."""
    found = {name: value for name, value in sorted(os.environ.items()) if name.startswith(NUMERIC)}
    return {name: value for name, value in found.items() if name not in ELSEWHERE and os.sep not in value}


def commit() -> str | None:
    """Of the clone that this code is in; None of a package that is installed, which has its version."""
    clone = Path(__file__).parents[2]  # not any repository around: of an environment within the user's own project
    if not (clone / ".git").exists() or not shutil.which("git"):
        return None
    git = ["git", "-C", str(clone), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or None


def changes() -> str:
    """What the clone holds that its commit does not, as a patch of the files that git knows. The clone is dirty."""
    clone = Path(__file__).parents[2]
    git = ["git", "-C", str(clone), "diff", "--no-color", "--no-ext-diff", "--binary", "HEAD"]
    return subprocess.run(git, capture_output=True, text=True, check=False, errors="replace").stdout


def package_version(package: str) -> str | None:
    """Of an installed package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """Name of the CPU's model."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
