import math

import numpy as np
import pytest

from ablate.verdict import book
from ablate.verdict.evidence import Evidence, read
from ablate.verdict.passages import passages
from tests.verdict.worlds import World, write

DOMAINS, ROWS = ("general", "code", "science", "qa"), 12


def evidence(folder, rng: np.random.Generator, effect: float, rows: int = ROWS, metric: str = "macro") -> Evidence:
    """A study whose runs keep their rows: an arm is better by `effect` bits per byte, more in some rows than others."""
    found = read(write(folder, World(evaluations=5, tokens=300_000)))
    found.declaration["metric"] = metric
    size = {domain: rng.integers(3000, 5000, rows).astype(float) for domain in DOMAINS}
    by_row = {domain: effect + 0.01 * rng.standard_normal(rows) for domain in DOMAINS}
    for run in found.runs:
        shift = by_row if run.arm == "qa_20" else dict.fromkeys(DOMAINS, np.zeros(rows))
        run.result["validation"] = {
            domain: {
                "nats": ((1.5 + shift[domain]) * size[domain] * math.log(2)).tolist(),
                "bytes": size[domain].tolist(),
            }
            for domain in DOMAINS
        }
    return found


def test_the_difference_is_that_of_the_metric_and_the_error_that_of_its_rows(tmp_path):
    rng, found = np.random.default_rng(0), []
    for number in range(40):
        one = passages(evidence(tmp_path / str(number), rng, -0.02), "qa_20")
        assert one is not None
        assert one.rows == 4 * ROWS
        found.append((one.mean, one.error, one.interval(0.95)))
    means, errors, intervals = zip(*found, strict=True)
    assert np.mean(means) == pytest.approx(-0.02, abs=0.001)
    assert np.std(means, ddof=1) == pytest.approx(np.mean(errors), rel=0.35)
    assert sum(low <= -0.02 <= high for low, high in intervals) >= 34


def test_one_domain_and_all_pooled(tmp_path):
    rng = np.random.default_rng(1)
    one, micro = (passages(evidence(tmp_path / m, rng, 0.03, metric=m), "qa_20") for m in ("code", "micro"))
    assert one is not None
    assert micro is not None
    assert one.rows == ROWS
    assert (one.df, micro.df) == (ROWS - 1, 4 * ROWS - 1)
    assert micro.error < one.error


def test_an_arm_that_is_the_base_has_no_error(tmp_path):
    one = passages(evidence(tmp_path, np.random.default_rng(2), 0.0), "qa_40")
    assert one is not None
    assert (one.mean, one.error) == (0.0, 0.0)


def test_nothing_is_said_without_rows_or_with_other_rows(tmp_path):
    assert passages(read(write(tmp_path / "none", World(evaluations=5, tokens=300_000))), "qa_20") is None
    other = evidence(tmp_path / "other", np.random.default_rng(3), 0.0)
    other.by_arm["qa_20"][1].result["validation"]["code"]["bytes"][0] += 1
    assert passages(other, "qa_20") is None
    assert passages(evidence(tmp_path / "one", np.random.default_rng(4), 0.0, rows=1), "qa_20") is None


def test_the_lab_book_keeps_the_rows(tmp_path):
    found = evidence(tmp_path / "outputs", np.random.default_rng(5), -0.02)
    book.keep(found, tmp_path / "kept")
    assert passages(read(book.Book(tmp_path / "kept")), "qa_20") == passages(found, "qa_20")
