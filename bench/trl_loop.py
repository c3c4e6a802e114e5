"""trl's own trainers on rows from a file; run by the Python of `.venv/trl`, or the one that ABLATE_TRL names.

    python bench/trl_loop.py spec.json     spec: {"kind": dpo | dpo_kept | sft, "model", "rows", "batch", "steps", "lr"}

`dpo_kept` works out what the start thinks of all pairs before the first step, as ours does; `dpo` asks it at every
step, as is usual. Nothing of `ablate` here. Prints {"seconds": [...]}, as `bench.loops` does.
"""

import json
import os
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.pop(0)  # this folder

import torch
from datasets import Dataset  # pyrefly: ignore[missing-import]
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer  # pyrefly: ignore[missing-import]


class Clock(TrainerCallback):
    def __init__(self) -> None:
        self.begins: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.begins.append(time.perf_counter())


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(1)
    tokenizer: Any = AutoTokenizer.from_pretrained(spec["model"])
    tokenizer.pad_token = tokenizer.eos_token
    rows = [json.loads(line) for line in Path(spec["rows"]).read_text().splitlines()]
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        lean: dict[str, Any] = {
            "output_dir": folder,
            "per_device_train_batch_size": spec["batch"],
            "max_steps": spec["steps"],
            "optim": "adamw_torch_fused",
            "learning_rate": spec["lr"],
            "max_length": None,
            "use_cpu": True,
            "bf16": False,
            "gradient_checkpointing": False,
            "report_to": "none",
            "logging_strategy": "no",
            "save_strategy": "no",
            "disable_tqdm": True,
        }
        given: dict[str, Any] = {"processing_class": tokenizer, "callbacks": [clock]}
        model = AutoModelForCausalLM.from_pretrained(spec["model"])
        if spec["kind"] == "sft":
            pairs = [{"prompt": row["prompt"], "completion": row["chosen"]} for row in rows]
            SFTTrainer(model, SFTConfig(**lean), train_dataset=Dataset.from_list(pairs), **given).train()
        else:
            arguments = DPOConfig(**lean, beta=0.1, precompute_ref_log_probs=spec["kind"] == "dpo_kept")
            DPOTrainer(model, args=arguments, train_dataset=Dataset.from_list(rows), **given).train()
    print(json.dumps({"seconds": [after - before for before, after in pairwise(clock.begins)]}))


if __name__ == "__main__":
    main()
