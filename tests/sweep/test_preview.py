"""The plan shows what every arm's model costs as it will be built, what runs share, and what that saves."""

import io
import json
import re

import pytest
from rich.console import Console
from rich.text import Text

from ablate.plan.timeline import timeline
from ablate.run.parse import from_config
from ablate.run.study import Budget, Study
from ablate.sweep.cost import drawn, prospect
from ablate.sweep.preview import preview
from ablate.sweep.study import Plan, plan
from ablate.sweep.tracks import stride, track
from ablate.sweep.trunk import Segment, beginnings, forest, key
from ablate.verdict.statistics.paired import detectable_with


def shown(tmp_path, match: str) -> dict[str, str]:
    """What the tables say of each arm."""
    settings = [
        from_config({"size": {"match": match}, "model": model, "where": {"outputs": str(tmp_path)}})
        for model in ({}, {"pattern": "M"})
    ]
    text = io.StringIO()
    study = Study(name="s", factor=["model"], seeds=[0])
    preview(plan(study, settings[0], {"mamba": settings[1]}), Console(file=text, width=160))
    lines = text.getvalue().splitlines()
    return {arm: " ".join(line for line in lines if line.startswith(arm)) for arm in ("base", "mamba")}


def test_no_word_is_broken_in_80_columns(tmp_path):
    base = from_config({"where": {"outputs": str(tmp_path)}})
    other = from_config({"where": {"outputs": str(tmp_path)}, "mixture": {"weights": {"general": 2, "code": 1}}})
    text = io.StringIO()
    plan_ = plan(Study(name="s", factor=["mixture"], seeds=[0]), base, {"share_05_of_general": other})
    preview(plan_, Console(file=text, width=80))
    words = text.getvalue().split()
    change = "mixture.weights from step 0: general 0.25 → 0.6667, code 0.25 → 0.3333, science 0.25 → 0, qa 0.25 → 0"
    assert set(change.split()) <= set(words), text.getvalue()


def test_a_share_that_comes_to_no_row_is_said_in_the_plan(tmp_path):
    common = {"where": {"outputs": str(tmp_path)}, "length": {"lengths": [256]}, "tokens": 20 * 1024}
    base, small, half = (from_config(common | {"mixture": {"share": share}}) for share in (0.25, 0.01, 0.5))
    text = io.StringIO()
    plan_ = plan(Study(name="s", factor=["mixture"], seeds=[0, 1, 2, 3]), base, {"small": small, "half": half})
    preview(plan_, Console(file=text, width=120))
    assert "small: 0 to 2 rows where 0.8 are asked of qa" in text.getvalue()
    assert "half: " not in text.getvalue()


def test_a_matched_arm_shows_the_widths_it_gets_and_what_they_cost(tmp_path):
    lines = shown(tmp_path, "parameters")
    assert "128, 384" in lines["base"]
    assert "1.05 M" in lines["base"]
    assert "112, 360" in lines["mamba"]
    assert "1.054 M" in lines["mamba"]
    assert "model: pattern A → M" in lines["mamba"]


def test_an_arm_that_is_not_matched_shows_that_it_is_larger(tmp_path):
    lines = shown(tmp_path, "none")
    assert "128, 384" in lines["mamba"]
    assert "1.291 M" in lines["mamba"]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, ""),
        ({"size": {"width": 512, "heads": 8}}, "GiB a device in a step of base, the largest"),
        ({"size": {"width": 512, "heads": 8}, "where": {"strategy": "zero3"}}, "1 parts: zero3"),
    ],
)
def test_memory_is_shown_of_a_model_that_may_not_fit(tmp_path, changes, line):
    where = {"where": {"outputs": str(tmp_path), "dry_run": True} | changes.get("where", {})}
    base, text = from_config(changes | where), io.StringIO()
    preview(plan(Study(name="s", seeds=[0]), base, {}), Console(file=text, width=160))
    assert line in text.getvalue()
    assert ("memory:" in text.getvalue()) == bool(line)


def planned(tmp_path, where: dict | None = None, seeds: tuple[int, ...] = (0, 1), **changes) -> tuple[Plan, str]:
    """Two decays that share their first 80 steps, and what is shown of them."""
    common = {"tokens": 102_400, "step_tokens": 1024, "where": {"outputs": str(tmp_path), **(where or {})}, **changes}
    arms = [from_config({**common, "schedule": {"decay": 0.2, "shape": shape}}) for shape in ("linear", "cosine")]
    study = Study(name="s", factor=["schedule"], seeds=list(seeds), budget=Budget(noise=0.01, noise_df=4))
    plan_, text = plan(study, arms[0], {"cosine": arms[1]}), io.StringIO()
    preview(plan_, Console(file=text, width=160))
    return plan_, text.getvalue()


