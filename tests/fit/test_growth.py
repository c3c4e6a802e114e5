"""A run grown from another's trunk is the run trained alone, bit for bit, whatever it is made of."""

from typing import Any

import pytest
from runs import KINDS, elsewhere, record_of, train_run
from tiny import merged

from ablate.plan.timeline import timeline
from ablate.run.settings import Settings
from ablate.run.trunks import Growth, trunk_record
from ablate.sweep.trunk import Branch, beginning, branches

pytestmark = pytest.mark.slow

# The last fifth is another one
MIXTURE = {"mixture": {"stages": {"end": {"start": 0.8, "weights": {"code": 1}}}}}
DECAY = {"schedule": {"warmup": 0.1, "decay": 0.2}}
NO_DECAY = {"schedule": {"warmup": 0.1, "decay": 0.0}}


def branch_of(*several: Settings) -> Branch:
    """The last place that the ways of all these runs have in common."""
    found = branches([beginning(str(n), timeline(one), "", "") for n, one in enumerate(several)])
    return max(set.intersection(*map(set, found.values())), key=lambda branch: branch.step)


def pair(kind: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two of a kind that differ in their last fifth: a plain mean must not reach over two mixtures."""
    if kind.get("averaging", {}).get("kind") == "uniform":
        return kind | NO_DECAY, kind | DECAY
    return kind, merged(kind, MIXTURE)


@pytest.mark.parametrize("kind", KINDS)
def test_grown_from_a_trunk_it_ends_with_the_same_weights(tiny, tmp_path, kind):
    first, alone = (tiny(**changes) for changes in pair(KINDS[kind]))
    expected = train_run(alone)
    grown = elsewhere(alone, tmp_path / "grown")
    branch = branch_of(first, alone)
    assert branch.step == round(0.8 * alone.steps)
    trunk = trunk_record(tmp_path, branch.key)
    leaving = train_run(first, Growth(leave={branch.step: trunk}))
    assert leaving["grown_from"] is None
    assert trunk.read()["step"] == branch.step
    found = train_run(grown, Growth(start=trunk))
    assert found["weights_sha256"] == expected["weights_sha256"] != leaving["weights_sha256"]
    assert found["grown_from"]["run"] == record_of(first).id
    same = ("step", "tokens", "flops", "sums", "mixture")
    assert {name: found[name] for name in same} == {name: expected[name] for name in same}
    rows, others = (record_of(one).rows("evaluation") for one in (grown, alone))
    assert rows == others
    rows, others = (record_of(one).rows("trace") for one in (grown, alone))
    assert rows == others
    (start,), (conditions,) = (record_of(one).starts() for one in (grown, alone))
    assert start == conditions | {"step": branch.step}
