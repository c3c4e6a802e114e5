"""The loops that are compared, each alone in a process: `python -m bench.loops ours nano fp32 40`.

    ours    the whole of `train_run`: Lightning, watch, saver, record
    untraced   ours, without the trace of what it takes in
    bare    the same module, loss, optimizer and batches in the shortest loop that trains the same weights
    hf      transformers' Trainer on LlamaForCausalLM of the same shape

Prints {"seconds": [...]}, the duration of every step but the last: from one batch to the next, with
all that a loop does in between. `litgpt` has packages of its own: `bench/litgpt_loop.py`.
"""

import json
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset

from ablate.data.tokens import prepare_for
from ablate.fit import optimizer as optimizers
from ablate.fit import run
from ablate.fit.checkpoint import sha256
from ablate.fit.objectives import OBJECTIVES
from ablate.model.convert import config_to_hf
from ablate.model.language import LanguageModel, build
from ablate.run.identity import record_name
from ablate.run.record import run_record
from ablate.run.settings import Settings
from bench import cases

Report = dict[str, Any]


class Clock(L.Callback):
    """The last callback of a run: notes when each step's batch was there, and when the step was over."""

    def __init__(self) -> None:
        self.begins: list[float] = []
        self.ends: list[float] = []

    # pyrefly: ignore[bad-override]
    def on_train_batch_start(self, *_: Any) -> None:
        self.begins.append(time.perf_counter())

    # pyrefly: ignore[bad-override]
    def on_train_batch_end(self, *_: Any) -> None:
        self.ends.append(time.perf_counter())


def ours(one: Settings) -> Report:
    """`train_run` as a user runs it, with a clock among its callbacks."""
    result = watched(one, clock := Clock())
    waiting = [begin - end for end, begin in zip(clock.ends[:-1], clock.begins[1:], strict=True)]
    return {"seconds": differences(clock.begins), "waiting": waiting, "weights": result["weights_sha256"]}


def watched(one: Settings, callback: L.Callback) -> dict[str, Any]:
    """The result of `train_run`, with one more callback, the last."""
    trainer = run.trainer_of
    with mock.patch.object(run, "trainer_of", lambda s, record, callbacks: trainer(s, record, [*callbacks, callback])):
        corpus = prepare_for(one)
        return run.train_run(one, corpus, run_record(one.where.outputs, record_name(one, corpus.fingerprint)))


def untraced(one: Settings) -> Report:
    """Ours without its trace: what `fit.trace` costs."""
    with mock.patch.object(run, "Trace", return_value=L.Callback()):
        return ours(one)


def bare(one: Settings) -> Report:
    """No framework: what the same training costs by itself."""
    steps = cases.steps_of_run(one)
    table, factors = steps.order.timeline.table, steps.order.timeline.layer_factors
    bytes_per_token = torch.zeros(one.data.vocabulary, dtype=torch.int32)
    model = build(one.model, one.size, one.data.vocabulary, one.seed)
    optimizer = optimizers.build(model, one.optimizer)
    begins = []
    for number in range(one.steps):
        begins.append(time.perf_counter())
        batch = steps[number]
        optimizers.set_rates(optimizer, table[number], factors[number])
        optimizer.zero_grad()
        sums = OBJECTIVES[one.objective](one)(model, batch, bytes_per_token, len(one.data.domains))
        (sums.total / one.step_tokens).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), one.optimizer.clip)
        optimizer.step()
    return {"seconds": differences(begins), "weights": sha256(model.state_dict())}


class HFBatches(Dataset):
    """The batches of `Steps` under transformers' names; notes when each is asked for."""

    def __init__(self, one: Settings):
        self.steps = cases.steps_of_run(one)
        self.begins: list[float] = []

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        self.begins.append(time.perf_counter())
        # Its models shift the labels themselves: they lose one token of 256.
        tokens_BL = self.steps[index].tokens_BL
        return {"input_ids": tokens_BL, "labels": tokens_BL}


def hf(one: Settings) -> Report:
    """transformers' Trainer at its leanest: whole batches handed over, no logging, no cache, sdpa."""
    from transformers import LlamaForCausalLM, Trainer, TrainingArguments

    with torch.device("meta"):
        config = config_to_hf(LanguageModel(one.model, one.size, one.data.vocabulary))
    config.use_cache, config._attn_implementation = False, "sdpa"
    batches = HFBatches(one)

    class WholeBatches(Trainer):
        def get_train_dataloader(self) -> DataLoader:
            return DataLoader(batches, batch_size=None)

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=one.step_tokens // cases.LENGTH,
            max_steps=one.steps,
            optim="adamw_torch_fused",
            learning_rate=one.optimizer.lr,
            weight_decay=one.optimizer.weight_decay,
            adam_beta2=one.optimizer.betas[1],
            max_grad_norm=one.optimizer.clip,
            use_cpu=True,
            report_to="none",
            logging_strategy="no",
            save_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        WholeBatches(LlamaForCausalLM(config), arguments, train_dataset=batches).train()  # pyrefly: ignore
    return {"seconds": differences(batches.begins)}


def differences(moments: list[float]) -> list[float]:
    return [after - before for before, after in pairwise(moments)]


LOOPS = {"ours": ours, "untraced": untraced, "bare": bare, "hf": hf}


def main() -> None:
    loop, size, precision, steps = sys.argv[1:]
    torch.set_num_threads(1)
    with cases.outputs() as folder:
        one = cases.settings(size, int(steps), Path(folder), precision)
        print(json.dumps(LOOPS[loop](one)))


if __name__ == "__main__":
    main()
