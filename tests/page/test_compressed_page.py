"""Smaller weights on a page: the table, the frontier, the picture, and which matrix has how many bits."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from rich.console import Console

from ablate import report
from ablate.page import compressed, page
from ablate.page.drawing.pareto import pareto
from ablate.page.drawing.style import LIGHT
from ablate.page.kept import keep
from ablate.run.compress import Compress
from ablate.run.study_record import StudyRecord
from ablate.verdict import compression
from ablate.verdict.evidence import read
from ablate.verdict.validity import trust
from tests.verdict.worlds import World, write

WORLD = World(effects={"int8": 0.0, "int4": 0.05, "int3": 0.03, "mixed": 0.02}, null_arm=None, evaluations=3)
SIZES = {"int8": 1_000_000, "int4": 500_000, "int3": 500_000, "mixed": 400_000}
MATRICES = {"blocks.0.feed.down": "int8", "blocks.0.mixer.qkv": "int2", "blocks.1.feed.down": "int4"}


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> StudyRecord:
    record = write(tmp_path_factory.mktemp("outputs"), WORLD, "smaller")
    for arm, seed, run in record.records():
        if arm == "base":
            continue
        path = run.folder / "result.json"
        result = json.loads(path.read_text())
        told = {"file_bytes": SIZES[arm], "bytes": SIZES[arm] - 5000, "bits": 4.25, "kept": {"embedding": "was asked"}}
        if arm == "mixed":
            told["forms"] = MATRICES | ({"blocks.1.feed.down": "int3"} if seed == 1 else {})
        path.write_text(json.dumps(result | {"compressed": told}))
    page.write(record)
    return record


@pytest.fixture(scope="module")
def rows(study) -> list[compression.Smaller]:
    return compression.smaller(evidence := read(study), trust.conclude(evidence).verdicts)


def test_bytes_and_damage_of_every_arm(study, rows):
    by = {one.arm: one for one in rows}
    assert [one.arm for one in rows] == ["base", *WORLD.effects]
    parameters = next(iter(read(study).finished("base").values())).result["parameters"]
    assert by["base"].bytes == 4 * parameters
    assert by["int4"].share == pytest.approx(500_000 / (4 * parameters))
    assert by["int4"].verdict
    assert by["int4"].damage == by["int4"].verdict.effect.mean == pytest.approx(0.05, abs=0.01)
    assert by["int4"].interval == by["int4"].verdict.effect.interval


def test_the_frontier_is_of_those_that_no_smaller_one_is_as_good_as(rows):
    assert [one.arm for one in compression.frontier(rows)][:2] == ["mixed", "int8"]
    assert "int3" not in {one.arm for one in compression.frontier(rows)}  # mixed is smaller, and loses less


def test_the_page_has_a_row_an_arm(study, rows):
    text = (study.folder / "report/index.html").read_text(encoding="utf-8")
    text = text[text.index("Smaller, and what it costs") : text.index("What differs")]
    for one in rows[1:]:
        assert f"{one.damage:+.4f}".replace("-", "−") in text
        assert f"{one.bytes / 1e6:.3f}" in text
    assert text.count("not measured") == 3 * len(rows)
    assert text.count("smaller, not faster") == len(rows) - 1
    assert (study.folder / "report/pareto.png").stat().st_size > 10_000
    table = list(csv.DictReader((study.folder / "report/compression.csv").read_text().splitlines()))
    assert [row["arm"] for row in table] == [one.arm for one in rows]
    assert [float(row["bytes"]) for row in table] == [one.bytes for one in rows]


def test_which_matrix_has_how_many_bits(study, rows):
    heat = compressed.heat(next(one.forms for one in rows if one.arm == "mixed"))
    assert heat.columns == ["feed.down", "mixer.qkv"]
    assert {layer: {name: cell.text for name, cell in cells.items()} for layer, cells in heat.rows.items()} == {
        "block 0": {"feed.down": "int8", "mixer.qkv": "int2"},
        "block 1": {"feed.down": "int4 / int3 / int4 / int4"},
    }
    assert heat.rows["block 0"]["feed.down"].depth > heat.rows["block 1"]["feed.down"].depth
    text = (study.folder / "report/index.html").read_text(encoding="utf-8")
    assert "Which matrix has how many bits in <code>mixed</code>" in text
    assert "in <code>int4</code>" not in text


def test_a_terminal_says_the_same(rows):
    console = Console(record=True, width=120, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(compressed.arms(rows), *compressed.heats({one.arm: one.forms for one in rows}))
    text = console.export_text()
    assert f"{rows[2].damage:+.4f}" in text
    assert "not measured" in text
    assert "forms of mixed, by matrix" in text


def test_the_picture_has_the_arms_in_the_colour_of_their_words(rows):
    [ax] = pareto(rows).axes
    assert [text.get_text() for text in ax.texts] == [one.arm for one in sorted(rows, key=lambda one: one.damage)]
    for one in rows[1:]:
        assert one.verdict
        colours = [
            to_hex(line.get_color())
            for line in ax.lines
            if line.get_marker() == "o"
            and np.asarray(line.get_xdata()).tolist() == [one.bytes / 1e6]
            and np.asarray(line.get_ydata()).tolist() == [one.damage]
        ]
        assert colours == [LIGHT.words[one.verdict.word]]


def test_the_lab_book_keeps_it(study, rows, tmp_path):
    keep(study, tmp_path / "kept")
    assert (tmp_path / "kept/pareto.png").exists()
    kept = read(report._study(str(tmp_path), str(tmp_path / "kept")))
    again = compression.smaller(kept, trust.conclude(kept).verdicts)
    assert [(one.arm, one.bytes, one.forms) for one in again] == [(one.arm, one.bytes, one.forms) for one in rows]


def test_a_study_without_smaller_weights_says_nothing_of_them(tmp_path):
    record = write(tmp_path, World(effects={"a": 0.1}, null_arm=None, evaluations=3))
    page.write(record)
    assert "Smaller, and what it costs" not in Path(record.folder / "report/index.html").read_text(encoding="utf-8")
    assert not (record.folder / "report/pareto.png").exists()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Compress(), "float32"),
        (Compress(to="int4", method="gptq"), "int4, gptq"),
        (Compress(to="int4", method="gptq", bits=3.5, group=0), "3.5 bits on average, gptq, a scale a row"),
        (Compress(to="int4", symmetric=False, keep=[]), "int4, round, with zeros, keeps nothing"),
    ],
)
def test_a_recipe_in_words(asked, words):
    assert compression.recipe(asked) == words


def test_speeds_are_of_programs_that_compute_with_its_own_numbers(study):
    evidence = read(study)
    outputs = study.folder.parents[1]
    verdicts = trust.conclude(evidence).verdicts
    run, base = (next(iter(evidence.finished(arm).values())).result["weights_sha256"] for arm in ("int4", "base"))
    usual = {"runtime": "onnx", "type": "fp32", "bytes": 4, "own": False}
    usual |= {"prompt": [5000.0, 5000.0], "decode": [400.0, 400.0]}
    larger = usual | {"type": "int8", "own": True, "bytes": 2, "joules": None}  # it holds the arm's numbers too
    side = larger | {"type": "int4", "bytes": 1, "prompt": [7300.0, 7310.0], "decode": [390.0, 412.0]}
    other = usual | {"type": "int8", "prompt": [9000.0, 9000.0], "joules": None}  # of other numbers than the arm's
    sides = [usual | {"joules": [0.5, 0.7]}, other, larger, side]
    folder = outputs / "speed"
    folder.mkdir()
    for name, weights in (("a", run), ("b", base)):
        (folder / f"{name}.json").write_text(json.dumps({"weights_sha256": weights, "sides": sides, "left_out": []}))
    by = {one.arm: one.speeds for one in compression.smaller(evidence, verdicts)}
    assert by["int4"] == [("onnx", 7305.0, 401.0, None, "faster with prompts alone")]
    assert by["base"] == [("onnx", 5000.0, 400.0, 0.6, "")]
    assert by["int8"] == []
    page.write(study)
    text = (study.folder / "report/index.html").read_text(encoding="utf-8")
    for words in ("7,305<", "401<", "faster with prompts alone", "not measured"):
        assert words in text
    [table] = compressed.rates(compression.smaller(evidence, verdicts))
    console = Console(record=True, width=120, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table)
    assert "7,305 / 401" in console.export_text()
