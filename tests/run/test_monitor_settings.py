import pytest

from ablate.run.identity import difference
from ablate.run.monitor import spelled, union, windows
from ablate.run.settings import SettingsError


def test_windows_are_read_joined_and_spelled():
    assert windows(["120-140", "7-8", "8-9", "130-150"]) == [(7, 9), (120, 150)]
    assert spelled(windows(["120-140", "7-8"])) == ["7-8", "120-140"]
    assert union([(3, 4), (5, 6)]) == [(3, 4), (5, 6)]


def test_one_way_to_say_what_is_left_out(tiny):
    assert difference(tiny(monitor={"skip": ["3-5"]}), tiny(monitor={"skip": ["4-5", "3-4"]})) == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"monitor": {"skip": ["5"]}}, r"monitor.skip=\[5\]: must be windows of steps: 120-140 is from step 120"),
        ({"monitor": {"skip": ["5-5"]}}, r"monitor.skip=\[5-5\]: must be windows"),
        ({"monitor": {"sigma": 5}}, r"monitor.sigma=5.0: must be 6.0 with monitor.act=none, which looks at nothing"),
        ({"monitor": {"act": "skip", "margin": 2}}, r"monitor.margin=2: must be 4 with monitor.act=skip; rollback has"),
        ({"monitor": {"act": "skip", "window": 32}}, r"monitor.least=64: must be at most monitor.window=32"),
        ({"trouble": {"start": 0.1}}, r"trouble.start=0.1: must be left out with trouble.kind=none"),
        ({"trouble": {"kind": "noise", "factor": 2}}, r"trouble.factor=2.0: must be left out with trouble.kind=noise"),
        ({"trouble": {"kind": "rate", "domain": "qa"}}, r"trouble.domain=qa: must be left out with trouble.kind=rate"),
        ({"trouble": {"kind": "noise", "domain": "x"}}, r"trouble.domain=x: must be empty or one of general, code, qa"),
        ({"trouble": {"kind": "rate", "factor": 1}}, r"trouble.factor=1.0: must be another than 1, which is none"),
        ({"trouble": {"kind": "noise", "start": 20}}, r"trouble.start=20.0: must be within the run"),
    ],
)
def test_what_does_nothing_or_cannot_be_is_one_line(tiny, changes, message):
    with pytest.raises(SettingsError, match=message):
        tiny(**changes)
