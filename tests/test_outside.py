"""Parts that are added from outside the package: a module and a folder of conf files, and nothing in here is edited."""

import json
from pathlib import Path

import pytest
from typed import typed

pytestmark = pytest.mark.slow
MODULE = '''
import math
import random
from dataclasses import dataclass

import torch.nn.functional as F
from torch import nn

from ablate.corpus.document import Document
from ablate.data.text import SOURCES
from ablate.model.mixers import MIXERS
from ablate.plan.schedule import SHAPES
from ablate.scores.metrics import METRICS, Metric


class Window(nn.Module):
    """The mean over the last tokens."""

    INITIAL = {"out.bias": lambda uniform, model: 0 * uniform}

    @dataclass(frozen=True)
    class Options:
        window: int = 4

    def __init__(self, model, size, options):
        super().__init__()
        self.window = options.window
        self.out = nn.Linear(size.width, size.width)

    def forward(self, x_BLD):
        x_BDL = F.pad(x_BLD.transpose(1, 2), (self.window - 1, 0))
        return self.out(F.avg_pool1d(x_BDL, self.window, stride=1).transpose(1, 2))

    def flops(self, length):
        return 2 * self.out.weight.numel()

    def state_bytes(self, length):
        return 2 * self.window * self.out.in_features

    def kernel(self, device, length):
        return "mean"


class Syllables:
    def __init__(self, data):
        self.data = data

    def documents(self, name):
        draw = random.Random(name)
        for number in range(60):
            words = ("".join(draw.choices(("ba", "ke", "lu", "mi", "so"), k=3)) for _ in range(200))
            yield Document(" ".join(words), f"{name}/{number}")

    def signature(self):
        return {"syllables": 1}


def square(x, final):
    return 1.0 * (x < 0.5) + final * (x >= 0.5)


def spared(scores, scope):
    """Of the nats of a uniform guess over 300 tokens, the share that a token of the worst domain is spared."""
    sums = [scores["sums"][domain] for domain in scope.domains]
    return min(1 - one["nats"] / one["tokens"] / math.log(300) for one in sums)


MIXERS["W"], SHAPES["square"], SOURCES["syllables"] = Window, square, Syllables
METRICS["spared"] = Metric("spared", "nats spared", "higher", spared)
'''
CONF = {
    "model/window.yaml": "defaults: [llama]\npattern: AW\noptions: {W: {window: 3}}\n",
    "schedule/square.yaml": "warmup: 0.0\ndecay: 1.0\nshape: square\nfinal: 0.5\nstages: {}\n",
    "data/syllables.yaml": "defaults: [installed]\nsource: syllables\ndomains: [east, west]\nfocus: east\n",
}
CHOICES = ["model=window", "schedule=square", "data=syllables", "where.imports=[parts_of_mine]"]
TINY = [
    *("size=tiny", "data.vocabulary=300", "data.span=64", "length.lengths=[64]", "step_tokens=256", "tokens=2048"),
    *("evaluation.times=1", "evaluation.spans=1", "where.wandb=off", "where.peak_tflops=0.1", "where.outputs=out"),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outside")
    (folder / "parts_of_mine.py").write_text(MODULE)
    for name, text in CONF.items():
        path = folder / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def results(lab: Path) -> dict[str, dict]:
    return {path.parent.name: json.loads(path.read_text()) for path in lab.glob("out/runs/*/result.json")}


def test_parts_of_ones_own_in_a_run_a_study_its_report_and_an_export(lab: Path):
    one_run_on_several_devices(lab)
    a_study_whose_arms_differ_in_an_option(lab)
    its_report_by_a_metric_of_ones_own(lab)
    an_export_of_a_mixer_that_has_no_class_in_transformers(lab)


def one_run_on_several_devices(lab: Path):
    done = typed("train", "--config-dir", "conf", *CHOICES, *TINY, "where.strategy=ddp", "where.devices=2", there=lab)
    assert done.returncode == 0, done.stderr
    (id,) = results(lab)
    folder = lab / "out" / "runs" / id
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert {row["lr"] for row in rows if row["kind"] == "train"} == {0.003, 0.0015}
    (start, *_) = json.loads((folder / "starts.json").read_text())
    assert start["kernels"]["W"] == "mean"
    assert start["constants"]["blocks.1.mixer"]["window"] == "3"
    assert "module parts_of_mine" in start


def a_study_whose_arms_differ_in_an_option(lab: Path):
    before = set(results(lab))
    study = ["study.name=windows", "study.metric=spared", "study.margin=0.001"]
    arms = ["-m", "model.options.W.window=2,3", "seed=0,1", "controls=none", *study]
    done = typed("train", "--config-dir", "conf", *CHOICES, *TINY, *arms, there=lab)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing declared explains it" not in done.stdout
    assert len(set(results(lab)) - before) == 3  # window=3 of seed 0 was trained on two devices: the same run


def its_report_by_a_metric_of_ones_own(lab: Path):
    done = typed("report", "windows", "--outputs", "out", there=lab)
    assert done.returncode == 0, done.stderr
    (page,) = (lab / "out" / "studies" / "windows").rglob("index.html")
    assert "nats spared" in page.read_text()
    for command in (["runs"], ["power", "windows"]):
        said = typed(*command, "--outputs", "out", there=lab)
        assert said.returncode == 0, said.stderr
        assert "nats spared" in said.stdout


def an_export_of_a_mixer_that_has_no_class_in_transformers(lab: Path):
    (id, *_) = results(lab)
    done = typed("export", id, "--outputs", "out", there=lab)
    assert done.returncode == 1
    assert done.stderr.startswith("error: model.pattern='AW': must be made of A, L and M")
    assert len(done.stderr.splitlines()) == 1
    assert typed("export", id, "--outputs", "out", "--to", "safetensors", there=lab).returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model.options.W.windw=3"], "model.options.W.windw: "),
        (["+model.options.W.windw=3"], "model.options.W.windw: no such option; there are window"),
        (["model.options.W.window=wide"], "model.options.W.window=wide: must be a valid integer"),
        (["model.pattern=A"], "model.options.W={'window': 3}: must be options of a letter in model.pattern"),
        (["where.imports=[]"], "schedule.shape=square: must be one of linear, cosine, sqrt, exponential"),
        (
            ["study.metric=y"],
            "study.metric=y: must be one of macro, micro, rest, spikes, spike_score, spike_score_norm,",
        ),
        (["data.domains=[spared,east]"], "data.domains=spared: must be other names than those of metrics: macro,"),
        (["where.imports=[parts_of_nobody]"], "where.imports=parts_of_nobody: ModuleNotFoundError"),
    ],
)
def test_a_mistake_with_ones_own_parts_is_one_line(lab: Path, words: list[str], said: str):
    done = typed("train", "--config-dir", "conf", *CHOICES, *TINY, "where.outputs=nothing", *words, there=lab)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {said}")
    assert len(done.stderr.splitlines()) == 1
    assert not (lab / "nothing").exists()
