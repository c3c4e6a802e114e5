"""What steps take in, as running digests: one link a step, the same for what is planned and what happens.

    START ── step 0 ── link ── step 1 ── link ── step 2 ── ...       one chain a stream

The digest after n steps stands for all of them: two runs whose digests agree there had the same steps so
far, and the first row of a record where they do not says when they parted. A chain is its last digest,
so it goes on after a checkpoint, and does not depend on how often it is looked at.

    layout         rows and their length            interleaving    the domain of every row
    rates          learning rates by layer, and the weight decay of what decays
    shares         the step's share in the average of the weights
"""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from ablate.plan.order import domains
from ablate.plan.timeline import Timeline

START = "0000000000000000"
PLANNED = ("layout", "interleaving", "rates", "shares")


def link(before: str, *parts: bytes | memoryview) -> str:
    """The digest of what led to `before`, and of these bytes after it: 16 hex digits."""
    hasher = hashlib.blake2b(before.encode(), digest_size=8)
    for part in parts:
        hasher.update(part)
    return hasher.hexdigest()


def of_step(
    domain_R: np.ndarray, length: int, rates: Sequence[tuple[int, float]], decay: float, share: float
) -> dict[str, bytes]:
    """The bytes that a step adds to each stream that can be planned; `rates`: (layer, learning rate), in order."""
    return {
        "layout": np.array([len(domain_R), length], dtype="<i8").tobytes(),
        "interleaving": domain_R.astype("<i4").tobytes(),
        "rates": np.array([*rates, (-1, decay)], dtype="<f8").tobytes(),
        "shares": np.array([share], dtype="<f8").tobytes(),
    }


def of_rows(domain_R: np.ndarray, tokens_RL: np.ndarray, targets_RL: np.ndarray) -> list[memoryview]:
    """What a step adds to the stream of its very rows, where it lies if it is whole numbers of 32 bits already."""
    return [np.ascontiguousarray(part, dtype="<i4").data for part in (domain_R, tokens_RL, targets_RL)]


def planned(timeline: Timeline, at: Iterable[int]) -> dict[int, dict[str, str]]:
    """The digests after so many steps, for every number of steps in `at`, of a run that keeps to its plan."""
    heads, found, wanted = dict.fromkeys(PLANNED, START), {}, set(at)
    last = max(wanted)
    domain_R = domains(timeline, 0, last)[1]
    # Without a curriculum all layers are one
    factors = timeline.layer_factors[:last, : None if timeline.has_curriculum else 1].tolist()
    of_steps = np.split(domain_R, timeline.first_row[1:last])
    for step, (row, domain_R) in enumerate(zip(timeline.table, of_steps, strict=False)):
        rates = [(layer, float(row["lr"]) * factor) for layer, factor in enumerate(factors[step])]
        parts = of_step(domain_R, int(row["length"]), rates, float(row["weight_decay"]), float(row["average"]))
        heads = {name: link(head, parts[name]) for name, head in heads.items()}
        if step + 1 in wanted:
            found[step + 1] = heads
    return found
