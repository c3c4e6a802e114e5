"""The report adds up, and its examples are the documents that a rule judged."""

import itertools

import pytest
from corpus.steps import TEXTS, Halves, Short, Twins, Upper, documents_of, written

from ablate.corpus import flow, parts, report
from ablate.corpus.flow import How
from ablate.run.corpus import Prepare


@pytest.fixture
def folders(tmp_path):
    """Two levels of a domain."""
    texts = [*TEXTS, "alone", "two words"]
    first = flow.run(written(tmp_path / "in", texts), tmp_path / "web-l1", [Upper()], How("web", 1, Prepare()))
    steps = [Short(), Twins(), Halves()]
    second = flow.run(parts.paths_of(first), tmp_path / "web-l2", steps, How("web", 2, Prepare(), most=1.0))
    return [first, second]


def test_the_waterfall_goes_from_what_came_in_to_what_is_left(folders):
    bars = report.waterfall(folders)
    assert [bar.what for bar in bars] == ["read", "removed", "removed", "made", "left"]
    assert [bar.label for bar in bars] == ["as read", "short.words", "twins", "halves", "left"]
    for one, other in itertools.pairwise(bars[:-1]):
        assert other.before == one.after
    found = documents_of(folders[-1])
    assert bars[-1].bytes == bars[-2].after == sum(document.bytes for document in found)
    assert bars[-1].documents == len(found)
    assert bars[0].bytes == sum(len(text) for text in [*TEXTS, "alone", "two words"])


def test_rules_stand_in_the_order_of_what_they_removed_with_the_nearest_first(folders):
    twins, short = report.rules(folders, shown=2)
    assert (twins.name, short.name) == ("twins", "short.words")
    assert twins.bytes > short.bytes
    assert [one.value for one in short.barely] == [-2, -2]
    assert {-1, -2} >= {one.value for one in short.others}
    assert [one.value for one in short.nearly] == [-3, -3]
    assert not {one.id for one in short.barely} & {one.id for one in short.others}
    [only] = report.rules(folders, shown=1, only="short")
    assert only.name == "short.words"


def test_of_a_domain_without_levels_there_is_nothing():
    assert report.waterfall([]) == report.rules([], 3) == []
    assert report.costs([]) == {}


def test_what_steps_counted_is_summed_and_the_teacher_apart(folders):
    assert report.noted(folders) == {"letters": sum(len(text) for text in [*TEXTS, "alone", "two words"])}
    assert report.costs(folders) == {}
