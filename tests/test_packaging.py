"""An installed package, without the clone, finds its own configuration and page."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """What `pip install .` makes of a copy of the sources: a build leaves files where it works."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in ("ablate", "conf", "hydra_plugins"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    words = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", *words, str(source)], check=True)
    return target


def run(installed: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


def test_the_command_knows_every_choice_from_elsewhere(installed, tmp_path):
    done = run(installed, tmp_path, str(installed / "bin" / "ablate"), "train", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "experiment: adaptive_sweep, after_sweep," in done.stdout
    done = run(installed, tmp_path, sys.executable, "-m", "ablate.train", "+experiment=mix_sweep", "tokens=1")
    assert done.stderr == "error: tokens=1: must be at least one step of step_tokens=1024\n"
    where = run(installed, tmp_path, sys.executable, "-c", "import ablate.train as t; print(t.__file__)")
    assert where.stdout.startswith(str(installed))


def test_what_is_no_python_comes_along(installed):
    assert (installed / "ablate" / "page" / "page.html").exists()
    assert {path.name for path in (installed / "ablate" / "conf").glob("*/")} == {
        path.name for path in (ROOT / "conf").glob("*/")
    }
    [licence] = installed.glob("ablate-*.dist-info/licenses/LICENSE")
    assert "Version 2.0, January 2004" in licence.read_text()


def test_no_study_is_written_into_an_installed_package(installed, tmp_path):
    code = "from ablate.suggest import folder; folder(None)"
    done = run(installed, tmp_path, sys.executable, "-c", code)
    assert "this ablate is installed, not a clone; give --config-dir" in done.stderr
