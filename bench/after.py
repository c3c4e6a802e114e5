"""Examples a second of training on preferences and on answers, one thread, float32, against trl 1.16.0.

Both begin with the same weights and read the same rows, BATCH of them a step: pairs for preferences (DPO), prompts and
answers for the rest. What the start thinks of all pairs is worked out by ours before the first step, and not measured
here; trl is measured both ways. Answers are packed into rows by ours, BATCH of them a step on average, and padded by
trl to the longest of a batch. The first steps are left out.

    python -m bench.after dpo spec.json     ours, alone in a process
"""

import json
import os
import random
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from ablate import export
from ablate.data.tokens import prepare_for
from ablate.fit import run as runs
from ablate.fit.parents import resolved
from ablate.run.identity import record_name
from ablate.run.parse import from_plain
from ablate.run.record import Record, run_record
from ablate.run.settings import Settings
from bench import cases, loops
from bench.rounds import ROOT, Row, ratios, report, run

TRL = Path(os.environ.get("ABLATE_TRL", ROOT / ".venv" / "trl" / "bin" / "python"))
BATCH = 8  # pairs, or prompts with their answers, a step
ROWS = 2000
SPAN = {"dpo": 256, "sft": 128}  # of a pair, and of a row of answers
WARMUP, STEPS, ROUNDS = 5, 30, 5
TARGET = 1.5
SIDES = {"dpo": ("dpo", "dpo_kept"), "sft": ("sft",)}


def after(quick: bool) -> list[Row]:
    """examples per second, and ours over trl's"""
    if not TRL.exists():
        raise FileNotFoundError(f"{TRL}: `make bench` installs trl there, or ABLATE_TRL names a Python that has it")
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        spec = _begun(Path(folder)) | {"steps": WARMUP + (3 if quick else STEPS) + 1}
        for kind, theirs in SIDES.items():
            sides = {"ours": partial(_ours, kind, spec), **{f"trl, {one}": partial(_trl, one, spec) for one in theirs}}
            found = run(sides, 1 if quick else ROUNDS)
            rows += [Row(kind, f"{name}, examples/s", values) for name, values in found.items()]
            ways = {name: ratios(found["ours"], values) for name, values in found.items() if name != "ours"}
            rows += [Row(kind, f"ours / {name}", values, TARGET) for name, values in ways.items()]
    return rows


def _begun(folder: Path) -> dict[str, Any]:
    """The rows, and a model of nano size that has read a little of them, as a folder of transformers."""
    text = folder / "text" / "sums"
    text.mkdir(parents=True)
    draw = random.Random(0)
    (text / "rows.jsonl").write_text("".join(f"{json.dumps(_row(draw))}\n" for _ in range(ROWS)))
    spec = {"folder": str(folder), "rows": str(text / "rows.jsonl"), "batch": BATCH, "lr": 1e-4, "start": "none"}
    record = _trained(_settings("sft", spec | {"steps": 5}))[0]
    export.export(record, "hf", folder / "model")
    return spec | {"start": f"folder:{folder / 'model'}", "model": str(folder / "model")}


def _row(draw: random.Random) -> dict[str, str]:
    """A question, the way to its answer, and one that goes wrong: short ones are frequent, as in text of people."""
    terms = [draw.randrange(100) for _ in range(2 + int(draw.expovariate(0.5)) % 10)]
    sums = [sum(terms[: n + 1]) for n in range(len(terms))]
    steps = [f"{a} + {b} = {c}." for a, b, c in zip(sums, terms[1:], sums[1:], strict=False)]
    wrong = [*steps[:-1], f"{sums[-2]} + {terms[-1]} = {sums[-1] + draw.randrange(1, 9)}."]
    asked = f"What is {' plus '.join(map(str, terms))}?\n"
    return {"prompt": asked, "chosen": " ".join(steps), "rejected": " ".join(wrong)}


def _settings(kind: str, spec: dict[str, Any]) -> Settings:
    """A run on BATCH examples a step."""
    root, span = str(Path(spec["rows"]).parents[1]), SPAN[kind]
    of_text = {"pairs": True} if kind == "dpo" else {"columns": {"response": "chosen"}}
    data = {"source": "folder", "root": root, "domains": ["sums"], "focus": "sums", "vocabulary": 512, "span": span}
    plain = cases.settings("nano", 1, spec["folder"])
    step_tokens = BATCH * span if kind == "dpo" else _tokens_of_answers(spec)
    changes = {
        "data": data | of_text,
        "length": {"lengths": [span]},
        "objective": "preference" if kind == "dpo" else "answers",
        "start": spec["start"],
        "step_tokens": step_tokens,
        "tokens": spec["steps"] * step_tokens,
        "optimizer": {"lr": spec["lr"]},
        "size": vars(plain.size),
        "evaluation": {"times": 1, "spans": 1},
        "where": vars(plain.where) | {"outputs": spec["folder"]},
    }
    return resolved(from_plain(changes))


def _tokens_of_answers(spec: dict[str, Any]) -> int:
    """Of BATCH prompts with their answers, in whole rows; until the text is cut, a guess."""
    found = [json.loads(path.read_text()) for path in Path(spec["folder"], "data").glob("*/manifest.json")]
    told = next((one["domains"]["sums"]["train"] for one in found if "pairs" not in one["request"]), None)
    mean = told["tokens"] / told["documents"] if told else SPAN["sft"] / 2
    return SPAN["sft"] * max(1, round(BATCH * mean / SPAN["sft"]))


def _trained(one: Settings) -> tuple[Record, list[float]]:
    """The record of a run, and the duration of every step but the last."""
    clock, trainer = loops.Clock(), runs.trainer_of
    with mock.patch.object(runs, "trainer_of", lambda s, record, callbacks: trainer(s, record, [*callbacks, clock])):
        corpus = prepare_for(one)
        record = run_record(one.where.outputs, record_name(one, corpus.fingerprint))
        runs.train_run(one, corpus, record)
    return record, loops.differences(clock.begins)


def _ours(kind: str, spec: dict[str, Any]) -> float:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        (Path(folder) / "data").symlink_to(Path(spec["folder"]) / "data")
        return _of([sys.executable, "-m", "bench.after", kind], spec | {"folder": folder})


def _trl(kind: str, spec: dict[str, Any]) -> float:
    return _of([str(TRL), str(ROOT / "bench" / "trl_loop.py")], spec | {"kind": kind})


def _of(command: list[str], spec: dict[str, Any]) -> float:
    """Examples a second of a process that is told its work by a file."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(spec, file)
        file.flush()
        found = report([*command, file.name])
    seconds = found["seconds"][WARMUP:]
    return found.get("examples", BATCH) * len(seconds) / sum(seconds)


def main() -> None:
    kind, path = sys.argv[1:]
    torch.set_num_threads(1)
    spec = json.loads(Path(path).read_text())
    one = _settings(kind, spec)
    _, seconds = _trained(one)
    told = prepare_for(one).manifest["domains"]["sums"]["train"]
    examples = BATCH if kind == "dpo" else one.step_tokens * told["documents"] / told["tokens"]
    print(json.dumps({"seconds": seconds, "examples": examples}))


if __name__ == "__main__":
    main()
