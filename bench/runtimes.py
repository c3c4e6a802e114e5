"""Programs that really use a type of weights, beside float32 in the same program: 26 M parameters, drawn.

    python -m bench.runtimes llama 128 64 5      one model: what `interchange.pace` measured, as JSON

Eight layers of width 512, a vocabulary of 8192; one thread. Speed does not ask whether weights were trained.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from ablate.data.tokens import prepare
from ablate.interchange.contract import Leaving
from ablate.interchange.pace import measured
from ablate.interchange.programs import Asked
from ablate.model.language import build
from ablate.run import speeds
from ablate.run.parse import from_plain
from bench.cases import DATA
from bench.rounds import ROOT, Row, report

VOCABULARY, SPAN = 8192, 256
SIZE = {"width": 512, "depth": 8, "heads": 8, "kv_heads": 8, "hidden": 1088, "match": "none"}
MODELS = ("llama", "hybrid")
LEAST = 2  # times float32 at decoding
FEW = ("int8", "int4", "q8_0", "q4_0")  # the types that this is asked of
ASKED, ROUNDS = ("128", "64"), "3"
BRIEF = ("16", "4"), "1"


def runtimes(quick: bool) -> list[Row]:
    """tokens a second and times float32, 26 M parameters, one thread"""
    rows = []
    for model in MODELS:
        asked, rounds = BRIEF if quick else (ASKED, ROUNDS)
        found = report([sys.executable, "-m", "bench.runtimes", model, *asked, rounds])
        for side in found["sides"]:
            rows += _rows(f"{model}, {side['runtime']} {side['type']}", side, speeds.original(found, side["runtime"]))
    return rows


def _rows(case: str, side: dict[str, Any], wide: dict[str, Any]) -> list[Row]:
    rows = [Row(case, f"{what}, tokens/s", side[what]) for what in speeds.WHATS]
    rows.append(Row(case, "MB", [side["bytes"] / 1e6]))
    if side is not wide:
        for what in speeds.WHATS:
            limit = LEAST if what == "decode" and side["type"] in FEW and case.startswith("llama") else None
            times = [ours / theirs for ours, theirs in zip(side[what], wide[what], strict=True)]
            rows.append(Row(case, f"{what}, times float32", times, limit))
    return rows


def main() -> None:
    model, *numbers, rounds = sys.argv[1:]
    groups = {name: yaml.safe_load((ROOT / "conf" / "model" / f"{name}.yaml").read_text()) for name in ("llama", model)}
    plain = groups["llama"] | {key: value for key, value in groups[model].items() if key != "defaults"}
    settings = from_plain(
        {"model": plain, "size": SIZE, "data": {"vocabulary": VOCABULARY, "span": SPAN}, "length": {"lengths": [SPAN]}}
    )
    with tempfile.TemporaryDirectory() as folder:
        DATA.mkdir(parents=True, exist_ok=True)
        (Path(folder) / "data").symlink_to(DATA)
        corpus = prepare(settings.data, Path(folder))
        language = build(settings.model, settings.size, len(corpus.bytes_per_token), seed=0).eval()
        leaving = Leaving(language, None, SPAN, corpus.end, corpus.folder, settings)
        asked = Asked(*map(int, numbers), threads=1)
        print(json.dumps(measured(leaving, speeds.RUNTIMES, asked, int(rounds), lambda *_: None)))


if __name__ == "__main__":
    main()
