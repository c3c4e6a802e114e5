"""One thread per process, and property tests that draw the same examples every time."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before anything loads torch or a BLAS

from hypothesis import HealthCheck, settings

settings.register_profile(
    "ablate",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ablate")


import contextlib  # noqa: E402
import multiprocessing  # noqa: E402
import signal  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

import pytest  # noqa: E402
from tiny import tiny_in  # noqa: E402
from typed import warm  # noqa: E402

from ablate.run.settings import Settings  # noqa: E402

OURS, SERVERS = b"ablate.", (b"forkserver", b"resource_tracker")  # in command lines; servers serve all tests


@pytest.fixture(autouse=True)
def no_process_outlives_its_test() -> Iterator[None]:
    """Whatever a test started and did not wait for, because it failed or ran out of time, is killed."""
    before = _children()
    yield
    for process in multiprocessing.active_children():
        process.kill()
        process.join()
    for pid in _children() - before:
        with contextlib.suppress(OSError):  # gone meanwhile
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            if OURS in words and not any(server in words for server in SERVERS):
                os.kill(pid, signal.SIGKILL)


def _children() -> set[int]:
    found = set[int]()
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # the thread has ended meanwhile
            found.update(map(int, path.read_text().split()))
    return found


@pytest.fixture(scope="session")
def shared_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of prepared text for all tests, also of other test processes (preparing is safe at once)."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared-data"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def outputs(tmp_path: Path, shared_data: Path) -> Path:
    """An empty output folder that already knows the prepared text."""
    folder = tmp_path / "outputs"
    folder.mkdir()
    (folder / "data").symlink_to(shared_data)
    return folder


@pytest.fixture
def tiny(outputs: Path) -> Callable[..., Settings]:
    """tiny(seed=1, where={"threads": 2}): settings of a run of a second, changed as said."""
    return tiny_in(outputs)


@pytest.fixture(scope="module")
def shared_tiny(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Callable[..., Settings]:
    """As `tiny`, into one folder of all tests of a file: what one of them trained is there for the next."""
    folder = tmp_path_factory.mktemp("outputs")
    (folder / "data").symlink_to(shared_data)
    return tiny_in(folder)


@pytest.fixture(scope="session")
def forkserver() -> multiprocessing.context.ForkServerContext:
    """Processes that have torch and Lightning imported already."""
    return warm()


@pytest.fixture
def unprobed(monkeypatch):
    """Runs without the three steps of `fit.probe`, for tests that count what the training does."""
    monkeypatch.setattr("ablate.fit.probe.possible", lambda *_: False)
