"""A synthetic study on disk, in the format that training writes: what analysis is tested on.

Each domain follows E + A n^-alpha with noise that a seed shares between arms (so that pairing
pays) and noise that it does not; an arm shifts every domain by its effect, in bits per byte.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ablate.run.files import write_json
from ablate.run.record import run_record
from ablate.run.study_record import StudyRecord, study_record

DOMAINS = {  # E, A, alpha
    "general": (0.95, 420.0, 0.42),
    "code": (1.20, 3300.0, 0.90),  # saturates within the run
    "science": (1.05, 300.0, 0.40),
    "qa": (0.85, 800.0, 0.48),
}
TOKENS, STEP_TOKENS = 3_000_000, 10_000
HELD_OUT, HELD_OUT_BYTES = 4096, (14_000, 12_000, 13_000, 10_000)  # tokens, bytes of the held-out text, by domain


@dataclass(frozen=True)
class World:
    """What is planted. Noises are standard deviations in bits per byte."""

    effects: dict[str, float] = field(default_factory=lambda: {"qa_20": -0.021, "qa_40": 0.015, "qa_12": 0.0005})
    seeds: tuple[int, ...] = (0, 1, 2, 3)
    shared_noise: float = 0.012
    own_noise: float = 0.0012
    evaluation_noise: float = 0.0008
    evaluations: int = 24
    tokens: int = TOKENS
    domains: dict[str, tuple[float, float, float]] = field(default_factory=lambda: DOMAINS)
    shape: str = "wsd"  # or "constant"
    outcomes: dict[tuple[str, int], str] = field(default_factory=dict)  # of runs that did not finish
    null_arm: str | None = "qa_10"
    null_seeds: tuple[int, ...] = ()  # of the null control
    aa_seeds: tuple[int, ...] = ()
    positive_seeds: tuple[int, ...] = ()
    positive: float = 0.05  # effect of the positive control, which is known to be worse
    phase: str = ""  # of several phases, the name of this one


def write(outputs: Path, world: World | None = None, name: str = "mix_sweep") -> StudyRecord:
    """Write the study with all of its runs; returns its record."""
    world = world or World()
    arms = {"base": 0.0, **world.effects}
    runs = {arm: {str(s): f"a128x4-1024-s{s}-{_hex(world.phase + arm, s)}" for s in world.seeds} for arm in arms}
    for arm, effect in arms.items():
        for seed in world.seeds:
            _write_run(outputs, runs[arm][str(seed)], world, arm, effect, seed)
    if world.null_arm:
        runs[world.null_arm] = runs["base"]
    study = study_record(outputs, name)
    study.write(_declaration(name, world, runs) | _controls(outputs, world))
    return study


def write_chain(outputs: Path, *worlds: World, name: str = "chain", **declared: object) -> StudyRecord:
    """Write a study of phases, one world each; the last is judged. declared: more of its declaration."""
    found = {world.phase: write(outputs, world, name).read() for world in worlds}
    *before, judged = found
    keys = ("arms", "fingerprint", "domains", "focus", "runs", "control_arms", "control_runs")
    of_phases = {phase: {key: found[phase][key] for key in keys} for phase in before}
    study = study_record(outputs, name)
    study.write(found[judged] | {"phases": {phase: [] for phase in found}, "judge": "", "before": of_phases} | declared)
    return study


def _controls(outputs: Path, world: World) -> dict:
    """Write the runs of the controls; returns what is declared of them."""
    seeds = {"null control": world.null_seeds, "A/A control": world.aa_seeds, "positive control": world.positive_seeds}
    runs = {name: {str(s): f"a128x4-1024-s{s}-{_hex(name, s)}" for s in of} for name, of in seeds.items() if of}
    for name, ids in runs.items():
        arm, effect = ("positive", world.positive) if name == "positive control" else ("base", 0.0)
        for seed, run in ids.items():
            _write_run(outputs, run, world, arm, effect, int(seed))
    difference = {"tokens": [3_000_000, 2_250_000]}
    return {
        "controls": {"expected": "worse"},
        "control_arms": {name: difference if name == "positive control" else {} for name in runs},
        "control_runs": runs,
    }


def _declaration(name: str, world: World, runs: dict) -> dict:
    return {
        "name": name,
        "question": "How much of the mixture should be question answering?",
        "hypothesis": "Doubling the share of question answering lowers the loss of every domain.",
        "base": "base",
        "factor": ["mixture.share"],
        "arms": {arm: _difference(arm, world) for arm in runs},
        "seeds": list(world.seeds),
        "metric": "macro",
        "margin": 0.01,
        "confidence": 0.95,
        "digest": "5f0c1d2e",
        "fingerprint": "9a8b7c6d5e4f",
        "domains": list(world.domains),
        "focus": "qa" if "qa" in world.domains else list(world.domains)[-1],
        "runs": runs,
    }


def _difference(arm: str, world: World) -> dict:
    if arm in ("base", world.null_arm):
        return {}
    old, new = _weights("base", world), _weights(arm, world)
    return {f"mixture.weights@0.{domain}": [old[domain], new[domain]] for domain in world.domains}


def _weights(arm: str, world: World) -> dict[str, float]:
    share = int(arm.split("_")[1]) / 100 if "_" in arm and arm.split("_")[1].isdigit() else 0.1
    first, *rest = reversed(world.domains)
    return {domain: (1 - share) / len(rest) for domain in reversed(rest)} | {first: share} if rest else {first: 1.0}


def _write_run(outputs: Path, run: str, world: World, arm: str, effect: float, seed: int) -> None:
    outcome, record = world.outcomes.get((arm, seed), "finished"), run_record(outputs, run)
    if outcome == "not started":
        return
    record.folder.mkdir(parents=True)
    (record.folder / "environment.json").write_text(json.dumps(_environment()))
    share = {"finished": 1.0, "diverged": 0.4}.get(outcome, 0.6)
    rows = _rows(world, arm, effect, seed, share)
    (record.folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    last = [row for row in rows if row["kind"] == "evaluation"][-1]
    if outcome in ("finished", "diverged"):
        write_json(record.folder / "result.json", _result(world, arm, outcome, last))  # without sums: tests edit it
    elif outcome != "running":
        record.fail(outcome, "the process was killed (signal 9)")


def _rows(world: World, arm: str, effect: float, seed: int, share: float) -> list[dict]:
    shared, own = (
        np.random.default_rng(1000 + seed),
        np.random.default_rng([2000 + seed, *(world.phase + arm).encode()]),
    )
    together = {d: shared.normal(0, world.shared_noise) for d in world.domains}
    offset = {d: effect + together[d] + own.normal(0, world.own_noise) for d in world.domains}
    steps = world.tokens // STEP_TOKENS
    at = {round(steps * (i + 1) / world.evaluations) for i in range(world.evaluations)}
    rows = []
    for step in range(1, round(steps * share) + 1):
        rate = _rate(world.shape, step / steps)
        tokens = step * STEP_TOKENS
        if step % 3 == 0:
            rows.append(_train_row(world, arm, step, tokens, rate, steps))
        if step in at:
            rows.append(_evaluation_row(world, step, tokens, rate, offset, own))
    return rows


def _rate(shape: str, progress: float) -> float:
    decay = 1.0 if shape == "constant" else min(1.0, 0.1 + 0.9 * (1 - progress) / 0.2)
    return 3e-3 * min(1.0, progress / 0.05, decay)


def _train_row(world: World, arm: str, step: int, tokens: int, rate: float, steps: int) -> dict:
    return {
        "kind": "train",
        "step": step,
        "tokens": tokens,
        "nats": 2.5 + 30 * tokens**-0.3,
        "lr": rate,
        "weight_decay": 0.1,
        "length": 256 if step < steps / 4 else 512 if step < steps / 2 else 1024,
        "grad_norm": 0.5,
        "tokens_per_second": 21_000.0,
        "mfu": 0.31,
        "domain_tokens": {d: round(tokens * w) for d, w in _weights(arm, world).items()},
    }


def _evaluation_row(world: World, step: int, tokens: int, rate: float, offset: dict, rng: np.random.Generator) -> dict:
    cooling = 0.02 * (1 - rate / 3e-3) * (tokens > world.tokens / 2)  # a falling rate lowers the loss
    bpb = {
        d: E + A * tokens**-alpha + offset[d] - cooling + rng.normal(0, world.evaluation_noise)
        for d, (E, A, alpha) in world.domains.items()
    }
    sums = {
        d: {"nats": value * np.log(2) * size, "tokens": HELD_OUT, "bytes": size}
        for (d, value), size in zip(bpb.items(), HELD_OUT_BYTES, strict=False)
    }
    return {"kind": "evaluation", "step": step, "tokens": tokens, "flops": 6 * 1.1e6 * tokens, "sums": sums}


def _result(world: World, arm: str, outcome: str, last: dict) -> dict:
    weights = _weights(arm, world)
    return {
        "outcome": outcome,
        "reason": "the loss is not finite" if outcome == "diverged" else None,
        "step": last["step"],
        "tokens": last["tokens"],
        "flops": last["flops"],
        "seconds": last["tokens"] / 21_000,
        "tokens_per_second": 21_000.0,
        "parameters": 1_100_000,
        **({"sums": last["sums"]} if outcome == "finished" else {}),
        "weights_sha256": hashlib.sha256(repr(last["sums"]).encode()).hexdigest(),  # equal exactly where losses are
        "mixture": {"asked": weights, "realised": {d: w + 3e-5 for d, w in weights.items()}},
    }


def _environment() -> dict:
    packages = {"ablate": "0.1.0", "torch": "2.10.0", "lightning": "2.6.4", "numpy": "2.3.0"}
    return {"commit": "39a256bd0e1f", "python": "3.11.9", "processor": "a CPU", "cores": 2, "packages": packages}


def _hex(arm: str, seed: int) -> str:
    return f"{abs(hash_of(arm)) % 16**5:05x}{seed:03x}"


def hash_of(text: str) -> int:
    """A hash that does not change between processes, unlike Python's."""
    return sum(ord(c) * 131**i for i, c in enumerate(text))
