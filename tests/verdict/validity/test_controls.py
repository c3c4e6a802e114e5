"""A study that does not repeat itself is void; one that misses what is known to be there is told so."""

import json

import pytest
from scipy.stats import ttest_ind

from ablate.run.record import Record
from ablate.run.study_record import study_record
from ablate.verdict.evidence import AA, NULL, POSITIVE, Evidence, read
from ablate.verdict.statistics.paired import interval
from ablate.verdict.validity import controls, trust
from ablate.verdict.validity.controls import findings
from ablate.verdict.validity.finding import Finding
from tests.verdict.worlds import World, write


def studied(tmp_path, **planted) -> Evidence:
    return read(write(tmp_path, World(**planted)))


def again_read(tmp_path) -> Evidence:
    return read(study_record(tmp_path, "mix_sweep"))


def only(found: list[Finding], check: str) -> Finding:
    (finding,) = [one for one in found if one.check == check]
    return finding


def edit(record: Record, name: str, old: str, new: str) -> None:
    """Replace the last occurrence of a text in a file of a record."""
    path = record.folder / name
    before, found, after = path.read_text().rpartition(old)
    assert found
    path.write_text(before + new + after)


def test_a_study_without_controls_is_said_to_have_none(tmp_path):
    evidence = studied(tmp_path)
    (finding,) = findings(evidence)
    assert finding.held
    assert "none were declared" in finding.text
    assert not trust.conclude(evidence).void


def test_a_base_that_repeats_holds(tmp_path):
    evidence = studied(tmp_path, null_seeds=(0, 1))
    weights = evidence.by_arm["base"][0].result["weights_sha256"][:12]
    finding = only(findings(evidence)[:1], NULL)
    assert finding.held
    told = f"`base` of seed 0, trained twice, is the same to the bit: weights {weights}, 24 evaluations"
    assert told in finding.text


def weights_of(record: Record) -> str:
    return (record.result() or {})["weights_sha256"]


def repeated(tmp_path) -> Record:
    return studied(tmp_path, null_seeds=(0,)).control(NULL)[0].record


def test_another_sum_of_weights_is_another_run(tmp_path):
    again = repeated(tmp_path)
    edit(again, "result.json", weights_of(again), "0" * 64)
    finding = only(findings(again_read(tmp_path)), NULL)
    assert not finding.held
    assert "final weights" in finding.text


