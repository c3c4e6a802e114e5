"""litgpt's own `pretrain.setup`, whole, on batches from a file; run by the Python of `.venv/litgpt`.

    python bench/litgpt_loop.py spec.json       spec: {"batches", "config", "optimizer"}

litgpt wants an older huggingface_hub than transformers 5 does, hence packages of its own, and
nothing of `ablate` here. Prints {"seconds": [...]}, as `bench.loops` does.
"""

import json
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from litgpt import pretrain  # pyrefly: ignore[missing-import]
from litgpt.args import EvalArgs, TrainArgs  # pyrefly: ignore[missing-import]
from litgpt.config import Config  # pyrefly: ignore[missing-import]
from litgpt.data import DataModule  # pyrefly: ignore[missing-import]
from torch.utils.data import DataLoader, Dataset


class Noted(Dataset):
    """Whole batches (rows, tokens); notes when each is asked for."""

    def __init__(self, path: str):
        self.batches_SRT = np.load(path, mmap_mode="r")
        self.begins: list[float] = []

    def __len__(self) -> int:
        return len(self.batches_SRT)

    def __getitem__(self, index: int) -> torch.Tensor:
        self.begins.append(time.perf_counter())
        return torch.from_numpy(self.batches_SRT[index].astype(np.int64))


class Batches(DataModule):
    def __init__(self, path: str):
        super().__init__()
        self.path = path
        self.train = Noted(path)

    def connect(self, *_: Any, **__: Any) -> None:
        """The batches are cut already."""

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.train, batch_size=None)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(Noted(self.path), batch_size=None)


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(1)
    batches = Batches(spec["batches"])
    steps, rows, row_tokens = batches.train.batches_SRT.shape
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(pretrain, "save_checkpoint"),  # after the last step; not measured
    ):
        pretrain.setup(
            model_name="bench",
            model_config=Config(name="bench", **spec["config"]),
            out_dir=Path(folder),
            precision="32-true",
            data=batches,
            train=TrainArgs(
                save_interval=None,
                global_batch_size=rows,
                micro_batch_size=rows,
                max_tokens=steps * rows * (row_tokens - 1),
                max_norm=1.0,
                lr_warmup_steps=2,
                tie_embeddings=True,
            ),
            eval=EvalArgs(interval=steps + 1, max_iters=1, initial_validation=False, final_validation=False),
            optimizer=spec["optimizer"],
            devices=1,
            logger_name="csv",
        )
    begins = batches.train.begins
    print(json.dumps({"seconds": [after - before for before, after in pairwise(begins)]}))


if __name__ == "__main__":
    main()
