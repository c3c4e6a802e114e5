"""What a GPU proves or refutes in eight minutes: parts with a box of time each, one JSON line for every finding.

    python -m bench gpu            on a GPU: all parts, lines in bench/results/gpu.jsonl as they come
    python -m bench gpu --quick    tiny sizes, on a CPU too: that every part runs; it proves nothing about a GPU

Each part is a process of its own, so a crash, a hang or a full memory ends that part alone; what it has said stays. The
last line lists the parts that failed, and what has never run on a GPU.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.rounds import ROOT, Row

Part = tuple[int, Callable[[bool], None], str]  # seconds, what runs (dry or not), what passes

LINES = ROOT / "bench" / "results" / "gpu.jsonl"
DRY_SECONDS = 300  # of a part on a CPU that others use too


def parts() -> dict[str, Part]:
    """In order; what torch is needed for loads in the part's own process."""
    from bench import gpu_checks, gpu_runs, gpu_speed

    return {
        "ceilings": (20, gpu_speed.ceilings, "bf16 GEMM 750 TFLOP/s, copy 4 TB/s"),
        "losses": (45, gpu_checks.losses, "fp32 within 1e-4 of the CPU, bf16 within 1e-2, over 20 steps"),
        "repeats": (70, gpu_checks.repeats, "the same hash twice and after a stop, for each mixer and precision"),
        "attention": (25, gpu_speed.attention, "the kernel chosen is at least 1.5 times FlashAttention-2"),
        "zagreus": (85, gpu_speed.zagreus, "0.44 B: at least .50 of the peak, compiled"),
        "davinci": (60, gpu_speed.davinci, "3.09 B: at least .55 of the peak, memory within 10 % of the budget"),
        "small": (40, gpu_speed.small, "10 M: at least .35 of the peak; CUDA graphs against none"),
        "whole": (30, gpu_runs.whole, "train_run at least .95 of the bare loop"),
        "start": (30, gpu_runs.start, "a save stalls below 2 s at .44 B"),
        "mamba": (20, gpu_checks.mamba_kernels, "kernels within 1e-3 of the plain form, and quicker"),
        "sweep": (55, gpu_runs.sweep, "20 runs: at least 80 runs an hour of 10 M parameters and 200 M tokens"),
    }


def gpu(quick: bool) -> list[Row]:
    """seconds of each part; its findings are the lines above"""
    dry = quick or not _has_gpu()
    if dry:
        _say({"part": "all", "dry": True, "says": "tiny sizes: that the parts run, and nothing about a GPU"}, None)
    else:
        LINES.unlink(missing_ok=True)
    rows, failed = [], []
    for name, (seconds, _, passes) in parts().items():
        begin = time.monotonic()
        command = [sys.executable, "-u", "-m", "bench.gpu", name, "dry" if dry else "full"]
        ended = run_part(command, DRY_SECONDS if dry else seconds, None if dry else LINES)
        spent = time.monotonic() - begin
        _say({"part": name, "passes_if": passes, "seconds": round(spent, 1), "ended": ended}, None if dry else LINES)
        limit = float(DRY_SECONDS if dry else seconds)
        rows.append(Row("dry" if dry else "GPU", f"{name}, s", [spent], limit, "at most"))
        failed += [] if ended == "well" else [name]
    never = "everything: this was a dry run" if dry else "more than one GPU, FSDP and ZeRO over NCCL, and any other GPU"
    _say({"part": "all", "failed": failed, "never_run_on_a_gpu": never}, None if dry else LINES)
    return rows


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def run_part(command: list[str], seconds: float, path: Path | None) -> str:
    """How the process ended; its lines pass through as they come, and into a file."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    late = threading.Timer(seconds, process.kill)
    late.start()
    last = ""
    assert process.stdout
    for line in process.stdout:
        if line.startswith("{"):
            _say(json.loads(line), path)
        else:
            last = line.strip() or last
    code = process.wait()
    in_time = late.is_alive()
    late.cancel()
    if code == 0:
        return "well"
    return f"failed: {last[:300]}" if in_time else f"not within {seconds} s"


def _say(line: dict[str, Any], path: Path | None) -> None:
    text = json.dumps(line)
    print(text, flush=True)
    if path:
        with path.open("a") as file:
            file.write(text + "\n")


def main() -> None:
    name, how = sys.argv[1:]
    parts()[name][1](how == "dry")


if __name__ == "__main__":
    main()
