"""What a run reports against what its saved weights were found to score."""

import json

import pytest
from rich.console import Console

from ablate.page.terminal import card
from ablate.run.record import Record
from ablate.verdict.card import cards
from ablate.verdict.evidence import Run, read
from ablate.verdict.validity import scores, trust
from tests.verdict.worlds import World, write

SCORED = "were scored once more from their saved weights, in one process"


@pytest.fixture
def study(tmp_path):
    """A study whose runs were all scored once more, and report what came of it; with two passages a domain."""
    record = write(tmp_path, World(evaluations=5, tokens=300_000))
    for run in read(record).distinct_runs:
        nats = {domain: one["nats"] for domain, one in run.result["sums"].items()}
        halves = {domain: {"nats": [value / 4, 3 * value / 4], "bytes": [7, 9]} for domain, value in nats.items()}
        edit(run, lambda result, halves=halves: result.update(validation=halves))
        again = {name: run.result[name] for name in ("weights_sha256", "sums")}
        run.record.keep_rescored(again | {"validation": halves, "bound": 1e-5})
    return record


def edit(run: Run, change) -> None:
    record = Record(run.record.folder)  # a run whose rows were edited is damaged until it is sealed again
    result = record.result() or {}
    change(result)
    record.finish(result)


def found(study, arm: str = "qa_20", change=lambda result: None) -> list[str]:
    """What voids the study after the result of an arm's seed 1 was changed; that it withholds the word is asserted."""
    edit(read(study).by_arm[arm][1], change)
    conclusion = trust.conclude(read(study))
    verdict = next(v for v in conclusion.verdicts if v.arm == "qa_20")
    assert (verdict.notes[:1] == ("void: scores",)) == (verdict.word != "better") == bool(conclusion.broken)
    assert all(one.text in conclusion.sentence for one in conclusion.broken)
    return [one.text for one in conclusion.broken]


def test_equal_numbers_hold_and_are_said(study):
    assert found(study) == []
    (said,) = scores.findings(read(study))
    assert (said.held, said.text) == (True, f"16 runs {SCORED}, and reported the same")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r["sums"]["qa"].update(nats=r["sums"]["qa"]["nats"] * 0.97), "other sums"),  # not in the metrics too
        (lambda r: r["sums"]["code"].update(bytes=12_001), "other sums"),
        (
            lambda r: [one.pop() for one in r["validation"]["qa"].values()],
            "qa of passage 1 nats is reported as nothing",
        ),
        (lambda r: r["validation"]["qa"]["bytes"].__setitem__(1, 10), "qa of passage 1 bytes is reported as 10, and"),
        (lambda r: r.pop("validation"), "general of passage 0 nats is reported as nothing"),
        (lambda r: r.update(weights_sha256="1" * 64), "not those that the run ended with"),
    ],
)
@pytest.mark.parametrize("arm", ["qa_20", "base"])
def test_an_edited_result_is_void(study, arm, change, said):
    (text,) = found(study, arm, change)
    assert text.startswith("seed 1: ")
    assert said in text


@pytest.mark.parametrize("bound", [1e-5, 1.0])  # as it was noted, and as somebody wrote it there
@pytest.mark.parametrize(
    ("number", "factor", "said"),
    [
        ("nats", 1.01, "science nats is reported as"),
        ("bytes", 1.01, "science bytes is reported as 13,130, and the saved weights give 13,000"),
        ("tokens", 4088 / 4096, "science tokens is reported as 4,088, and the saved weights give 4,096"),
        ("nats", 1.000009, None),
    ],
)
def test_a_scorer_that_was_off_is_void_beyond_rounding(study, number, factor, said, bound):
    """Both the result and the last evaluation have the wrong number, as a run would write it."""
    run = read(study).by_arm["qa_20"][1]
    run.record.keep_rescored(run.record.rescored() | {"bound": bound})
    value = run.result["sums"]["science"][number] * factor

    def wrong(result) -> None:
        result["sums"]["science"][number] = value

    path = run.record.folder / "metrics.jsonl"
    *rows, last = (json.loads(line) for line in path.read_text().splitlines())
    assert last["kind"] == "evaluation"
    wrong(last)
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, last]))
    texts = found(study, change=wrong)
    assert [said in text for text in texts] == ([True] if said else [])


def test_two_bounds_of_rounding_are_beyond_rounding(study):
    run = read(study).by_arm["qa_20"][1]
    again = run.record.rescored()
    again["sums"]["science"]["nats"] *= 1.00002
    run.record.keep_rescored(again)
    assert len(found(study)) == 1


def test_the_card_and_the_table_name_it(study, capsys):
    found(study, change=lambda result: result.update(weights_sha256="1" * 64))
    evidence = read(study)
    conclusion = trust.conclude(evidence)
    one = next(c for c in cards(evidence, conclusion) if c.verdict.arm == "qa_20")
    Console(width=150).print(card(one, None))
    assert "void: scores" in capsys.readouterr().out


def test_of_runs_that_were_not_scored_again_the_reason_is_said(tmp_path):
    study = write(tmp_path)
    for number, run in enumerate(read(study).distinct_runs[:6]):
        if number < 4:
            run.record.weights.touch()
        if number < 1:
            run.record.keep_rescored({"why": "a GPU scored them, and there is none here"})
    said = scores.findings(read(study))
    assert all(one.held for one in said)
    what = "runs were not scored once more from their weights"
    assert {one.text for one in said} == {
        f"1 {what}: it was not possible: a GPU scored them, and there is none here",
        f"3 {what}: nobody has asked; ablate report does",
        f"12 {what}: no weights are kept",
    }


def test_a_passage_that_is_known_by_heart_is_the_same_to_rounding_too(study):
    """Of a millionth of a nat no digit need be the same on another machine."""

    def last(value: float):
        return lambda result: result["validation"]["qa"]["nats"].__setitem__(1, value)

    run = read(study).by_arm["qa_20"][1]
    again = run.record.rescored()
    last(2e-6)(again)
    run.record.keep_rescored(again)
    assert found(study, change=last(1e-6)) == []
    assert len(found(study, change=last(1e-3))) == 1
