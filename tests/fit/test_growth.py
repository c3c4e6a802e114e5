"""A run grown from another's trunk is the run trained alone, bit for bit, whatever it is made of."""

from typing import Any

import pytest
from runs import KINDS, STATES, check_grown, record_of
from tiny import merged

pytestmark = pytest.mark.slow

# The last fifth is another one
MIXTURE = {"mixture": {"stages": {"end": {"start": 0.8, "weights": {"code": 1}}}}}
DECAY = {"schedule": {"warmup": 0.1, "decay": 0.2}}
NO_DECAY = {"schedule": {"warmup": 0.1, "decay": 0.0}}


def pair(kind: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two of a kind that differ in their last fifth: a plain mean must not reach over two mixtures."""
    if kind.get("averaging", {}).get("kind") == "uniform":
        return kind | NO_DECAY, kind | DECAY
    return kind, merged(kind, MIXTURE)


@pytest.mark.parametrize("kind", STATES)
def test_grown_from_a_trunk_it_ends_with_the_same_weights(tiny, tmp_path, kind):
    first, alone = (tiny(**changes) for changes in pair(KINDS[kind]))
    grown, step = check_grown(first, alone, tmp_path)
    assert step == round(0.8 * alone.steps)
    (start,), (conditions,) = (record_of(one).starts() for one in (grown, alone))
    assert start == conditions | {"step": step}
