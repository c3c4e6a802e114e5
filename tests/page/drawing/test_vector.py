"""A picture of a page is written as a PNG once, and again when it shows something else or is damaged."""

import pytest
from matplotlib.figure import Figure

from ablate.page.drawing.vector import both


def drawn(height: float) -> Figure:
    figure = Figure()
    figure.subplots().plot([0, 1], [0, height])
    return figure


@pytest.mark.parametrize("damage", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n"])
def test_a_png_is_drawn_again_only_when_it_has_to_be(tmp_path, damage):
    path = tmp_path / "loss.png"
    svg = both(drawn(1), path)
    first = path.stat().st_ino
    assert both(drawn(1), path) == svg
    assert path.stat().st_ino == first
    both(drawn(2), path)
    assert path.stat().st_ino != first
    whole = path.read_bytes()
    for broken in (damage, whole[:-100], whole[:200] + b"x" + whole[201:]):
        path.write_bytes(broken)
        both(drawn(2), path)
        assert path.read_bytes() == whole
