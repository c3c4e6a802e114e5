"""Checkpoints, protocols and all tasks of a study: chance is named, a peak is marked, a turn has a probability."""

import pytest
from rich.console import Console

from ablate.page import answers as tables
from ablate.page import page, terminal
from ablate.run.files import write_json
from ablate.scores import answers
from ablate.scores.metrics import Scope, names_of_tasks
from ablate.verdict import book, protocols
from ablate.verdict.book import Book
from ablate.verdict.evidence import read
from ablate.verdict.progress import progress
from ablate.verdict.task_effects import task_effects
from ablate.verdict.validity import trust
from tests.verdict.answered import SETTINGS, Asked, answer
from tests.verdict.worlds import World, write


@pytest.fixture
def study(tmp_path):
    return write(tmp_path, World(effects={"qa_20": 0.0, "qa_40": 0.0}, null_arm=None))


def printed(what) -> str:
    console = Console(width=200, record=True)
    console.print(what)
    return console.export_text()


def test_the_best_of_several_checkpoints_is_marked_unless_it_is_the_last(study):
    answer(study, steps={100: 1.0, 200: -0.4})  # nats over those of the end: the second is a peak
    points = [point for point in progress(read(study), "bpb") if point.arm == "qa_20"]
    assert [(point.step, point.selected) for point in points] == [(100, False), (200, True), (300, False)]
    assert [point.runs for point in points] == [4, 4, 4]
    assert points[0].value > points[2].value > points[1].value
    text = printed(tables.progress(read(study)))
    assert "^ selected: the best of several checkpoints" in text


def test_a_checkpoint_that_is_no_better_than_the_last_was_not_selected(study):
    answer(study, Asked(item_noise=0.0, seed_noise=0.0), steps={100: 0.0, 200: 0.1})
    points = [point for point in progress(read(study), "bpb") if point.arm == "qa_20"]
    assert points[0].value == points[2].value < points[1].value
    assert not any(point.selected for point in points)


def test_a_kept_study_has_its_checkpoints(study, tmp_path):
    answer(study, steps={100: 1.0, 200: -0.4})
    for _, _, record in study.records():
        write_json(record.folder / "starts.json", [{"step": 0, "origin": ""}])
    book.keep(read(study), tmp_path / "book")
    assert progress(read(Book(tmp_path / "book")), "bpb") == progress(read(study), "bpb")


def test_arms_are_shown_on_the_same_items(study):
    answer(study, Asked(contaminated={"qa_20": (0, 1, 2)}))
    found: dict[str, list] = {}
    for arm, _, record in study.records():
        found.setdefault(arm, []).extend(answers.found(record.scores, "sums"))
    rows = [line.split() for line in printed(tables.answered(found)).splitlines() if " sums " in line]
    assert {row[0]: row[2] for row in rows} == {"base": "57", "qa_20": "57", "qa_40": "57"}


def test_where_guessing_gives_as_much_it_is_said(study):
    answer(study, Asked(item_noise=0.0, seed_noise=0.0), steps={100: 9.0, 200: 0.5})
    points = [point for point in progress(read(study), "acc") if point.arm == "base"]
    assert {point.chance for point in points} == {0.5}
    assert points[0].value == 0.0  # every item wrong: below chance, which is not at chance
    assert not points[0].at_chance
    assert points[1].at_chance
    assert not points[2].at_chance
    assert "at chance" in printed(tables.progress(read(study)))


def test_a_turn_of_two_arms_between_protocols_has_a_probability_over_items(study):
    answer(study, Asked(effects={"qa_20": -0.5}), "cloze")
    answer(study, Asked(effects={"qa_20": 0.5}), "likelihood")
    found = protocols.compared(read(study), "sums", "bpb")
    assert found is not None
    flips = {flip.arms: flip for flip in found.flips}
    assert flips["base", "qa_20"].turned
    assert flips["base", "qa_20"].probability > 0.99
    assert 0.1 < flips["base", "qa_40"].probability < 0.9  # nobody knows


def test_what_is_said_of_a_turn_stands_on_a_line_of_its_own(study):
    answer(study)
    answer(study, protocol="likelihood")
    text = printed(tables.progress(read(study)))
    lines = [line for line in text.splitlines() if "under likelihood: the order" in line]
    assert len(lines) == 4 * 3  # readings, pairs of arms
    assert all("with probability" in line for line in lines)


def test_bits_of_generated_answers_are_those_of_cloze_and_count_once():
    scope = Scope(["code"], "", {"sums": SETTINGS | {"protocols": ["cloze", "likelihood", "generate"]}})
    names = names_of_tasks(scope)
    assert "task:sums:acc:generate" in names
    assert "task:sums:bpb:likelihood" in names
    assert "task:sums:bpb:generate" not in names
    alone = Scope(["code"], "", {"sums": SETTINGS | {"protocols": ["generate"]}})
    assert "task:sums:bpb" in names_of_tasks(alone)


def test_one_protocol_turns_nothing(study):
    answer(study)
    assert protocols.compared(read(study), "sums", "bpb") is None


def test_tasks_are_corrected_for_all_arms_and_protocols_of_a_reading(study):
    answer(study, Asked(effects={"qa_20": -0.3}))
    answer(study, Asked(effects={"qa_20": -0.3}), "likelihood")
    found = {(one.metric.name, one.arm): one for one in task_effects(read(study), ())}
    assert len(found) == 4 * 2 * 2  # readings, protocols, arms
    effect = found["task:sums:bpb", "qa_20"]
    assert effect.interval[0] < effect.mean < effect.interval[1] < 0
    assert effect.p_adjusted < 0.05 < found["task:sums:bpb", "qa_40"].p_adjusted
    assert effect.items is not None
    assert effect.items.items == 60


def test_page_card_and_terminal_show_what_hangs_on_items(study):
    answer(study, Asked(effects={"qa_20": -0.3}, contaminated={"base": (1,)}))
    study.write(study.read() | {"metric": "task:sums:bpb", "margin": 0.001})
    evidence = read(study)
    conclusion = trust.conclude(evidence)
    text = page.of(evidence, conclusion).read_text()
    assert "By task" in text
    assert "over 59 items of 30 sources" in text
    assert "1 left out, which stand in training text" in text
    assert "tasks, exploratory" in printed(terminal.tasks(task_effects(evidence, ())))
