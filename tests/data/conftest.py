from pathlib import Path

import pytest
from small import write_corpora  # pyrefly: ignore  # beside this file


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    """The root of a small folder of text."""
    write_corpora(tmp_path / "corpora")
    return tmp_path / "corpora"
