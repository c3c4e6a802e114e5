import json

import numpy as np
import pytest

from ablate.page.drawing import parallel
from ablate.verdict.evidence import Evidence, read
from tests.verdict.worlds import World, write

QUICK = World(evaluations=4, tokens=200_000, null_arm=None)


@pytest.fixture(scope="module")
def evidence(tmp_path_factory) -> Evidence:
    """Arms that differ in a number, in a number over orders of magnitude, and in a name."""
    record = write(tmp_path_factory.mktemp("outputs"), QUICK)
    changes = {
        "qa_20": {"size.width": [128, 256], "optimizer.name": ["adamw", "muon"]},
        "qa_40": {"schedule.lr": [0.001, 0.1], "size.width": [128, 192]},
        "qa_12": {"optimizer.name": ["adamw", "lion"]},
    }
    declaration = record.read()
    record.write(json.loads(json.dumps(declaration | {"arms": {"base": {}, **changes}})))
    return read(record)


def test_every_arm_has_a_value_of_every_setting(evidence):
    found = parallel.settings(evidence)
    assert found["size.width"] == {"base": 128, "qa_20": 256, "qa_40": 192, "qa_12": 128}
    assert found["schedule.lr"] == {"base": 0.001, "qa_20": 0.001, "qa_40": 0.1, "qa_12": 0.001}
    assert found["optimizer.name"]["qa_12"] == "lion"


def lines(figure) -> np.ndarray:
    """Heights at the axes, a row a line: the base last."""
    (drawn,) = figure.axes[0].collections
    return np.array([path.vertices[::3, 1] for path in drawn.get_paths()])


def test_a_line_crosses_each_axis_at_the_arms_value(evidence):
    figure = parallel.parallel(evidence)
    heights = lines(figure)
    names = [text.get_text() for text in figure.axes[0].texts]
    assert heights.shape == (4, 4)  # three arms and the base; three settings and the difference
    assert [name for name in names if name in ("width", "name", "lr", "difference")] == [
        "width",
        "name",
        "lr",
        "difference",
    ]
    order = sorted(evidence.arms, key=lambda arm: abs(np.mean(list(evidence.differences(arm, "macro").values()))))
    last = dict(zip([*order, "base"], heights[:, -1], strict=True))
    assert last["qa_20"] < last["base"] < last["qa_12"] < last["qa_40"]
    width = dict(zip([*order, "base"], heights[:, 0], strict=True))
    assert width["qa_20"] > width["qa_40"] > max(width["base"], width["qa_12"])


def test_arms_of_one_value_are_fanned_out_and_stay_near_it(evidence):
    rate = lines(parallel.parallel(evidence))[:, 2]
    together = np.sort(rate)[:3]
    assert len(set(together)) == 3
    assert np.ptp(together) <= 2 * parallel.FAN + 1e-12


def test_better_is_blue_and_worse_is_orange(evidence):
    (drawn,) = parallel.parallel(evidence).axes[0].collections
    *_, harm, help_, base = np.asarray(drawn.get_edgecolor(), dtype=float)  # the strongest last, then the base
    assert help_[2] > help_[0]
    assert harm[0] > harm[2]
    assert np.allclose(base[:3], np.array([0x1C, 0x21, 0x28]) / 255)


def test_one_setting_alone_is_not_worth_a_figure(tmp_path):
    record = write(tmp_path, World(evaluations=4, tokens=200_000, domains={"qa": (0.85, 800.0, 0.48)}, null_arm=None))
    assert not parallel.drawable(read(record))


def test_ticks_are_not_written_over_each_other():
    values = {f"a{i}": value for i, value in enumerate((1.0, 1.001, 2.0, 1.999, 1.5))}
    places = sorted(parallel._numbers("x", values).ticks)
    assert len(places) == 3
    assert min(np.diff(places)) > 0.05
