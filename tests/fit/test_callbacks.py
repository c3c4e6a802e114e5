"""Callbacks of the user's own: found by their path, told of the run's steps and of no others, and no part of the id."""

import sys

import pytest
from runs import interrupt, record_of, train_run

from ablate.fit import parts
from ablate.run.settings import SettingsError

MINE = """
import lightning as L

class Counting(L.Callback):
    made = []

    def __init__(self):
        self.steps = self.backward = 0
        Counting.made.append(self)

    def on_train_batch_end(self, trainer, module, *_):
        self.steps += 1

    def on_after_backward(self, trainer, module):
        self.backward += 1

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]

class Needy(L.Callback):
    def __init__(self, number):
        pass

def nothing():
    return 1
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module of one's own in the current folder."""
    (tmp_path / "mine_of_test.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    yield lambda: sys.modules["mine_of_test"].Counting.made[-1]
    sys.modules.pop("mine_of_test", None)
    sys.path[:] = [place for place in sys.path if place != str(tmp_path)]


def test_it_is_told_of_every_step_and_not_of_the_probe(tiny, tmp_path, mine):
    plain = train_run(tiny())
    own = {"callbacks": ["mine_of_test:Counting"], "outputs": str(tmp_path / "other")}
    settings = tiny(where=own)
    assert train_run(settings)["weights_sha256"] == plain["weights_sha256"]
    assert (mine().steps, mine().backward) == (20, 20)
    assert record_of(settings).id == record_of(tiny()).id


def test_its_state_comes_back_with_the_checkpoint(tiny, mine):
    interrupt(settings := tiny(where={"callbacks": ["mine_of_test:Counting"], "saves": 2}), 12)
    train_run(settings)
    assert mine().steps == 20


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("not_there_of_test", "ModuleNotFoundError: No module named 'not_there_of_test'"),
        ("mine_of_test:Missing", "AttributeError: module 'mine_of_test' has no attribute 'Missing'"),
        ("mine_of_test:Needy", "TypeError: "),
        ("mine_of_test:nothing", "must be module:Class of a lightning.Callback"),
        ("mine_of_test", "must be module:Class of a lightning.Callback"),
    ],
)
def test_a_wrong_path_is_one_line_before_anything_is_written(tiny, tmp_path, mine, path, line):
    settings = tiny(where={"callbacks": [path], "outputs": str(tmp_path / "other")})
    with pytest.raises(SettingsError) as refused:
        train_run(settings)
    assert str(refused.value).startswith(f"where.callbacks={path}: {line}")
    with pytest.raises(SettingsError, match=r"^where\.callbacks="):  # and of a study before its plan is shown
        parts.check(settings)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "other" / "runs").exists()
