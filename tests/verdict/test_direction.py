"""A metric of which more is better: every word, sign, margin and figure against the same numbers with a minus."""

import csv
import io
import sys
from collections.abc import Callable

import pytest
from rich.console import Console

from ablate import power
from ablate.laws.swarm import read_study
from ablate.page import page, spreadsheet, terminal, workspace
from ablate.page.drawing import figures, parallel
from ablate.page.facts import facts
from ablate.run.settings import UserError
from ablate.run.study import Budget, Study
from ablate.scores.metrics import METRICS, Metric, bits_per_byte
from ablate.verdict import compare, race
from ablate.verdict.card import cards
from ablate.verdict.evidence import Evidence, read
from ablate.verdict.selftest import self_test
from ablate.verdict.standing import standing
from ablate.verdict.validity import trust
from tests.verdict.worlds import STEP_TOKENS, World, write
from tests.worlds.study import design, validated
from tests.worlds.study import write as write_mixtures

UNIT = "share of bytes"
SEEDS = (0, 1, 2, 3)
WORLD = World(seeds=SEEDS, evaluations=5, tokens=300_000, aa_seeds=(8, 9), positive_seeds=SEEDS)
MARGIN = 0.002


def _probability(scores, scope) -> float:
    """A toy accuracy: the geometric mean of the probability of a byte, over domains."""
    sums = [scores["sums"][domain] for domain in scope.domains]
    return sum(2 ** -bits_per_byte(one["nats"], one["bytes"]) for one in sums) / len(sums)


ACCURACY = Metric("accuracy", UNIT, "higher", _probability)
OWN_HERE = ("accuracy", "missed")
MISSED = Metric("missed", UNIT, "lower", lambda scores, scope: -_probability(scores, scope))


@pytest.fixture(autouse=True)
def own_metrics(monkeypatch):
    for metric in (ACCURACY, MISSED):
        monkeypatch.setitem(METRICS, metric.name, metric)


@pytest.fixture
def study(tmp_path) -> Callable[..., Evidence]:
    """study("accuracy"): the same runs, judged by a metric."""
    record = write(tmp_path / "outputs", WORLD)
    declared = record.read()

    def judged(metric: str, **changes) -> Evidence:
        record.write(declared | {"metric": metric, "margin": MARGIN} | changes)
        return read(record)

    return judged


def test_words_are_the_same_and_differences_have_the_other_sign(study):
    more, less = compare.verdicts(study("accuracy")), compare.verdicts(study("missed"))
    assert {v.arm: v.word for v in more} == {"qa_20": "better", "qa_40": "worse", "qa_12": "equivalent"}
    for a, b in zip(more, less, strict=True):
        assert a.word == b.word
        assert a.effect.mean == -b.effect.mean
        assert a.effect.interval == tuple(-end for end in reversed(b.effect.interval))
        assert a.differences == {seed: -d for seed, d in b.differences.items()}
        assert (a.effect.p_adjusted, a.effect.mde, a.margin) == (b.effect.p_adjusted, b.effect.mde, MARGIN)
        assert a.arm_value == -b.arm_value
        assert a.arm_value - a.base_value == pytest.approx(a.effect.mean)
    assert next(v for v in more if v.word == "better").effect.mean > 0


def test_the_sentence_and_the_table_name_unit_and_direction(study):
    evidence = study("accuracy")
    conclusion = trust.conclude(evidence)
    best = conclusion.verdicts[0]
    assert conclusion.sentence.startswith(f"`qa_20` is better than `base` by {best.effect.mean:.4f} {UNIT} [")
    console = Console(width=100, record=True, file=io.StringIO())
    terminal.show(evidence, conclusion, console)
    shown = console.export_text()
    assert f"accuracy: {UNIT}, higher is better" in shown
    assert f"{best.effect.mean:+.4f}" in shown
    assert "bits per byte" not in shown


def test_controls_are_judged_in_the_metrics_direction(study):
    for metric in ("accuracy", "missed"):
        texts = [finding.text for finding in trust.conclude(study(metric)).findings]
        assert any("known to be worse, was found" in text and UNIT in text for text in texts)
        assert any("0 is true" in text and UNIT in text for text in texts)
        found = self_test(read(study(metric).study).study.folder.parents[1])
        assert (found.positives, found.positives_found) == (1, 1)


def test_a_card_is_in_the_metrics_unit_and_has_no_error_over_passages(study):
    more, less = cards(study("accuracy")), cards(study("missed"))
    for a, b in zip(more, less, strict=True):
        assert a.passages is None
        assert a.shrunken.wrong_sign == pytest.approx(b.shrunken.wrong_sign, abs=1e-9)  # pyrefly: ignore
        assert a.shrunken.mean == pytest.approx(-b.shrunken.mean)  # pyrefly: ignore
    assert UNIT in dict(facts(more[0]))["effect"]


OWN = """
from ablate.scores.metrics import METRICS, Metric, bits_per_byte

METRICS["spared"] = Metric(
    "spared", "bits spared", "higher",
    lambda scores, scope: 8 - sum(bits_per_byte(s["nats"], s["bytes"]) for s in scores["sums"].values()),
)
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """own_module.py, of which no process knows before a study of its metric is read."""
    (tmp_path / "own_module.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    METRICS.pop("spared", None)
    sys.modules.pop("own_module", None)


@pytest.fixture
def two_studies(tmp_path, own_module):
    """Six arms each, judged by a metric of one's own: the noise of the first is known to the second."""
    effects = {f"qa_{share}": 0.001 * share for share in range(11, 17)}
    records = [
        write(tmp_path / "outputs", World(effects=effects, seeds=seeds, evaluations=4, tokens=300_000), name)
        for name, seeds in (("first", (0, 1, 2)), ("second", (3, 4, 5)))
    ]
    for record in records:
        record.write(record.read() | {"name": record.name, "metric": "spared", "imports": ["own_module"]})
    return records


