"""CPU time of scoring items of four choices, beside lm-eval's own model of the same weights (`HFLM`).

    python -m bench.scoring MMMA "prompt of 4 choices" 5      one process: {"ours": [seconds, ...], "hflm": [...]}

Both get the same requests as tokens, in one process, in turn; that they agree is checked first. HFLM has the size of
batch that serves it best of BATCHES. Where the prompt is four times as long as a choice, its tokens are 5 parts of
4 x 5, so that reading it once leaves 8 of 20; where they are equally long, 5 of 8.

`items` asks a run of `size=pico` 200 questions from text to rows, all but imports.
"""

import contextlib
import functools
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml

from ablate.data import tokenizer
from ablate.data.questions import TRAINED, question
from ablate.model.convert import to_hf
from ablate.model.language import LanguageModel, build
from ablate.run.settings import Model, Size
from ablate.scores.asked import ask
from ablate.scores.candidate import Candidate
from ablate.scores.items import Item, Sheet
from ablate.scores.protocols import PROTOCOLS
from bench import cases
from bench.rounds import ROOT, Row, ratios, report, run

MODELS = {"A": Model(), "MMMA": Model(pattern="MMMA"), "L": Model(pattern="L")}
LENGTHS = {"prompt of 4 choices": (128, 32), "prompt of a choice": (48, 48)}  # tokens of the prompt, of each choice
LIMITS = {"prompt of 4 choices": 0.6, "prompt of a choice": 0.8}
ITEMS, CHOICES, ROUNDS, SPAN = 50, 4, 5, 256
BATCHES = (1, 8, 32)
QUESTIONS, MOST_SECONDS = 200, 10


def scoring(quick: bool) -> list[Row]:
    """CPU seconds of four-choice items, ours over HFLM's; and of 200 items of a two-layer model"""
    rows, rounds = [], 1 if quick else ROUNDS
    for name in MODELS:
        for lengths in LENGTHS:
            found = report([sys.executable, "-m", "bench.scoring", name, lengths, str(rounds)])
            rows += [Row(f"{name}, {lengths}", f"{side}, s", values) for side, values in found.items()]
            shares = ratios(found["ours"], found["hflm"])
            rows.append(Row(f"{name}, {lengths}", "ours / HFLM", shares, LIMITS[lengths], "at most"))
    for protocol in PROTOCOLS:
        found = report([sys.executable, "-m", "bench.scoring", "items", protocol, str(rounds)])
        rows.append(Row("pico", f"{QUESTIONS} items, {protocol}, s", found["seconds"], MOST_SECONDS, "at most"))
    return rows


def pair(name: str, lengths: str, rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each side, round by round."""
    from ablate.scores.harness import AblateLM

    language, requests = model(name, "nano"), drawn(*LENGTHS[lengths])
    ours = AblateLM(Candidate(language, lambda text: [], [], 0, SPAN))
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(open(os.devnull, "w")):
        its = hflm(language, Path(folder))
        batch = functools.partial(its._loglikelihood_tokens, requests, disable_tqdm=True)
        agree(ours._loglikelihood_tokens(requests), batch())
        its.batch_size_per_gpu = min(BATCHES, key=lambda size: seconds(lambda: sized(its, size, batch)))
        sides = {
            "ours": lambda: seconds(lambda: ours._loglikelihood_tokens(requests)),
            "hflm": lambda: seconds(batch),
        }
        return run(sides, rounds)


def sized(its: Any, size: int, batch: Callable[[], Any]) -> None:
    its.batch_size_per_gpu = size
    batch()


def agree(ours: list[tuple[float, bool]], its: list[tuple[float, bool]]) -> None:
    worst = max(abs(mine[0] - theirs[0]) for mine, theirs in zip(ours, its, strict=True))
    assert worst < 1e-3, f"unequal by {worst} nats"  # sums of 48 tokens; tests hold them to 1e-4


def seconds(work: Callable[[], Any]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def model(name: str, size: str) -> LanguageModel:
    plain = yaml.safe_load((ROOT / "conf" / "size" / "nano.yaml").read_text())
    plain |= {"depth": 2} if size == "pico" else {}
    return build(MODELS[name], Size(**plain), cases.VOCABULARY["nano"], seed=0).eval()


def drawn(prompt: int, choice: int) -> list[Any]:
    """Requests as lm-eval hands them on, of unequal lengths: up to a quarter shorter."""
    rng = random.Random(0)

    def some(most: int) -> list[int]:
        return [rng.randrange(1, cases.VOCABULARY["nano"]) for _ in range(rng.randint(most * 3 // 4, most))]

    contexts = [some(prompt) for _ in range(ITEMS)]
    return [(("", ""), context, some(choice)) for context in contexts for _ in range(CHOICES)]


def hflm(language: LanguageModel, folder: Path) -> Any:
    from lm_eval.models.huggingface import HFLM
    from transformers import PreTrainedTokenizerFast

    to_hf(language, positions=SPAN, end=0).save_pretrained(folder)
    words = PreTrainedTokenizerFast(tokenizer_object=words_of(200), eos_token=tokenizer.END)
    words.save_pretrained(folder)
    return HFLM(str(folder), device="cpu", dtype="float32", batch_size=BATCHES[0])


@functools.cache
def words_of(number: int) -> Any:
    return tokenizer.load(tokenizer.train((question(i).text for i in range(number)), cases.VOCABULARY["nano"]).to_str())


def items(protocol: str) -> float:
    """CPU seconds of 200 questions, from text to rows."""
    words, language = words_of(2000), model("A", "pico")
    pieces = tokenizer.pieces(words, cases.VOCABULARY["nano"])
    one = Candidate(language, lambda text: words.encode(text, add_special_tokens=False).ids, pieces, 0, SPAN)
    asked = [question(TRAINED + i) for i in range(QUESTIONS)]
    wrong = [tuple(f" {asked[(i + n) % QUESTIONS].answer}" for n in (10, 20, 30)) for i in range(QUESTIONS)]
    made = [Item(str(i), q.kind, q.prompt, (f" {q.answer}", *wrong[i]), 0) for i, q in enumerate(asked)]
    with tempfile.TemporaryDirectory() as folder:
        return seconds(lambda: ask(one, Sheet("questions", protocol, 0, "", made), Path(folder)))


def main() -> None:
    torch.set_num_threads(1)
    if sys.argv[1] == "items":
        print(json.dumps({"seconds": [items(sys.argv[2]) for _ in range(int(sys.argv[3]))]}))
    else:
        print(json.dumps(pair(sys.argv[1], sys.argv[2], int(sys.argv[3]))))


if __name__ == "__main__":
    main()
