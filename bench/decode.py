"""Seconds of the next token behind 512 others: of a model with a cache, and of one that reads all of them again.

    python -m bench.decode MMMA cached 64        one measurement, in a process of its own: {"tokens_per_second": ...}

Models of `size=nano`, four layers, head and greedy choice included; one row, one thread, float32.
"""

import functools
import json
import sys
import time

import torch
import torch.nn.functional as F
import yaml

from ablate.model.cache import Cache
from ablate.model.language import build
from ablate.run.settings import Model, Size
from bench import cases
from bench.rounds import ROOT, Row, ratios, report, run

MODELS = {
    "A": Model(),
    "L": Model(pattern="L"),
    "M": Model(pattern="M"),
    "MMMA": Model(pattern="MMMA"),
    "ternary MMMA": Model(pattern="MMMA", linear="ternary"),
}
BEFORE = 512  # tokens
LEAST_GAIN = 10
TOKENS = {"cached": 64, "uncached": 8}  # a measurement
WARMUP, ROUNDS = 2, 3


def decode(quick: bool) -> list[Row]:
    """tokens per second behind 512 others, one row, with a cache and without"""
    rows = []
    for name in MODELS:
        sides = {side: functools.partial(tokens_per_second, name, side, quick) for side in TOKENS}
        found = run(sides, 1 if quick else ROUNDS)
        rows += [Row(name, f"{side}, tokens/s", values) for side, values in found.items()]
        rows.append(Row(name, "cached / uncached", ratios(found["cached"], found["uncached"]), LEAST_GAIN))
    return rows


def tokens_per_second(name: str, side: str, quick: bool) -> float:
    command = [sys.executable, "-m", "bench.decode", name, side, str(1 if quick else TOKENS[side])]
    return report(command)["tokens_per_second"]


@torch.no_grad()
def main() -> None:
    name, side, num_tokens = sys.argv[1], sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(1)
    size = Size(**yaml.safe_load((ROOT / "conf" / "size" / "nano.yaml").read_text()))
    language = build(MODELS[name], size, cases.VOCABULARY["nano"], seed=0)
    tokens_BL = torch.randint(cases.VOCABULARY["nano"], (1, BEFORE), generator=torch.Generator().manual_seed(0))
    cache = Cache(language, 1, BEFORE + WARMUP + num_tokens)
    language(tokens_BL[:, :-1], cache)
    read = (lambda token_B1: language(token_B1, cache)) if side == "cached" else (lambda _: language(tokens_BL))
    token_B1, begin = tokens_BL[:, -1:], 0.0
    for number in range(WARMUP + num_tokens):
        if number == WARMUP:
            begin = time.perf_counter()
        token_B1 = F.linear(read(token_B1)[:, -1], language.head_weight).argmax(-1, keepdim=True)
    print(json.dumps({"tokens_per_second": num_tokens / (time.perf_counter() - begin)}))


if __name__ == "__main__":
    main()
