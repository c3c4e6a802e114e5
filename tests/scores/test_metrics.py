"""Metrics are read from sums, with the declaration of the study that judges."""

import math
import re
from pathlib import Path
from typing import Any

import pytest

from ablate.run.parse import from_plain
from ablate.run.settings import Settings, SettingsError, UserError
from ablate.scores.metrics import METRICS, Metric, Scope, check, check_judged, metric_of, readings

PACKAGE = Path(__file__).parents[2] / "ablate"
DOMAINS = ["general", "code", "qa"]
BITS, BYTES = (100, 600, 100), (100, 200, 50)  # 1, 3 and 2 bits per byte
SUMS = {
    domain: {"nats": bits * math.log(2), "tokens": 40, "bytes": size}
    for domain, bits, size in zip(DOMAINS, BITS, BYTES, strict=True)
}
RECORD = {"sums": SUMS}


def value(metric: str, focus: str = "qa", record: dict | None = None) -> float | None:
    return metric_of(metric, DOMAINS).value(record or RECORD, Scope(DOMAINS, focus))


@pytest.mark.parametrize(
    ("metric", "focus", "expected"),
    [
        ("code", "qa", 3.0),
        ("macro", "qa", 2.0),  # (1 + 3 + 2) / 3
        ("micro", "qa", 800 / 350),  # all bits, all bytes
        ("rest", "qa", 2.0),  # (1 + 3) / 2
        ("rest", "code", 1.5),  # (1 + 2) / 2
        ("rest", "general", 2.5),  # (3 + 2) / 2
    ],
)
def test_a_metric_is_what_it_says(metric, focus, expected):
    assert value(metric, focus) == pytest.approx(expected, rel=1e-12)


def test_a_metric_knows_which_way_is_better():
    less, more = (Metric("one", "share", better, lambda *_: 0.5) for better in ("lower", "higher"))
    assert (less.sign, less.ends) == (1, ("better", "worse"))
    assert (more.sign, more.ends) == (-1, ("worse", "better"))


@pytest.mark.parametrize(
    ("better", "sign", "ends"), [("lower", 1, ("better", "worse")), ("higher", -1, ("worse", "better"))]
)
def test_the_direction_orients_differences_and_axes(better, sign, ends):
    metric = Metric("m", "points", better, lambda *_: 0.0)
    assert (metric.sign, metric.ends) == (sign, ends)


def test_rest_needs_a_focus_among_several_domains():
    assert value("rest", "law") is None
    assert METRICS["rest"].value(RECORD, Scope(["qa"], "qa")) is None


def test_a_record_without_what_a_metric_needs_has_no_value():
    assert value("macro", record={"outcome": "diverged"}) is None
    assert value("micro", record={"sums": {"qa": SUMS["qa"]}}) is None
    assert value("qa", record={"sums": {"qa": SUMS["qa"]}}) == pytest.approx(2.0)


def test_a_record_from_before_sums_were_kept_has_its_numbers_and_this_studys_rest():
    old = {"bpb": {"general": 1.25, "code": 3.5, "qa": 2.0, "macro": 2.25, "micro": 2.4375, "rest": 99.0}}
    expected = {"general": 1.25, "code": 3.5, "qa": 2.0, "macro": 2.25, "micro": 2.4375, "rest": 1.625}
    assert readings(old, Scope(DOMAINS, "code")) == expected


def test_readings_name_every_number_the_domains_first():
    assert list(readings(RECORD, Scope(DOMAINS, "qa"))) == [*DOMAINS, "macro", "micro", "rest"]
    assert "rest" not in readings(RECORD, Scope(DOMAINS, ""))


def test_only_the_scores_know_a_metric_by_name():
    """What reads `bpb` by itself reads the wrong number once a study has another metric."""
    files = [path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".html") and "scores" not in path.parts]
    files.remove(PACKAGE / "run" / "shapes.py")  # which says what may stand there, and reads nothing
    assert len(files) > 100
    assert [path for path in files if re.search(r"(?<![a-z])bpb(?![a-z])", path.read_text(encoding="utf-8"))] == []


def raising(*_: object) -> float:
    raise RuntimeError("no such thing")


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (raising, "metric mine: RuntimeError: no such thing"),
        (lambda *_: "three", "metric mine: ValueError: could not convert"),
        (lambda *_: 1 / 0, "metric mine: ZeroDivisionError: division by zero"),
    ],
)
def test_a_metric_that_fails_is_one_line_before_the_first_run(monkeypatch, read, said):
    mine = Metric("mine", "points", "higher", read)
    with pytest.raises(UserError, match=said):
        mine.value(RECORD, Scope(DOMAINS, "qa"))
    monkeypatch.setitem(METRICS, "mine", mine)
    with pytest.raises(UserError, match=said):
        check(settings(DOMAINS, "macro"))  # runs log every metric that is known, so another one is no way out


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_what_is_not_finite_is_no_reading_and_no_end_of_a_run(monkeypatch, value):
    mine = Metric("mine", "points", "higher", lambda *_: value)
    monkeypatch.setitem(METRICS, "mine", mine)
    assert "mine" not in readings(RECORD, Scope(DOMAINS, "qa"))
    with pytest.raises(UserError, match="a64-s0: its record gives the metric mine no finite value"):
        mine.final("a64-s0", RECORD, Scope(DOMAINS, "qa"))


