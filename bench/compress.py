"""What smaller weights cost, over several trained models: ours against rounding, and against llm-compressor 0.14.0.1.

Damage is bits per byte of held-out rows; KL is that of the predictions before and after on the same rows, which is
never below 0 and far less noisy. Methods are shown rows of the model's own training text, and all the same ones.

    ABLATE_PARENTS=outputs/runs/a,outputs/runs/b,...   finished runs; without it three are trained
    ABLATE_LLMCOMPRESSOR=/elsewhere/bin/python         a Python that has llmcompressor; without it that is left out

`maxabs` rounds by scales of max |w| / 7.5, as llm-compressor does. Outlier channels are planted in the norm before the
feed-forward, and the matrix behind it makes up for them: the model computes what it did.
"""

import copy
import dataclasses
import json
import math
import os
import tempfile
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import torch
from torch import Tensor

from ablate import export
from ablate.compress import grid, mixed
from ablate.compress.forms import Form, Recipe
from ablate.compress.inputs import AT_ONCE
from ablate.compress.mixed import moved
from ablate.compress.smaller import apply, smaller
from ablate.data.batches import validation_rows
from ablate.data.tokens import prepare_for, prepared
from ablate.fit import run as runs
from ablate.fit import saved
from ablate.fit import smaller as phase
from ablate.model.language import LanguageModel
from ablate.run.compress import Compress
from ablate.run.identity import record_name
from ablate.run.record import Record, run_record
from ablate.scores.loss import loss_sums
from ablate.verdict.statistics.paired import interval
from bench import cases
from bench.rounds import ROOT, Row, ratios, report

SEEDS, STEPS = 3, 250  # of parents that are trained here
ROWS, SPANS = 64, 24  # of calibration text, and of held-out text by domain
GROUP, BITS = 64, 3.5
OUTLIERS, SIZE = 4, 30.0  # channels of each norm, and how much larger they are
TARGET = 0.35
RECIPES = {
    "int4, round": Recipe(to="int4", method="round", group=GROUP),
    "int4, gptq": Recipe(to="int4", method="gptq", group=GROUP),
    "2:4, magnitude": Recipe(to="2:4", method="magnitude"),
    "2:4, wanda": Recipe(to="2:4", method="wanda"),
    "2:4, sparsegpt": Recipe(to="2:4", method="sparsegpt"),
}
UNIFORM = Recipe(to="int3", method="gptq", group=32)  # 3 bits and a scale for 32: BITS
THEIRS = {"int4, maxabs": "round", "int4, gptq": "gptq", "2:4, sparsegpt": "sparsegpt"}


class Lost(NamedTuple):
    damage: float  # bits per byte
    kl: float  # nats a token


class Parent:
    """A trained model, rows of its training text, and held-out ones with how it does there."""

    def __init__(self, record: Record, rows: int, spans: int) -> None:
        self.record, settings = record, record.settings()
        self.language = saved.load(record).requires_grad_(False)
        corpus = prepared(record.folder.parents[1], record.fingerprint)
        asked = dataclasses.replace(settings, compress=Compress(to="int4", method="gptq", rows=rows))
        self.calibration_RT = phase.calibration(asked, corpus)
        scored = dataclasses.replace(settings, evaluation=dataclasses.replace(settings.evaluation, spans=spans))
        self.rows_RT = validation_rows(corpus, scored).tokens_BL.long()
        self.bytes_per_token = torch.from_numpy(corpus.bytes_per_token)
        self.before = [self.language(rows_BT) for rows_BT in self.rows_RT.split(AT_ONCE)]
        self.bits, self.bytes = self._bits(self.language)

    def _bits(self, language: LanguageModel) -> tuple[float, float]:
        """Of the held-out rows."""
        found = torch.zeros(3, dtype=torch.float64)
        for rows_BT in self.rows_RT.split(AT_ONCE):
            targets_BT, domain_B = rows_BT[:, 1:].contiguous(), torch.zeros(len(rows_BT), dtype=torch.long)
            given = language(rows_BT[:, :-1]), language.head_weight, targets_BT, domain_B, self.bytes_per_token
            found += loss_sums(*given, 1).rows_B3.sum(0)
        return float(found[0]) / math.log(2), float(found[2])

    def lost(self, language: LanguageModel) -> Lost:
        return Lost((self._bits(language)[0] - self.bits) / self.bytes, moved(language, self.before, self.rows_RT))

    def after(self, recipe: Recipe, start: LanguageModel | None = None) -> Lost:
        start = start or self.language
        return self.lost(apply(smaller(start, recipe, self.calibration_RT), copy.deepcopy(start)))


