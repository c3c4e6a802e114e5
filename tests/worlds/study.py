"""A study of mixtures of a planted world on disk, in the format that training writes.

Every target of the world is the validation set of a domain of that name; runs differ in their mixture alone, and a
seed shifts all runs that have it.
"""

import dataclasses
import math
from pathlib import Path

import numpy as np

from ablate.run.record import run_record
from ablate.run.settings import Settings
from ablate.run.study_record import StudyRecord, study_record
from tests.tiny import RESULT
from tests.worlds.catalogue import world as planted
from tests.worlds.ngram import World

SHIFT = 3.0  # what a seed does to all arms, in the noise of one run


def validated(seed: int = 4, domains: int = 4, sd: float = 0.0015) -> World:
    """A world whose targets are its domains, for a study on disk. The best mixture of seed 4 is far from uniform."""
    found, own = planted(seed, "interior", domains), tuple(range(domains))
    noise = np.full(domains, sd * np.sqrt(domains))
    return dataclasses.replace(found, own=own, targets_TXV=found.domains_KXV, noise=noise, uneven=0.0)


def design(domains: int = 4, mixtures: int = 16, seed: int = 0) -> np.ndarray:
    """A base that favours the first domain, the uniform mixture, and others drawn at random."""
    base = np.r_[0.55, np.full(domains - 1, 0.45 / (domains - 1))]
    drawn = np.random.default_rng(seed).dirichlet(np.ones(domains), mixtures - 2)
    return np.concatenate([[base], [np.full(domains, 1 / domains)], drawn])


def names(world: World) -> list[str]:
    known = ["general", "code", "science", "qa"]
    return known[: world.num_domains] + [f"domain{k}" for k in range(4, world.num_domains)]


def write(
    outputs: Path,
    world: World,
    mixtures: np.ndarray,
    name: str = "planted",
    seeds: tuple[int, ...] = (0, 1, 2),
    base: Settings | None = None,
    stage: str = "0",
) -> StudyRecord:
    """The first mixture is the base's. With `base`, its runs have the configuration that they were trained with."""
    assert world.own == tuple(range(world.num_domains))  # every domain is validated
    domains, rng = names(world), np.random.default_rng(world.seed)
    arms = ["base", *(f"m{i}" for i in range(1, len(mixtures)))]
    runs = {arm: {str(seed): f"planted-{arm}-s{seed}" for seed in seeds} for arm in arms}
    for seed in seeds:
        losses = world.run(mixtures, rng) + SHIFT * world.noise * rng.standard_normal(len(domains))
        for arm, row in zip(arms, losses, strict=True):
            record = run_record(outputs, runs[arm][str(seed)])
            record.folder.mkdir(parents=True)
            if base and arm == "base":
                record.begin(dataclasses.replace(base, seed=seed), "0" * 12, {})
            nats = [loss * math.log(2) * 1000 for loss in row.tolist()]
            sums = {d: {"nats": n, "tokens": 300, "bytes": 1000} for d, n in zip(domains, nats, strict=True)}
            record.finish(RESULT | {"sums": sums, "tokens": 1000, "step": 10})
    study = study_record(outputs, name)
    study.write(_declaration(name, domains, arms, mixtures, runs, stage))
    return study


def _declaration(name: str, domains: list[str], arms: list[str], mixtures: np.ndarray, runs: dict, stage: str) -> dict:
    changes = {
        arm: {
            f"mixture.weights@{stage}.{d}": [float(a), float(b)]
            for d, a, b in zip(domains, mixtures[0], row, strict=True)
        }
        for arm, row in zip(arms[1:], mixtures[1:], strict=True)
    }
    return {
        "name": name,
        "question": "Which mixture is best?",
        "hypothesis": "None is better than equal shares.",
        "base": "base",
        "factor": ["mixture"],
        "arms": {"base": {}, **changes},
        "seeds": [int(seed) for seed in runs["base"]],
        "metric": "macro",
        "margin": 0.01,
        "confidence": 0.95,
        "digest": "5f0c1d2e",
        "fingerprint": "9a8b7c6d5e4f",
        "domains": domains,
        "focus": domains[-1],
        "runs": runs,
    }
