"""The noise to plan a study with, and whose it is: its own pairs, or those of earlier arms like its own.

Noise differs between sizes and kinds of change by factors, so arms of several sizes are never taken together. Arms of
the asked size and kind come first, then those of that size, whatever they changed. Where there are none, the one group
of another size that is nearest is taken, and called so.

    of_study(evidence, "macro").source      'mix_sweep (3 arms; mixture; 660k parameters, 300k tokens)'
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ablate.verdict import registry
from ablate.verdict.evidence import Evidence, tokens_text
from ablate.verdict.registry import Past
from ablate.verdict.spread import Sd, gain
from ablate.verdict.statistics.looks import Noise, pooled


@dataclass(frozen=True)
class Measured:
    """The noise of one paired difference, in the metric's unit."""

    noise: Sd
    source: str  # whose noise it is: studies, kinds of change, sizes
    gain: float | None = None  # from pairing, of the study's own arms


def of_study(evidence: Evidence, metric: str) -> Measured | None:
    """From a study's own pairs; None where no arm has two with the base."""
    found = _measured(registry.arms_of(evidence), metric)
    if found is None:
        return None
    pairing = gain(evidence, evidence.arms, metric)
    return Measured(found.noise, found.source, pairing.value if pairing else None)


def like(asked: Sequence[Past], past: Iterable[Past], metric: str) -> Measured | None:
    """From earlier arms, for arms that have no runs yet; None where no arm has two pairs in this metric."""
    known = [one for one in past if len(one.differences(metric)) > 1]
    kinds = {one.kind for one in asked}
    near = [one for one in known if any(one.like(arm) for arm in asked)]
    if same := [one for one in near if one.kind in kinds] or near:
        return _measured(same, metric)
    if not known or not asked:
        return None
    nearest = min(known, key=lambda one: (min(_distance(one, arm) for arm in asked), one.kind not in kinds))
    group = [one for one in known if one.kind == nearest.kind and one.like(nearest)]
    found = _measured(group, metric)
    return found and Measured(found.noise, f"arms of another size or text, {found.source}")


def _distance(one: Past, other: Past) -> float:
    """In factors of parameters and tokens."""
    return abs(math.log(one.parameters / other.parameters)) + abs(math.log(one.tokens / other.tokens))


def _measured(arms: Sequence[Past], metric: str) -> Measured | None:
    """Pooled; arms of one study share a base, and tell less than as many that do not."""
    studies = {one.study: [arm.differences(metric) for arm in arms if arm.study == one.study] for one in arms}
    noises = [pooled(found, Noise()) for found in (list(filter(_paired, d)) for d in studies.values()) if found]
    df = sum(noise.df for noise in noises)
    variance = sum(noise.variance * noise.df for noise in noises) / df if df else 0.0
    return Measured(Sd(math.sqrt(variance), df), _source(arms)) if variance > 0 else None


def _paired(differences: Sequence[float]) -> bool:
    return len(differences) > 1


def _source(arms: Sequence[Past]) -> str:
    studies, kinds = (", ".join(sorted(found)) for found in ({a.study for a in arms}, {_kind(a) for a in arms}))
    parameters, tokens = (_range(values) for values in ([a.parameters for a in arms], [a.tokens for a in arms]))
    many = f"{len(arms)} arm{'s' if len(arms) > 1 else ''}"
    return f"{studies} ({many}; {kinds}; {parameters} parameters, {tokens} tokens)"


def _kind(arm: Past) -> str:
    return registry.name_of(arm.kind)


def _range(values: Sequence[float]) -> str:
    low, high = tokens_text(min(values)), tokens_text(max(values))
    return low if low == high else f"{low} to {high}"
