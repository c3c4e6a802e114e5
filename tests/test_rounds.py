"""Preferences in rounds, by the commands of docs/after.md: sample from the last phase, check, pair, train again."""

import json
import random
import re
import string
from pathlib import Path

import pytest

from ablate import traces, train
from ablate.corpus.samples import REPEATED

SIZE = ["size.width=64", "size.depth=2", "size.heads=2", "size.kv_heads=1", "size.hidden=128", "data.vocabulary=300"]
COMMON = [*SIZE, "data=folder", "data.span=64", "length.lengths=[64]", "step_tokens=512", "where.peak_tflops=0.1"]
COMMON += ["evaluation.times=1", "evaluation.spans=1", "where.wandb=off", "where.progress=false"]
COLOURS = ("red", "blue", "green", "grey")
NUMBER = 32


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Prompts whose answers are known, and text in which each has a right answer and a wrong one."""
    rng = random.Random(0)
    words = ["".join(rng.sample(string.ascii_lowercase, 9)) for _ in range(NUMBER)]  # alike ones would be near copies
    told = [{"prompt": f"{word}?", "answer": rng.choice(COLOURS), "source": word} for word in words]
    said = [
        {"prompt": f"Question: {one['prompt']}\n", "response": f"Answer: {colour}", "source": one["source"]}
        for one in told
        for colour in (one["answer"], next(other for other in COLOURS if other != one["answer"]))
    ]
    for path, rows in {"prompts.jsonl": told, "text/rows.jsonl": said}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def trained(files: Path, domain: str, *more: str) -> str:
    """Train one run on a folder of rows; its id."""
    there = set((files / "out" / "runs").glob("*"))
    where = [f"data.root={files}", f"data.domains=[{domain}]", f"data.focus={domain}", f"where.outputs={files / 'out'}"]
    train.main([*COMMON, *where, *more])
    [new] = set((files / "out" / "runs").glob("*")) - there
    return new.name


def sampled(files: Path, run: str, out: str, *more: str) -> Path:
    words = ["--prompts", str(files / "prompts.jsonl"), "--tokens", "12", "--samples", "8", "--temperature", "1"]
    where = ["--outputs", str(files / "out"), "--out", str(files / out)]
    traces.main(["--teacher", run, *words, *where, *more])
    return files / out


def right(rows: Path) -> float:
    """The share of samples that are right, in percent, be it again."""
    found = [json.loads(line) for line in rows.read_text().splitlines()]
    assert len(found) == 8 * NUMBER
    return 100 * sum(one.get("why", REPEATED) == REPEATED for one in found) / len(found)


@pytest.mark.slow
def test_two_rounds_of_preferences_make_more_samples_right(files):
    pairs = ["data.pairs=true", "data.validation=0.1", "tokens=20_000", "optimizer.lr=1e-4"]
    run = trained(files, "text", "objective=answers", "optimizer=muon", "tokens=40_000", "data.validation=0.1")
    shares = list[float]()
    for number in range(2):
        there = ["--pairs", str(files / f"round{number}" / "rows.jsonl")]
        shares.append(right(sampled(files, run, f"{number}.jsonl", "--all", *there)))
        run = trained(files, f"round{number}", "objective=preference", f"start=run:{run}", *pairs)
    shares.append(right(sampled(files, run, "last.jsonl", "--all")))
    assert 20 < shares[0] < 70
    assert min(shares[1:]) > shares[0] + 5


@pytest.mark.slow
def test_a_model_of_rewards_keeps_the_best_samples(files, capsys):
    run = trained(files, "text", "objective=answers", "optimizer=muon", "tokens=40_000", "data.validation=0.1")
    sampled(files, run, "all.jsonl", "--pairs", str(files / "pairs" / "rows.jsonl"))
    more = ["objective=reward", "data.pairs=true", "data.validation=0.1", "tokens=30_000", "optimizer.lr=1e-3"]
    judge = trained(files, "pairs", f"start=run:{run}", *more)
    capsys.readouterr()
    best = sampled(files, run, "best.jsonl", "--best", judge)
    told = capsys.readouterr().out
    found = re.search(r"best of 8: ([\d.]+) % right, one sample ([\d.]+) %.*over 32 prompts", told)
    assert found
    assert float(found[1]) > float(found[2]) + 8
    kept = [json.loads(line) for line in best.read_text().splitlines()]
    assert len(kept) == round(32 * float(found[1]) / 100)
    assert all(row["right"] for row in kept)
