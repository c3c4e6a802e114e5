"""Who asks for a reply holds it while it is heard of, whatever the clocks say, and no other pays for it."""

import multiprocessing
import time

import pytest

from ablate.corpus.replies import Replies, Reply
from ablate.run import machine, owners

MINUTES = 60.0


def test_the_lease_of_a_dead_process_is_void_and_that_of_a_live_one_holds(tmp_path):
    path = tmp_path / "replies.sqlite"
    process = multiprocessing.get_context("fork").Process(target=lambda: Replies(path).claim(b"dead", 9, 1000))
    process.start()
    process.join()
    with Replies(path) as one, Replies(path) as other:
        assert one.claim(b"dead", 9, 1000).granted
        assert other.claim(b"dead", 9, 1000) == (None, False)
        assert other.claim(b"late", 9, -1).granted  # its time is over
        assert one.claim(b"late", 9, 1000).granted
        assert one.claim(b"third", 2, 1000) == (None, False)  # as many as may be are asked for
        one.keep(b"dead", "wise", Reply("here", requests=2, estimated=True))
        assert other.claim(b"dead", 9, 1000).reply == Reply("here", requests=2, estimated=True)
        assert one.claim(b"third", 2, 1000).granted


class World:
    """The time that has passed here; nobody asks what time it is."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def world(monkeypatch) -> World:
    world = World()
    monkeypatch.setattr(owners, "time", world)
    return world


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """The file as another machine has it open, one of the same name where processes have the same numbers."""
    with monkeypatch.context() as there:
        there.setattr(machine, "boot", lambda: "its boot")
        return Replies(tmp_path / "replies.sqlite")


@pytest.mark.parametrize("skew", [0, 90, -90, 86_400, -86_400, -1e9])
def test_the_lease_of_another_machine_holds_while_it_is_heard_of(tmp_path, monkeypatch, world, elsewhere, skew):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + skew)
    with Replies(tmp_path / "replies.sqlite") as here, elsewhere:
        assert elsewhere.claim(b"key", 9, 10 * MINUTES).granted
        for _ in range(9):
            assert here.claim(b"key", 9, 1000) == (None, False)
            world.seconds += 9 * MINUTES
            elsewhere.renew(b"key", 10 * MINUTES)
        assert here.claim(b"key", 9, 1000) == (None, False)
        world.seconds += 10 * MINUTES - 1
        assert here.claim(b"key", 9, 1000) == (None, False)
        world.seconds += 1
        assert here.claim(b"key", 9, 1000).granted


def test_a_lease_that_is_given_again_is_another_one(tmp_path, world, elsewhere):
    with Replies(tmp_path / "replies.sqlite") as here, elsewhere:
        for _ in range(3):
            assert elsewhere.claim(b"key", 9, 10 * MINUTES).granted
            assert here.claim(b"key", 9, 1000) == (None, False)
            world.seconds += 9 * MINUTES
            elsewhere.release(b"key")


def test_a_process_that_has_the_number_of_a_dead_one_holds_none_of_its_leases(tmp_path, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr(owners, "born", lambda process: "1")
        with Replies(tmp_path / "replies.sqlite") as dead:
            assert dead.claim(b"key", 9, 1000).granted
    with Replies(tmp_path / "replies.sqlite") as here:
        assert here.claim(b"key", 9, 1000).granted