def test_a_search_needs_a_metric_of_text():
    study = {"metric": "spike_score", "factor": ["mixture"], "budget": {"race": "search"}}
    with pytest.raises(SettingsError, match=r"race=search: must be another with study.metric=spike_score; a search"):
        check(from_plain({"study": study}))
    check(from_plain({"study": study | {"metric": "rest"}}))
    check(from_plain({"study": study | {"budget": {"race": "best"}}}))


def settings(domains: list[str], metric: str = "macro", focus: str = "qa") -> Settings:
    return from_plain({"data": {"domains": domains, "focus": focus}, "study": {"metric": metric}})


@pytest.mark.parametrize(
    ("domains", "metric", "focus", "message"),
    [
        (["macro", "qa"], "macro", "qa", "data.domains=macro: must be other names than those of metrics: macro, micro"),
        (["qa", "micro"], "qa", "qa", "data.domains=micro:"),
        (["rest", "qa"], "qa", "qa", "data.domains=rest:"),
        (["code", "qa"], "y", "qa", "study.metric=y: must be one of macro, micro, rest, spikes, spike_score, "),
        (["code", "qa"], "rest", "law", "data.focus=law: must be one of several domains for rest: ['code', 'qa']"),
        (["qa"], "rest", "qa", "data.focus=qa: must be one of several domains for rest: ['qa']"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(domains, metric, focus, message):
    with pytest.raises(SettingsError) as refused:
        check(settings(domains, metric, focus))
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_a_domain_may_not_be_called_like_a_metric_of_ones_own(monkeypatch):
    check(settings(["accuracy", "qa"]))
    monkeypatch.setitem(METRICS, "accuracy", Metric("accuracy", "share of rows", "higher", lambda *_: 0.5))
    with pytest.raises(SettingsError, match=r"data\.domains=accuracy"):
        check(settings(["accuracy", "qa"]))


def test_a_domain_of_an_older_study_is_no_metric_that_came_later(monkeypatch):
    record = {"sums": {"recall": {"nats": 8000.0, "tokens": 1000, "bytes": 4000}}}
    before = metric_of("recall", ["recall"]).value(record, Scope(["recall"], ""))
    monkeypatch.setitem(METRICS, "recall", Metric("recall", "share of rows", "higher", lambda *_: 0.5))
    assert metric_of("recall", ["recall"]).better == "lower"
    assert readings(record, Scope(["recall"], ""))["recall"] == before
    assert metric_of("recall", ["code"]).better == "higher"


@pytest.mark.parametrize(
    ("metric", "why"),
    [
        ("task:words:bpb", "must be of a task of evaluate.tasks; there are sums"),
        ("task:sums:f1", "must be task:<name>:<reading>, or with :<protocol> behind it; readings are bpb, acc"),
        ("task:sums:acc:generate", "must be of a protocol of evaluate.tasks.sums: cloze"),
        ("task:sums", "must be task:<name>:<reading>"),
    ],
)
def test_a_metric_of_a_task_is_of_one_that_is_asked(tiny, metric, why):
    settings = tiny(evaluate={"tasks": {"sums": {"items": 3}}}, study={"metric": metric})
    with pytest.raises(SettingsError, match=f"study.metric={metric}: {why}"):
        check(settings)


def of_pairs(metric: str, objective: str, **study: Any) -> Settings:
    plain = {"data": {"pairs": True}, "length": {"lengths": [1024]}, "start": "run:x"}
    return from_plain(plain | {"objective": objective, "study": {"metric": metric} | study})


def test_a_metric_of_pairs_is_judged_where_runs_hold_it():
    check_judged(of_pairs("preference:rise", "preference"))
    check_judged(of_pairs("preference:acc_shorter", "reward"))
    check_judged(from_plain({}))
    for settings, why in (
        (of_pairs("preference:distance", "reward"), "data.pairs=true and objective=reward"),
        (from_plain({"study": {"metric": "preference:acc"}}), "data.pairs=false and objective=next_token"),
    ):
        with pytest.raises(SettingsError, match=f"^study.metric=preference:.* must be another: a run with {why} does"):
            check_judged(settings)


def test_without_a_pair_of_the_kind_there_is_no_number():
    sums = {"pairs": 4.0, "right": 3.0, "shorter": 0.0, "shorter_right": 0.0}
    found = {
        name: value(f"preference:{name}", record={"pairs": dict.fromkeys(DOMAINS, sums)})
        for name in ("acc", "acc_shorter")
    }
    assert found == {"acc": 0.75, "acc_shorter": None}