def test_the_first_evaluation_that_differs_is_named(tmp_path):
    again = repeated(tmp_path)
    rows = [json.loads(line) for line in (again.folder / "metrics.jsonl").read_text().splitlines()]
    evaluations = [row for row in rows if row["kind"] == "evaluation"]
    for row in evaluations[5:]:
        row["sums"]["code"]["nats"] *= 1 + 1e-15  # one bit or a few
    (again.folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    finding = only(findings(again_read(tmp_path)), NULL)
    assert not finding.held
    assert f"evaluation after step {evaluations[5]['step']}, sums code nats: " in finding.text


def test_an_evaluation_too_few_is_a_difference(tmp_path):
    again = repeated(tmp_path)
    lines = (again.folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    last = max(i for i, line in enumerate(lines) if '"evaluation"' in line)
    (again.folder / "metrics.jsonl").write_text("".join(lines[:last] + lines[last + 1 :]))
    assert "one has no evaluation after step 300" in only(findings(again_read(tmp_path)), NULL).text


def test_the_clock_is_no_difference(tmp_path):
    again = repeated(tmp_path)
    edit(again, "result.json", '"seconds": ', '"seconds": 9')
    edit(again, "metrics.jsonl", '"tokens_per_second": 2', '"tokens_per_second": 3')
    assert only(findings(again_read(tmp_path)), NULL).held


def test_what_else_was_different_is_told(tmp_path):
    again = repeated(tmp_path)
    edit(again, "result.json", weights_of(again), "0" * 64)
    edit(again, "environment.json", "a CPU", "another CPU")
    assert "(processor a CPU, another CPU)" in only(findings(again_read(tmp_path)), NULL).text


@pytest.mark.parametrize(("name", "which"), [("base", "the first time"), (NULL, "a second time")])
def test_a_run_that_is_missing_proves_nothing_and_voids_nothing(tmp_path, name, which):
    evidence = studied(tmp_path, null_seeds=(0,))
    run = evidence.by_arm["base"][0] if name == "base" else evidence.control(NULL)[0]
    (run.record.folder / "result.json").unlink()
    evidence = again_read(tmp_path)
    finding = only(findings(evidence), NULL)
    assert finding.held
    assert f"has not been trained {which} (running): not known to repeat" in finding.text
    assert not evidence.complete


def test_a_diverged_base_repeats_too(tmp_path):
    world = {"outcomes": {("base", 0): "diverged"}, "null_seeds": (0,)}
    assert only(findings(studied(tmp_path, **world)), NULL).held


def test_a_known_effect_is_found_with_its_interval(tmp_path):
    evidence = studied(tmp_path, positive_seeds=(0, 1, 2, 3))
    finding = only(findings(evidence), POSITIVE)
    assert finding.held
    d = [
        evidence.final(run, "macro") - evidence.final(evidence.by_arm["base"][seed], "macro")
        for seed, run in evidence.control(POSITIVE).items()
    ]
    low, high = interval(d, 0.05 / 3)  # as strictly as the first of the three arms
    assert "tokens 3000000 → 2250000, known to be worse, was found" in finding.text
    assert f"[{low:+.4f}, {high:+.4f}] over 4 seeds" in finding.text


def test_a_known_effect_that_is_missed_is_told_and_voids_nothing(tmp_path):
    evidence = studied(tmp_path, positive_seeds=(0, 1, 2, 3), positive=0.0002)
    finding = only(findings(evidence), POSITIVE)
    assert finding.held
    assert "was not found" in finding.text
    assert "too weak" in finding.text
    assert not trust.conclude(evidence).void


def test_a_known_effect_the_wrong_way_round_voids(tmp_path):
    evidence = studied(tmp_path, positive_seeds=(0, 1, 2, 3), positive=-0.05)
    finding = only(findings(evidence), POSITIVE)
    assert not finding.held
    assert "known to be worse, came out better" in finding.text
    assert trust.conclude(evidence).void


def test_one_seed_of_a_positive_control_says_nothing(tmp_path):
    finding = only(findings(studied(tmp_path, positive_seeds=(0,))), POSITIVE)
    assert finding.held
    assert "1 of 1 seeds done" in finding.text


def test_controls_are_in_no_family_and_cost_what_they_cost(tmp_path):
    plain = studied(tmp_path / "plain")
    evidence = studied(tmp_path / "with", null_seeds=(0,), aa_seeds=(9, 10), positive_seeds=(0, 1, 2, 3))
    assert evidence.arms == plain.arms
    words = {v.arm: (v.word, v.family, v.effect) for v in trust.conclude(evidence).verdicts}
    assert words == {v.arm: (v.word, v.family, v.effect) for v in trust.conclude(plain).verdicts}
    assert evidence.num_done == plain.num_done + 7
    one = evidence.control(NULL)[0].result["flops"]
    assert evidence.spending[0] - plain.spending[0] == pytest.approx(7 * one)


def test_a_positive_control_that_was_not_wanted_is_no_missing_run(tmp_path):
    world = {("positive", seed): "not started" for seed in (0, 1, 2, 3)}
    evidence = studied(tmp_path, positive_seeds=(0, 1, 2, 3), outcomes=world)
    assert len(evidence.distinct_runs) == evidence.num_done == 16
    assert evidence.complete
    assert "0 of 4 seeds done; it is trained last" in only(findings(evidence), POSITIVE).text


def test_further_seeds_show_how_far_equal_runs_lie_apart(tmp_path):
    evidence = studied(tmp_path, aa_seeds=tuple(range(10, 30)))
    finding = only(findings(evidence), AA)
    assert finding.held
    planted = (0.012**2 / 4 + 0.0012**2 / 4 + 0.0008**2 / 4) ** 0.5  # of a mean over four domains
    told = float(finding.text.partition("standard deviation ")[2].split()[0])
    assert told == pytest.approx(planted, rel=0.35)  # 24 values: 95 % within 29 %
    low, high = json.loads(finding.text[finding.text.index("[") : finding.text.index("]") + 1].replace("+", ""))
    assert low < 0 < high


def test_the_interval_of_two_samples_is_students():
    a, b = [0.1, 0.4, 0.2], [0.3, 0.5, 0.9, 0.2]
    expected = ttest_ind(a, b).confidence_interval(0.9)
    assert controls._two_samples(a, b, 0.1) == pytest.approx((expected.low, expected.high))


def test_a_record_of_before_repeats_where_its_weights_do(tmp_path):
    """It holds bits per byte, its replicate sums: none of the numbers can be compared, and the weights can."""
    again = repeated(tmp_path)
    rows = [json.loads(line) for line in (again.folder / "metrics.jsonl").read_text().splitlines()]
    for row in (row for row in rows if row["kind"] == "evaluation"):
        row["bpb"] = dict.fromkeys(row.pop("sums"), 2.0)
    (again.folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert only(findings(again_read(tmp_path)), NULL).held
    edit(again, "result.json", weights_of(again), "0" * 64)
    assert not only(findings(again_read(tmp_path)), NULL).held
