"""Published systems: their sizes, tokens and steps as published, and the same shape at a size for a laptop."""

import dataclasses
import itertools
import json
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from test_train import HELD, start
from typed import typed

from ablate.console.compose import settings_of
from ablate.model import budget
from ablate.model.language import LanguageModel
from ablate.plan import schedule
from ablate.plan.timeline import timeline
from ablate.run.parse import check_choices
from ablate.run.settings import Settings, SettingsError
from ablate.run.steps import ramp_steps, steps_of

ROOT = Path(__file__).parent.parent
SYSTEMS = ["zagreus", "davinci", "elleci", "vitruvian"]
SMALL = ["tiny", "nano", "micro"]


@pytest.fixture(scope="module")
def system() -> Callable[..., Settings]:
    """system("zagreus", "size=nano"): its settings, composed by Hydra."""

    def composed(name: str, *overrides: str) -> Settings:
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return settings_of(compose("train", [f"+system={name}", *overrides]))

    return composed


def parameters(settings: Settings) -> int:
    with torch.device("meta"):
        return budget.count(LanguageModel(settings.model, settings.size, settings.data.vocabulary))


# Published parameters, and half a unit of their last digit. Of Vitruvian-1 nothing but "14 B" is known: what is
# checked is the shape it borrows, that of microsoft/phi-4, whose card says 14.7 B.
PARAMETERS = {
    "zagreus": (0.4e9, 0.05e9),
    "davinci": (3.09e9, 0.005e9),
    "elleci": (1.5e9, 0.05e9),
    "vitruvian": (14.7e9, 0.05e9),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_parameters_are_those_published(system, name):
    published, rounding = PARAMETERS[name]
    assert parameters(system(name)) == pytest.approx(published, abs=rounding)


def test_zagreus_has_the_parameters_of_its_configuration_counted_by_hand(system):
    width, heads, kv_heads, hidden, layers, vocabulary = 960, 15, 5, 2560, 32, 128_256
    attention = width * (2 * heads + 2 * kv_heads) * (width // heads)
    assert parameters(system("zagreus")) == (
        vocabulary * width + layers * (attention + 3 * width * hidden + 2 * width) + width
    )


def test_zagreus_holds_an_embedding_of_123_million(system):
    s = system("zagreus")
    assert s.model.tied
    assert s.size.width * s.data.vocabulary == pytest.approx(123e6, rel=0.01)


def test_davinci_is_3_09_billion_tied_and_not_otherwise(system):
    assert parameters(system("davinci")) == 3_085_846_528
    assert parameters(system("davinci", "model.tied=false")) > 3.39e9


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_is_published_text_and_rows_of_its_span(system, name):
    s = system(name)
    assert s.data.source == "hub"
    assert set(s.data.sources) == set(s.data.domains)
    assert max(s.length.lengths) == s.data.span
    assert sum(s.mixture_stages[0][1].values()) == pytest.approx(1)


def test_zagreus_reads_838_9_billion_tokens_in_800_thousand_steps(system):
    plan = timeline(system("zagreus"))
    assert len(plan) == 800_000
    assert plan.tokens[-1] == 838_860_800_000
    rate = plan.table["lr"]
    assert (rate[3998:4001] < [3e-3, 3.0001e-3, 3.0001e-3]).all()
    assert rate[3999:750_000] == pytest.approx(3e-3)
    assert (np.diff(rate[749_999:]) < 0).all()
    assert rate[-1] == pytest.approx(1e-7, rel=1e-3)
    assert (plan.table["weight_decay"] == 0.01).all()


def test_davinci_grows_its_batch_as_published(system):
    s = system("davinci")
    first, second, third = ramp_steps(s.ramp.multiples, s.ramp.starts, s.tokens, s.step_tokens)
    assert (first, second) == (70_000, 40_000)
    assert first * s.step_tokens == pytest.approx(293.6e9, rel=2e-4)
    assert second * 2 * s.step_tokens == pytest.approx(335.5e9, rel=2e-4)
    end_of_stage_1_1 = steps_of(s.mixture_stages[1][0], s.steps)
    assert end_of_stage_1_1 - first - second == pytest.approx(200_900, abs=50)
    assert third == s.steps - first - second


def test_davinci_has_four_stages_of_published_tokens(system):
    s = system("davinci")
    assert s.mixture_stages[1][0] == s.schedule.stages["stage_1_2"].start
    edges = [*(steps_of(start, s.steps) for start, _ in s.mixture_stages), s.steps]
    batch = np.repeat(
        [m * s.step_tokens for m in s.ramp.multiples],
        ramp_steps(s.ramp.multiples, s.ramp.starts, s.tokens, s.step_tokens),
    )
    tokens = [batch[a:b].sum() for a, b in itertools.pairwise(edges)]
    assert tokens == pytest.approx([4e12, 2e12, 1e12, 1e12], rel=1e-4)


def test_davinci_ends_in_70_percent_qa_of_100_3(system):
    weights = [stage for _, stage in system("davinci").mixture_stages]
    assert [w["qa"] for w in weights] == pytest.approx([0, 0, 0.3, 70 / 100.3])
    assert weights[0]["general"] == pytest.approx(0.682)
    assert weights[1]["code"] == pytest.approx(0.1166)


def test_davinci_rates_follow_table_5(system):
    s = system("davinci")
    rate = schedule.rates(s.schedule, s.optimizer.lr, s.steps)
    edges = [steps_of(stage.start, s.steps) for stage in s.schedule.stages.values()]
    assert rate[1_000] == pytest.approx(1.5e-4, rel=0.01)
    assert rate[2_001 : edges[0]] == pytest.approx(3e-4)
    assert rate[edges[1] - 1] == pytest.approx(3e-5)
    middle = (edges[0] + edges[1]) // 2
    assert rate[middle] == pytest.approx(1.65e-4, rel=1e-3)  # halfway down a cosine
    assert rate[edges[1]] < 3e-7  # warmed up anew
    assert rate[edges[1] + 2_001 :] == pytest.approx(3e-5)


def test_elleci_reads_0_47_billion_tokens_and_decays_by_a_cosine(system):
    plan = timeline(system("elleci"))
    assert len(plan) == 12_500
    assert plan.tokens[-1] == pytest.approx(0.47e9, rel=0.01)
    assert (plan.table["rows"] == 64).all()
    assert [plan.table["length"][i] for i in (0, 3_749, 3_750, 8_749, 8_750)] == [256, 256, 512, 512, 1024]
    assert plan.table["lr"][9_999] == pytest.approx(1.5e-3)
    assert plan.table["lr"][11_249] == pytest.approx(0.75e-3, rel=1e-3)
    assert plan.table["lr"][-1] == 0
    assert [plan.weights[stage].tolist() for stage in plan.table["stage"][[11_249, 11_250]]] == [
        [0.55, 0.35, 0.1],
        [0.2, 0.25, 0.55],
    ]


def test_elleci_is_three_of_mamba_to_one_of_latent_attention(system):
    s = system("elleci")
    with torch.device("meta"):
        blocks = LanguageModel(s.model, s.size, s.data.vocabulary).blocks
    kinds = [type(block.mixer).__name__ for block in blocks]
    assert (kinds.count("Mamba2"), kinds.count("LatentAttention")) == (18, 6)
    assert kinds[3] == "LatentAttention"
    assert (s.optimizer.name, s.averaging.kind, s.averaging.start) == ("adamw8bit", "uniform", 0.9)


@pytest.mark.parametrize("size", SMALL)
@pytest.mark.parametrize("name", SYSTEMS)
def test_a_small_size_keeps_the_shape_and_makes_the_rest_small(system, name, size):
    large, small = system(name), system(name, f"size={size}")
    assert small.data.source == "installed"
    assert small.data.domains == large.data.domains
    assert parameters(small) < 10e6
    assert small.steps < 3_000
    assert max(small.length.lengths) == small.data.span
    assert small.mixture_stages == large.mixture_stages
    assert small.schedule == large.schedule
    assert small.averaging == large.averaging
    assert dataclasses.replace(small.optimizer, lr=large.optimizer.lr) == large.optimizer
    assert small.model.pattern == large.model.pattern
    ratios = {a / b for a, b in zip(large.length.lengths, small.length.lengths, strict=True)}
    assert ratios == {large.data.span / small.data.span}
    shares = [
        np.array(ramp_steps(s.ramp.multiples, s.ramp.starts, s.tokens, s.step_tokens)) / s.steps for s in (small, large)
    ]
    assert shares[0] == pytest.approx(shares[1], abs=0.02)


@pytest.mark.parametrize("word", ["size=nano", "size=micro"])
def test_without_a_system_a_size_is_a_size_alone(word):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        plain = settings_of(compose("train", [word]))
    assert plain.data == Settings().data
    assert (plain.tokens, plain.step_tokens) == (Settings().tokens, Settings().step_tokens)


def test_single_keys_of_a_system_can_be_changed(system):
    s = system("zagreus", "size=nano", "schedule.shape=cosine", "tokens=50_000", "data.sources.italian=qa")
    assert (s.schedule.shape, s.tokens, s.data.names["italian"]) == ("cosine", 50_000, "qa")


@pytest.mark.parametrize("word", ["schedule=cosine", "data=folder", "model=hybrid"])
def test_a_group_beside_a_system_is_refused_where_it_would_do_nothing(word):
    with pytest.raises(SettingsError, match=rf"^{word}: \+system=davinci says what"):
        check_choices(["+system=davinci", "size=nano", word])
    check_choices([word, "size=nano"])
    check_choices(["+system=davinci", "size=nano", "where=gpu", "schedule.warmup=0.1", "tokens=1e6"])


REAL = ROOT.parent / "shared" / "corpora"
# Parts of transformers for every architecture but Elleci's, which mixes Mamba-2 with latent attention
FORMS = {"elleci": "safetensors"}
WORDS = [
    *("size=tiny", "size.width=32", "size.hidden=64", "size.heads=2", "tokens=40_960", "data.span=64"),
    *("data.vocabulary=512", "data.domain_bytes=150_000", "evaluation.times=3", "evaluation.spans=2"),
    *("where.wandb=off", "where.peak_tflops=0.1", "where.progress=false"),
]


def done(*words: str) -> str:
    """What a command prints, which works."""
    found = typed(*words)
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_trains_stops_goes_on_and_is_exported(name, outputs):
    """From beginning to end; that a resumed run has the bits of one that was not stopped is for tests/fit to show."""
    lengths = ["length.lengths=[16,32,64]"] if name == "elleci" else []
    words = [f"+system={name}", *WORDS, *lengths, "where.saves=16"]
    process = start(*words, f"where.outputs={outputs}", program=("-c", HELD))
    while not list((outputs / "runs").glob("*/checkpoints/step-*")):
        time.sleep(0.05)
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    out = done("train", *words, f"where.outputs={outputs}")
    assert "finished" in out
    [run] = (outputs / "runs").iterdir()
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [row["step"] for row in rows if row["kind"] == "train"]
    assert steps == sorted(set(steps))
    assert json.loads((run / "result.json").read_text())["tokens"] == pytest.approx(40_960, rel=0.5)
    done("export", run.name, "--to", FORMS.get(name, "hf"), "--outputs", str(outputs))


@pytest.mark.slow
def test_a_system_is_compared_in_a_study(outputs):
    words = ["+system=zagreus", *WORDS, "seed=0,1", "optimizer.lr=0.001,0.002", f"where.outputs={outputs}"]
    out = done("train", "-m", *words, "where.workers=2")
    assert "page     " in out
    [study] = (outputs / "studies").iterdir()
    assert "optimizer.lr=0.00" in done("report", study.name, "--outputs", str(outputs))


@pytest.mark.skipif(not REAL.is_dir(), reason="the corpora are not here")
def test_a_system_reads_text_of_yours(tmp_path):
    sources = "data.sources={english: english, italian: european, pdf: european, code: code}"
    words = ["+system=zagreus", *WORDS, "data.source=folder", f"data.root={REAL}", sources]
    assert "european" not in done("prepare", *words, f"where.outputs={tmp_path}")
    manifest = json.loads(next((tmp_path / "data").glob("folder-*/manifest.json")).read_text())
    assert set(manifest["domains"]) == {"english", "italian", "pdf", "code"}


@pytest.mark.slow
@pytest.mark.parametrize("name", SYSTEMS)
def test_a_study_of_a_system_is_planned_without_its_text(tmp_path, name):
    words = [f"+system={name}", "-m", "where=cluster", "where.dry_run=true", "where.price=2.5"]
    said = done("train", *words, f"where.outputs={tmp_path}")
    assert "text: hub, not prepared and not looked at" in said
    assert re.search(r"device hours, [\d,.]+ at 2.5 each", said)
    assert not (tmp_path / "data").exists()
