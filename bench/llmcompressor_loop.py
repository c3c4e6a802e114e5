"""llm-compressor's methods on a folder of transformers; run by the Python that ABLATE_LLMCOMPRESSOR names.

    python bench/llmcompressor_loop.py spec.json     spec: {"model", "calibration", "rows", "group", "recipes"}

Nothing of `ablate` here. Prints {recipe: nats of the rows}; `whole` is the model as it is.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.pop(0)  # this folder

import torch
from datasets import Dataset  # pyrefly: ignore[missing-import]
from llmcompressor import oneshot  # pyrefly: ignore[missing-import]
from llmcompressor.modifiers.pruning import SparseGPTModifier  # pyrefly: ignore[missing-import]
from llmcompressor.modifiers.quantization import (  # pyrefly: ignore[missing-import]
    GPTQModifier,
    QuantizationModifier,
)
from transformers import AutoModelForCausalLM


def modifiers(group: int) -> dict[str, Callable[[], Any]]:
    weights = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": group}
    four = {"group_0": {"targets": ["Linear"], "weights": weights}}
    heads = {"ignore": ["lm_head"]}
    return {
        "round": lambda: QuantizationModifier(config_groups=four, **heads),
        "gptq": lambda: GPTQModifier(config_groups=four, **heads),
        "sparsegpt": lambda: SparseGPTModifier(sparsity=0.5, mask_structure="2:4", targets=["Linear"], **heads),
    }


@torch.no_grad()
def nats(model: Any, rows: torch.Tensor) -> float:
    found = 0.0
    for part in rows.split(8):
        logits = model(part[:, :-1]).logits.flatten(0, 1).float()
        found += float(torch.nn.functional.cross_entropy(logits, part[:, 1:].flatten(), reduction="sum"))
    return found


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(1)
    given = [{"input_ids": row, "attention_mask": [1] * len(row)} for row in spec["calibration"]]
    rows, length = torch.tensor(spec["rows"]), len(spec["calibration"][0])
    model = AutoModelForCausalLM.from_pretrained(spec["model"], dtype=torch.float32)
    found = {"whole": nats(model, rows)}
    for name in spec["recipes"]:
        model = AutoModelForCausalLM.from_pretrained(spec["model"], dtype=torch.float32)
        how = {"recipe": [modifiers(spec["group"])[name]()], "max_seq_length": length}
        oneshot(model=model, dataset=Dataset.from_list(given), num_calibration_samples=len(given), **how)
        found[name] = nats(model, rows)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
