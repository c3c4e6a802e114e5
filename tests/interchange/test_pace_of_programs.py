"""Sides take turns, and each program reads and writes what it is asked to."""

import io
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ablate.compress.forms import Recipe
from ablate.compress.smaller import smaller
from ablate.interchange import onnx, pace, programs
from ablate.interchange.contract import Leaving
from ablate.interchange.onnx_network import graph_of
from ablate.interchange.programs import Asked, LeftOut, Onnx, Side, Torch
from ablate.model.language import build
from ablate.run.settings import Mamba, Model, Settings, Size, UserError

ASKED = Asked(prompt=12, decode=5, threads=1)
HYBRID = Model(pattern="MA", mamba=Mamba(state=8, head_width=8, chunk=8))


class Counting:
    """A program of which a token takes so many seconds."""

    def __init__(self, name, said, seconds, share=1.0):
        self.name, self.said, self.seconds, self.share = name, said, seconds, share

    def read(self):
        self.said.append(f"{self.name} reads")
        Clock.now += self.seconds * ASKED.prompt

    def write(self):
        self.said.append(f"{self.name} writes")
        Clock.now += self.seconds * ASKED.decode / self.share
        return self.share


class Clock:
    now = 0.0


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(pace.time, "process_time", lambda: Clock.now)


def of(monkeypatch, *found):
    monkeypatch.setattr(pace, "SIDES", {"onnx": lambda leaving, asked, folder: iter(found)})


def measured(rounds, leaving: Any = None):
    told = []
    found = pace.measured(leaving, ["onnx"], ASKED, rounds, lambda *what: told.append(what))
    return found, told


def test_sides_take_turns_and_none_is_always_first(monkeypatch, clock):
    said = []
    sides = [Side("onnx", name, "1", 9, False, Counting(name, said, 1.0)) for name in ("fp32", "int8")]
    of(monkeypatch, *sides, LeftOut("onnx", "int4", "too small"))
    found, told = measured(3)
    assert [line for line in said if line.endswith("writes")] == [
        f"{name} writes" for name in ("fp32", "int8", "fp32", "int8", "int8", "fp32", "fp32", "int8")
    ]
    assert [number for number, *_ in told] == list(range(1, 9))
    assert found["left_out"] == [{"runtime": "onnx", "type": "int4", "why": "too small"}]
    assert found["clock"] == "CPU seconds"


def test_tokens_a_second_are_those_of_the_clock(monkeypatch, clock):
    of(monkeypatch, Side("onnx", "fp32", "1", 9, False, Counting("fp32", [], 0.001, share=0.25)))
    found, _ = measured(2)
    [side] = found["sides"]
    assert side["prompt"] == pytest.approx([1000, 1000])
    assert side["decode"] == pytest.approx([1000, 1000])  # what was read again is left out
    assert side["joules"] is None


def test_a_short_prompt_is_read_several_times(clock):
    said = []
    assert pace._tried(Counting("one", said, 0.001), pace.time.process_time) == math.ceil(pace.LONG / 0.012)
    assert said == ["one reads", "one writes", "one reads"]


def test_joules_are_those_of_the_processors(tmp_path):
    def counter(name, joules):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "energy_uj").write_text(f"{joules}\n")
        (tmp_path / name / "max_energy_range_uj").write_text("9999999\n")

    counter("intel-rapl:0", 9_000_000)
    counter("intel-rapl:1", 1_000_000)
    counter("intel-rapl:0:0", 5)
    meter = pace.Meter(tmp_path)
    before = meter.counts()
    counter("intel-rapl:0", 500_000)  # it was full meanwhile
    counter("intel-rapl:1", 1_250_000)
    counter("intel-rapl:0:0", 900)
    assert meter.joules(before, meter.counts()) == pytest.approx(1.5 + 0.25)


def test_what_a_machine_does_not_tell_is_not_measured(tmp_path):
    meter = pace.Meter(tmp_path / "nowhere")
    assert meter.joules(meter.counts(), meter.counts()) is None


def test_programs_write_on_with_the_likeliest_token(tmp_path):
    language = build(HYBRID, Size(width=32, depth=2, heads=2, kv_heads=1, hidden=48), 97, seed=1).eval()
    leaving = Leaving(language, None, 32, 0, tmp_path, Settings())
    tokens_1L = torch.from_numpy(programs._drawn(97, ASKED))
    with torch.no_grad():
        for _ in range(ASKED.decode + 1):
            tokens_1L = torch.cat((tokens_1L, language.logits(tokens_1L)[:, -1:].argmax(-1)), dim=1)
    graph_of(language).save(tmp_path / "model.onnx")
    for program in (Torch(leaving, ASKED, torch.float32), Onnx(tmp_path / "model.onnx", ASKED)):
        for _ in range(2):  # a second time from nothing again
            program.read()
            assert program.next_11.item() == tokens_1L[0, ASKED.prompt]
            assert program.write() == 1.0
            assert program.next_11.item() == tokens_1L[0, -1]


def test_types_that_a_model_cannot_leave_in_are_named(tmp_path):
    language = build(Model(linear="ternary"), Size(width=32, depth=1, heads=2, kv_heads=1, hidden=48), 97, seed=1)
    leaving = Leaving(language.eval(), None, 32, 0, tmp_path, Settings(model=Model(linear="ternary")))

    def written(leaving, type, folder):
        graph_of(leaving.language, type).save(folder / "model.onnx")

    form = onnx.FORM._replace(write=written)
    found: list[Any] = list(
        programs._written("onnx", form, "onnxruntime", leaving, tmp_path, lambda at: Onnx(at / "model.onnx", ASKED))
    )
    assert [(one.type, type(one)) for one in found] == [("fp32", Side), ("int8", Side), ("int4", LeftOut)]
    assert found[1].bytes < found[0].bytes
    assert [one.own for one in found[:2]] == [False, False]


@pytest.mark.parametrize(
    ("recipe", "onnx_has", "llama_has"),
    [
        (Recipe(to="int4", method="round", group=32), True, True),
        (Recipe(to="int8", method="round", group=32), True, False),
        (Recipe(to="int4", method="round", group=32, symmetric=False), True, False),
        (Recipe(to="fp8", method="round", group=32), False, False),
    ],
)
def test_own_are_the_numbers_that_were_scored(recipe, onnx_has, llama_has, tmp_path):
    language = build(Model(), Size(width=32, depth=1, heads=2, kv_heads=1, hidden=64), 97, seed=1).eval()
    leaving = Leaving(language, smaller(language, recipe), 32, 0, tmp_path, Settings())
    assert programs._own(leaving, "onnx", programs.BITS["int4"]) is onnx_has
    assert programs._own(leaving, "llama.cpp", programs.BITS["q4_0"]) is llama_has


def test_a_text_longer_than_the_rows_of_the_run_is_one_line():
    llama = object.__new__(programs.Llama)
    llama.tokens, llama.asked, llama.server = (
        [1] * 128,
        Asked(128, 64, 1),
        SimpleNamespace(listening_address="http://x"),
    )
    # pyrefly: ignore[bad-assignment]
    llama.open = lambda _: io.BytesIO(b'{"tokens_predicted": 1, "timings": {}}')
    with pytest.raises(UserError, match=r"--decode 64: .* llama\.cpp wrote 1 of 64"):
        llama.write()
