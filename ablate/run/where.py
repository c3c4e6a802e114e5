"""Where and how a run is carried out: recorded beside it, never part of what it is."""

import dataclasses
from typing import Annotated, Literal

from pydantic import Field

from ablate.run.fields import (
    Address,
    Count,
    Label,
    Line,
    Moment,
    Moves,
    NonNegative,
    NotNegative,
    Option,
    Positive,
    Project,
    Variable,
    strict,
)


@strict
class Slurm:
    """What a run asks of a Slurm cluster; empty or 0: what the cluster gives by default."""

    partition: Line = ""  # queue of the jobs
    account: Line = ""  # who pays
    minutes: Count = 60  # time limit of one try; a run that needs more is requeued and resumes
    cpus: NotNegative = 0  # cores of a process
    gpus: NotNegative = 0  # GPUs of a node
    memory_gb: NotNegative = 0  # memory of a node, in GB
    at_once: NotNegative = 0  # tasks of one array that run together
    options: dict[Option, Line] = dataclasses.field(default_factory=dict)  # further options of sbatch: {qos: low}
    # Lines of the batch script before the run: [module load cuda]
    setup: list[Line] = dataclasses.field(default_factory=list)


@strict
class Where:
    """Where and how a run is carried out: recorded, never part of what the run is."""

    outputs: Annotated[Line, Field(min_length=1)] = "outputs"  # folder of data, runs, trunks and studies
    # Where finished runs are put and looked for, s3://bucket/lab or what else fsspec knows; it must be there already
    store: Address = ""
    device: Annotated[Literal["auto", "cpu", "cuda"], Moves("machine")] = "auto"  # auto: a GPU where there is one
    # How several processes share a run: copies (ddp), or optimizer (zero1), gradients (zero2) and parameters
    # (zero3, fsdp) in parts
    strategy: Annotated[Literal["single", "ddp", "fsdp", "zero1", "zero2", "zero3"], Moves("split")] = "single"
    devices: Annotated[int, Field(ge=1, le=1024), Moves("split")] = 1  # processes per node
    nodes: Annotated[int, Field(ge=1, le=2**16), Moves("split")] = 1  # machines that share a run
    # Tokens per forward pass and device; a larger step is accumulated. 0: as many as the memory of a GPU holds
    # (`model.budget.micro_tokens`), 16,384 on a CPU and of a ternary model, which cut otherwise is another run
    micro_tokens: Annotated[int, Field(ge=0, le=2**32), Moves("split")] = 16_384
    data_workers: Annotated[int, Field(ge=0, le=256)] = 0  # processes that read rows ahead; 0: the run itself
    # Who carries out the runs of a sweep: processes of this machine, jobs of Slurm, or a command of yours a run
    executor: Literal["local", "slurm", "command"] = "local"
    # A line of your shell that has a run carried out on any machine that sees `outputs`: ssh node {quoted}. It may wait
    # for the run or return at once. {run}: a command; {quoted}: that as one word; {file}: its argument; {id}, {name}
    command: Line = ""
    workers: Annotated[int, Field(ge=0, le=4096)] = (
        0  # runs trained at once in a sweep; 0: as many as the GPUs or cores hold
    )
    runs_per_device: Annotated[int, Field(ge=1, le=256)] = 1  # runs of a sweep that share one GPU
    # Minutes without a step, after which a run is hung (the first may take thrice that); 0: never
    stall_minutes: NonNegative = 0.0
    trunks: bool = True  # equal beginnings of runs are trained once
    threads: Annotated[int, Field(ge=0, le=1024), Moves("numerics")] = 1  # of a process; 0: its part of the cores
    tf32: Annotated[bool, Moves("numerics")] = False  # a GPU rounds what float32 products take in to TF32
    compile: Annotated[bool, Moves("kernels")] = False  # compile blocks and loss with torch.compile
    # Of compiled blocks a GPU is given CUDA graphs, not kernel after kernel: for models below 30 M parameters
    graphs: Annotated[bool, Moves("kernels")] = False
    # Gradient checkpointing: blocks are computed anew in the backward pass, to the same bits. selective: all but their
    # products with weights and fused attention, which are kept
    recompute: Annotated[bool | Literal["selective"], Moves("split")] = False
    deterministic: Annotated[bool, Moves("numerics")] = True  # only kernels that repeat to the bit
    saves: Annotated[int, Field(ge=1, le=10_000)] = 8  # checkpoints in a run, evenly spaced
    save_minutes: NonNegative = 20.0  # another one where the last is so old; 0: only those
    # The last ones are kept while a run trains: where the newest is damaged, the run goes on from the one before
    checkpoints: Annotated[int, Field(ge=1, le=10_000)] = 2
    # Weights kept on the way, to be asked later (`ablate evaluate --steps`): of so many evaluations that divide the
    # run evenly, or a list of moments
    keep: NotNegative | list[Moment] = 0
    # Leave the state after the last step as a trunk, so that a longer run goes on from it (`ablate runs extend`)
    keep_last: bool = False
    # Further tries of a run that was killed, hung or out of memory, since it last saved further steps
    retries: Annotated[int, Field(ge=0, le=1000)] = 1
    # Minutes that one process of a run waits for the others before it gives up
    wait_minutes: Positive = 30.0
    wandb: Literal["online", "offline", "off"] = "offline"  # mirror of the records at Weights & Biases
    wandb_project: Project = "ablate"  # the project of that mirror
    wandb_entity: Line = ""  # whose project: a user or a team; empty: yours
    wandb_tags: list[Label] = dataclasses.field(default_factory=list)  # by which its runs are found
    wandb_notes: Line = ""  # about its runs
    wandb_system: bool = False  # mirror what the machine does too: memory, load, GPUs
    wandb_alerts: bool = False  # W&B writes to you when a run diverges or raises, and of a study's verdict
    progress: bool = True  # print how a run goes on
    # Callbacks of yours, my_module:MyCallback, found in the current folder or on PYTHONPATH (`fit.callbacks`)
    callbacks: list[str] = dataclasses.field(default_factory=list)
    gradient_norms: bool = False  # by layer, before clipping, in every row of the training
    profile: Literal["off", "simple", "pytorch"] = "off"  # where time goes, written to the folder of the run
    peak_tflops: NonNegative = 0.0  # of the device, for MFU; 0: measured
    price: NonNegative = 0.0  # of a device for an hour, in your currency: a plan says what it will cost; 0: it does not
    # Print the plan of the run or the study, and stop: nothing is trained. The text of a study is prepared, because the
    # ids of its runs depend on it; that of a single run, or what a hub would have to send, is not looked at
    dry_run: bool = False
    # Modules of yours that add parts (mixers, schedule shapes, ...): found in the current folder or on PYTHONPATH
    imports: list[str] = dataclasses.field(default_factory=list)
    # Variables of the processes that train: {NCCL_DEBUG: INFO}
    environment: dict[Variable, Line] = dataclasses.field(default_factory=dict)
    slurm: Slurm = dataclasses.field(default_factory=Slurm)
    arm: Line = ""  # name of the arm; set by the launcher
    # n-th repeat of an identical run, to prove that it repeats bit for bit; it never shares trunks; 0: the run itself
    replicate: NotNegative = 0