def test_earlier_studies_are_read_by_a_metric_of_ones_own_before_any_process_knew_it(two_studies):
    """A report once knew less noise than the launcher, which had loaded the module, and drew other intervals."""
    _, second = two_studies
    conclusion = trust.conclude(read(second))
    assert all("spared" in one.pairs for one in conclusion.past)
    assert {one.known.studies for one in conclusion.verdicts} == {("first",)}


def test_power_measures_a_metric_of_ones_own(two_studies, capsys, tmp_path):
    power.main(["second", "--outputs", str(tmp_path / "outputs")])
    assert "bits spared" in capsys.readouterr().out


def test_what_needs_no_lost_metric_goes_on_without_it(two_studies, tmp_path):
    first, second = two_studies
    second.write(second.read() | {"metric": "macro"})
    (tmp_path / "own_module.py").unlink()
    assert {one.known.studies for one in trust.conclude(read(second)).verdicts} == {("first",)}
    assert list(self_test(tmp_path / "outputs").noises) == [*read(second).domains, "macro", "micro", "rest", *OWN_HERE]
    with pytest.raises(UserError, match="own_module: ModuleNotFoundError"):
        read(first)


def ends(evidence: Evidence) -> list[str]:
    figure = figures.forest(evidence, compare.verdicts(evidence))
    texts = [text.get_text() for text in figure.axes[0].texts]
    return [text for text in texts if "←" in text or "→" in text]


def test_figures_say_on_which_side_better_lies(study):
    assert ends(study("accuracy")) == ["← worse", "better →"]
    assert ends(study("missed")) == ["← better", "worse →"]
    assert UNIT in figures.forest(study("accuracy"), []).axes[0].get_xlabel()
    panels = {ax.get_title("left"): ax.get_ylabel() for ax in figures.losses(study("accuracy")).axes}
    assert (panels["accuracy"], panels["general"]) == (UNIT, "bits per byte")


def test_a_line_of_an_arm_has_the_colour_of_its_word(study):
    def colours(evidence: Evidence) -> list:
        return parallel.parallel(evidence).axes[0].collections[0].get_edgecolors().tolist()  # pyrefly: ignore

    assert colours(study("accuracy")) == colours(study("missed"))


def test_the_page_and_its_tables(study):
    evidence = study("accuracy")
    text = page.write(evidence.study).read_text(encoding="utf-8")
    assert f"primary metric <b>accuracy</b>, {UNIT}, higher is better" in text
    assert "<span>← worse</span><span>better →</span>" in text
    rows = list(csv.DictReader(io.StringIO(spreadsheet.tables(evidence, compare.verdicts(evidence))["verdicts"])))
    assert {(row["unit"], row["better"]) for row in rows} == {(UNIT, "higher")}
    assert float(rows[0]["difference"]) > 0
    assert workspace.final(evidence) == "evaluation/metric/accuracy"


def test_power_asks_in_the_metrics_unit(study, tmp_path, capsys):
    shown = []
    for metric in ("accuracy", "missed"):
        study(metric)
        power.main(["mix_sweep", "--outputs", str(tmp_path / "outputs")])
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    assert f"margin {MARGIN} {UNIT}" in shown[0]


def test_laws_of_mixtures_are_of_bits_per_byte_and_say_so(tmp_path):
    record = write_mixtures(tmp_path, validated(), design())
    record.write(record.read() | {"metric": "accuracy"})
    with pytest.raises(UserError, match="study planted: laws are of bits per byte, and its metric is accuracy"):
        read_study(read(record))


def test_a_metric_that_curves_do_not_hold_has_a_page_all_the_same(study, monkeypatch):
    at_the_end = Metric("accuracy", UNIT, "higher", lambda scores, _: scores["weights_sha256"] and scores["step"] / 60)
    monkeypatch.setitem(METRICS, "accuracy", at_the_end)
    evidence = study("accuracy")
    assert page.write(evidence.study).exists()
    assert "accuracy" not in [ax.get_title("left") for ax in figures.losses(evidence).axes]


def raced(folder, metric: str) -> dict[str, race.Decision]:
    """Decisions of a race that has one arm of each kind."""
    effects = {"qa_20": -0.05, "qa_40": 0.06, "qa_12": 0.0}
    world = World(effects=effects, seeds=tuple(range(6)), tokens=100 * STEP_TOKENS, evaluations=4)
    record = write(folder / metric, world)
    record.write(record.read() | {"metric": metric, "margin": MARGIN})
    declared = Study(name="s", seeds=list(world.seeds), margin=MARGIN, budget=Budget(race="verdicts"))
    return race.decide(standing(read(record)), declared)


def test_a_race_stops_the_same_arms(tmp_path):
    more, less = raced(tmp_path, "accuracy"), raced(tmp_path, "missed")
    assert more == less
    assert (more["qa_20"].reason, more["qa_40"].reason) == ("better", "worse")
