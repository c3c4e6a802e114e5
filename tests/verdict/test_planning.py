"""The noise to plan with is that of the study, or of named arms of one size."""

import dataclasses
import math

import numpy as np
import pytest

from ablate.verdict import planning
from ablate.verdict.evidence import read
from ablate.verdict.registry import Past
from tests.verdict.worlds import World, write


def past(study: str, sd: float, parameters: float = 1e6, keys: tuple[str, ...] = ("mixture.share",)) -> list[Past]:
    rng = np.random.default_rng(len(study))
    one = Past(study, "a", frozenset(keys), parameters, 4e5, ("code",), frozenset({study}), frozenset({study}), {})
    pairs = [[(0.0, float(d)) for d in row] for row in rng.normal(0, sd, (4, 6))]
    return [dataclasses.replace(one, arm=str(i), pairs={"macro": row}) for i, row in enumerate(pairs)]


def test_noise_is_that_of_the_study_and_named(tmp_path):
    world = World(seeds=tuple(range(8)), own_noise=0.002, evaluation_noise=0.0, evaluations=3)
    evidence = read(write(tmp_path, world, "one"))
    found = planning.of_study(evidence, "macro")
    assert found is not None
    d = np.array([list(evidence.differences(arm, "macro").values()) for arm in evidence.arms])
    assert found.noise.value == pytest.approx(math.sqrt(d.var(axis=1, ddof=1).mean()))
    assert found.noise.df == pytest.approx(3 * 7 / 1.5)  # three arms share a base: worth two
    assert found.source == "one (3 arms; mixture; 1.1M parameters, 3M tokens)"
    assert (found.gain or 0) > 3
    assert planning.of_study(evidence, "no such metric") is None


def test_sizes_are_never_taken_together():
    quiet, noisy = past("large", 0.001, parameters=1e8), past("small", 0.02)
    known = planning.like(quiet[:1], [*quiet, *noisy], "macro")
    assert known is not None
    assert known.source == "large (4 arms; mixture; 100M parameters, 400k tokens)"
    assert known.noise.value < 0.002
    alone = planning.like(past("asked", 1.0, parameters=5e7)[:1], noisy, "macro")
    assert alone is not None
    assert alone.source.startswith("arms of another size or text, small (4 arms")
    assert planning.like(quiet[:1], [], "macro") is None


def test_arms_of_the_same_kind_go_before_others_of_the_size():
    mixtures, models = past("mix", 0.001), past("arch", 0.02, keys=("model.pattern",))
    found = planning.like(models[:1], [*mixtures, *models], "macro")
    assert found is not None
    assert found.source == "arch (4 arms; model; 1M parameters, 400k tokens)"
    other = planning.like(past("rate", 1.0, keys=("optimizer.lr",))[:1], [*mixtures, *models], "macro")
    assert other is not None
    assert other.source.startswith("arch, mix (8 arms; mixture, model;")