def test_what_runs_share_is_shown_once_and_costs_once(tmp_path):
    plan_, text = planned(tmp_path)
    found, at = prospect(plan_), forest(beginnings(plan_))[0].last
    assert f"2 x steps 0-{at}  2 runs each" in text
    assert f"4 x steps {at}-100" in text
    assert found.alone == 2 * found.flops[plan_.runs[0].id][-1] * 2
    assert found.shared == pytest.approx(found.alone * (at + 2 * (100 - at)) / 200)
    assert found.left == found.shared


def test_without_trunks_nothing_is_shared(tmp_path):
    found = prospect(planned(tmp_path, {"trunks": False})[0])
    assert found.left == found.shared == found.alone


def test_what_is_on_disk_costs_nothing_more(tmp_path):
    plan_, _ = planned(tmp_path)
    one = beginnings(plan_)[0]
    at = forest([*beginnings(plan_)])[0].last
    folder = tmp_path / "trunks" / key(one, at)
    folder.mkdir(parents=True)
    (folder / "trunk.json").write_text(json.dumps({"run": one.run, "step": at, "flops": 0, "seconds": 0}))
    found = prospect(plan_)
    flops = found.flops[one.run]
    assert found.left == pytest.approx(found.shared - flops[at])
    assert "1 on disk" in planned(tmp_path)[1]


def test_the_noise_that_is_assumed_gives_the_smallest_effect(tmp_path):
    _, text = planned(tmp_path, seeds=(0, 1, 2))
    assert f"3 seeds can detect: {detectable_with(0.01, 3, 0.05):.4f}" in text


def test_one_seed_detects_nothing_known(tmp_path):
    assert "unknown until two seed blocks are done" in planned(tmp_path, seeds=(0,))[1]


def test_a_dry_run_draws_the_timeline(tmp_path):
    planned(tmp_path, {"dry_run": True})
    assert (tmp_path / "studies" / "s" / "plan.png").read_bytes().startswith(b"\x89PNG")


def test_many_shapes_are_folded_into_few_lines():
    trees = [
        Segment(0, 5, ("a",), tuple(Segment(5, 10 + n * 40 + m, (f"{n} {m}",)) for m in range(40))) for n in range(20)
    ]
    text = io.StringIO()
    Console(file=text, width=160).print(drawn(trees, lambda group: Text(group.text), 24))
    lines = text.getvalue().splitlines()
    assert len(lines) <= 24
    assert sum("40 branches" in line for line in lines) == 20


def test_a_large_study_for_a_cluster_says_its_device_hours_its_price_and_its_memory(tmp_path):
    """8 devices of 1 TFLOP/s at a third: 3 prices an hour, whatever the executor."""
    where = {"executor": "slurm", "strategy": "ddp", "devices": 8, "peak_tflops": 1.0, "price": 3.0, "dry_run": True}
    plan_, text = planned(tmp_path, where, size={"width": 512, "depth": 8})
    hours = prospect(plan_).left / (1e12 / 3) / 3600
    assert f"about {hours:,.3g} device hours, {3 * hours:,.2f} at 3 each (each at a third of where.peak" in text
    held = re.search(r"ddp ([\d.]+), zero1 ([\d.]+), zero2 ([\d.]+), zero3 ([\d.]+), fsdp ([\d.]+) GiB", text)
    assert held
    sizes = [float(size) for size in held.groups()]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0]


def test_the_picture_of_a_long_run_has_few_points_and_every_change(tmp_path):
    length = {"lengths": [256, 512], "starts": [0, 12_345]}
    settings = from_config({"tokens": 40_000 * 1024, "step_tokens": 1024, "length": length})
    line = timeline(settings)
    drawn = track(line, stride([settings]))
    assert len(drawn.rate) < 4100
    assert len(drawn.tokens) == len(drawn.rate) + 1
    assert drawn.tokens[[0, -1]].tolist() == [0, 40_000 * 1024]
    at = int((drawn.length == 256).sum())
    assert drawn.tokens[at] == line.tokens[12_345]
    assert track(line, 1).rate.tolist() == line.table["lr"].tolist()
