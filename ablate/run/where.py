"""Where and how a run is carried out: recorded beside it, never part of what it is."""

import dataclasses
from typing import Annotated, Literal

from pydantic import Field

from ablate.run.fields import Count, NonNegative, strict


@strict
class Slurm:
    """What a run asks of a Slurm cluster; empty or 0: what the cluster gives by default."""

    partition: str = ""
    account: str = ""
    minutes: Count = 60  # time limit of one try; a run that needs more is requeued and resumes
    cpus: Annotated[int, Field(ge=0)] = 0  # per process
    gpus: Annotated[int, Field(ge=0)] = 0  # per node
    memory_gb: Annotated[int, Field(ge=0)] = 0  # per node
    at_once: Annotated[int, Field(ge=0)] = 0  # tasks of one array that run together
    options: dict[str, str] = dataclasses.field(default_factory=dict)  # further ones of sbatch


@strict
class Where:
    """Where and how a run is carried out: recorded, never part of what the run is."""

    outputs: Annotated[str, Field(min_length=1)] = "outputs"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    strategy: Literal["single", "ddp", "fsdp", "zero1", "zero2", "zero3"] = "single"
    devices: Count = 1  # processes per node
    nodes: Count = 1
    micro_tokens: Count = 16_384  # tokens per forward pass and device; a larger step is accumulated
    data_workers: Annotated[int, Field(ge=0)] = 0
    executor: Literal["local", "slurm"] = "local"  # who carries out the runs of a sweep
    workers: Annotated[int, Field(ge=0)] = 0  # runs trained at once in a sweep; 0: as many as the GPUs or cores hold
    runs_per_device: Count = 1  # runs of a sweep that share one GPU
    stall_minutes: NonNegative = (
        0.0  # without a step, after which a run is hung (the first may take thrice that); 0: never
    )
    trunks: bool = True  # equal beginnings of runs are trained once
    threads: Annotated[int, Field(ge=0)] = 1  # per process; 0: all cores
    compile: bool = False
    recompute: bool = False  # gradient checkpointing: blocks are computed anew in the backward pass
    deterministic: bool = True
    saves: Count = 8  # checkpoints in a run, evenly spaced
    retries: Annotated[int, Field(ge=0)] = 1  # further tries of a run that was killed, hung or out of memory
    wandb: Literal["online", "offline", "off"] = "offline"
    wandb_project: str = "ablate"
    progress: bool = True
    profile: Literal["off", "simple", "pytorch"] = "off"  # written to the run's folder
    peak_tflops: NonNegative = 0.0  # of the device, for MFU; 0: measured
    dry_run: bool = False  # print the plan of the study and stop
    slurm: Slurm = dataclasses.field(default_factory=Slurm)
    arm: str = ""  # of the study; set by the launcher
    replicate: Annotated[int, Field(ge=0)] = 0  # above 0: the same run once more, in a folder of its own, alone