def compress(quick: bool) -> list[Row]:
    """what smaller weights cost, in bits per byte and as KL, with intervals over models"""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        records = _records(quick, folder)
        with torch.no_grad():
            parents = [Parent(record, 8 if quick else ROWS, 2 if quick else SPANS) for record in records]
            found = [_all(parent) for parent in parents]
            theirs = [_theirs(parent, Path(folder)) for parent in parents] if _python() else []
    lost = {name: [one[name] for one in found] for name in found[0]}
    rows = [row for name, losses in lost.items() for row in _described(name, losses)]
    rows += [
        *_ratio("int4", lost, "int4, gptq", "int4, round", TARGET),
        *_ratio("int4", lost, "int4, gptq", "int4, maxabs", TARGET),
        *_ratio("2:4", lost, "2:4, sparsegpt", "2:4, magnitude", TARGET),
        *_ratio("planted", lost, "planted, awq", "planted, round", 1),
        *_ratio(f"{BITS} bits", lost, "3.5 bits, mixed", "3.5 bits, uniform", 1),
    ]
    for name in THEIRS if theirs else ():
        difference = [ours[name].damage - other[name] for ours, other in zip(found, theirs, strict=True)]
        rows += [Row("llm-compressor", f"{name}, damage", [other[name] for other in theirs])]
        rows += [Row("llm-compressor", f"{name}, ours less theirs, mean and 95 %", _spread(difference))]
    return rows


def _all(parent: Parent) -> dict[str, Lost]:
    lost = {name: parent.after(recipe) for name, recipe in RECIPES.items()}
    with mock.patch.object(grid, "scales", _maxabs):
        lost["int4, maxabs"] = parent.after(RECIPES["int4, round"])
    planted = _planted(parent.language)
    for method in ("round", "awq"):
        lost[f"planted, {method}"] = parent.after(Recipe(to="int4", method=method, group=GROUP), planted)
    lost["3.5 bits, uniform"] = parent.after(UNIFORM)
    lost["3.5 bits, mixed"] = parent.after(dataclasses.replace(UNIFORM, group=GROUP, forms=_forms(parent)))
    return lost


def _maxabs(weight_OI: Tensor, form: Form, _shrink: float = 1.0) -> grid.Scales:
    groups_OGK = weight_OI.unflatten(1, (-1, form.columns(weight_OI.shape[1])))
    return grid.Scales(grid.stored(groups_OGK.abs().amax(-1) / (2**form.format.bits - 1) * 2), None)


def _planted(language: LanguageModel) -> LanguageModel:
    there = copy.deepcopy(language)
    for block in there.blocks:
        block.get_parameter("feed_norm.weight")[:OUTLIERS] *= SIZE
        block.get_parameter("feed.gate_up.weight")[:, :OUTLIERS] /= SIZE
    return there


def _forms(parent: Parent) -> dict[str, Form]:
    """The knapsack's choice, at as many bytes as UNIFORM takes."""
    forms = [Form(to, GROUP) for to in phase.INTEGERS]
    table = mixed.sensitivities(parent.language, RECIPES["int4, gptq"], forms, parent.calibration_RT[: ROWS // 2])
    weights = sum(parent.language.get_parameter(f"{name}.weight").numel() for name in table)
    return mixed.best(table, int(weights * BITS / 8))


def _described(name: str, losses: list[Lost]) -> list[Row]:
    case, what = name.split(", ", 1)
    damage, kl = ([getattr(one, field) for one in losses] for field in Lost._fields)
    spread = [Row(case, f"{what}: damage, mean and 95 %", _spread(damage))] if len(losses) > 1 else []
    return [Row(case, f"{what}: damage, bits per byte", damage), *spread, Row(case, f"{what}: KL, nats a token", kl)]


def _spread(values: list[float]) -> list[float]:
    """The mean and its interval, as the median and the ends of a row."""
    if len(values) < 2:
        return values
    low, high = interval(values, 0.05)
    return [low, sum(values) / len(values), high]


def _ratio(case: str, lost: dict[str, list[Lost]], name: str, other: str, most: float) -> list[Row]:
    """Of mean damages, which no model with hardly any decides, and of KL by model."""
    damage = [sum(one.damage for one in lost[which]) for which in (name, other)]
    kl = ratios(*([one.kl for one in lost[which]] for which in (name, other)))
    what = f"{name} / {other}"
    return [
        Row(case, f"{what}, damage", [damage[0] / damage[1]], most, "at most"),
        Row(case, f"{what}, KL", kl, most, "at most"),
    ]


def _records(quick: bool, folder: str) -> list[Record]:
    if given := os.environ.get("ABLATE_PARENTS"):
        return [Record(Path(path)) for path in given.split(",")][: 1 if quick else None]
    found = []
    for seed in range(1 if quick else SEEDS):
        one = cases.settings("nano", 20 if quick else STEPS, folder if quick else ROOT / "outputs")
        one = dataclasses.replace(one, seed=seed)
        corpus = prepare_for(one)
        found.append(run_record(one.where.outputs, record_name(one, corpus.fingerprint)))
        runs.train_run(one, corpus, found[-1])
    return found


def _python() -> str:
    return os.environ.get("ABLATE_LLMCOMPRESSOR", "")


def _theirs(parent: Parent, folder: Path) -> dict[str, float]:
    """Damage of their methods in bits per byte, on the same rows."""
    model, path = folder / parent.record.id, folder / f"{parent.record.id}.json"
    export.export(parent.record, "hf", model, check=False)
    rows = {"calibration": parent.calibration_RT.tolist(), "rows": parent.rows_RT.tolist()}
    path.write_text(json.dumps({"model": str(model), "group": GROUP, "recipes": list(THEIRS.values())} | rows))
    nats = report([_python(), str(ROOT / "bench" / "llmcompressor_loop.py"), str(path)])
    return {name: (nats[one] - nats["whole"]) / math.log(2) / parent.bytes for name, one in THEIRS.items()}
