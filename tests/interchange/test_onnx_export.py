"""A run as a folder of ONNX: the file, its tokenizer, and nothing where it cannot leave."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runs import train_run
from transformers import AutoTokenizer

from ablate import export
from ablate.fit import saved
from ablate.interchange import onnx
from ablate.run.record import Record
from ablate.run.settings import UserError

TEXT = "def naïve(n):\n    return 12 + n  # what is it?\n"


def tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


def trained(tiny, **model) -> Record:
    settings = tiny(model=model)
    train_run(settings)
    [folder] = (Path(settings.where.outputs) / "runs").iterdir()
    return Record(folder)


def test_a_run_leaves_with_its_tokenizer(tiny, tmp_path):
    record = trained(tiny, pattern="MA", mamba={"head_width": 16})
    export.export(record, "onnx", tmp_path / "out")
    names = ["README.md", "config.json", "export.json", "onnx", "tokenizer.json", "tokenizer_config.json"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert [path.name for path in (tmp_path / "out/onnx").iterdir()] == ["model.onnx"]
    reader = onnx.Reader(tmp_path / "out")
    tokens = reader.tokens(TEXT)
    assert tokens == tokenizer(tmp_path / "out")(TEXT).input_ids
    with torch.no_grad():
        wanted_LV = saved.load(record).logits(torch.tensor([tokens]))[0].numpy()
    assert np.abs(reader.logits(tokens) - wanted_LV).max() < 5e-6


def test_a_bit_of_the_graph_that_changes_is_seen(tiny, tmp_path):
    export.export(trained(tiny), "onnx", tmp_path / "out")
    path = tmp_path / "out/onnx/model.onnx"
    assert "all 5 files are as exported" in export.verified(tmp_path / "out")
    held = bytearray(path.read_bytes())
    held[len(held) // 2] ^= 1
    path.write_bytes(held)
    with pytest.raises(UserError, match=r"onnx/model\.onnx is not what was written: its sha256 is another$"):
        export.verified(tmp_path / "out")


def test_a_model_without_a_class_in_transformers_leaves_too(tiny, tmp_path):
    export.export(trained(tiny, feed="relu2"), "onnx", tmp_path / "out", "int4")
    assert [path.name for path in (tmp_path / "out/onnx").iterdir()] == ["model_q4.onnx"]
    assert not (tmp_path / "out/config.json").exists()


def test_what_cannot_leave_writes_nothing(tiny, tmp_path):
    with pytest.raises(UserError, match=r"^--type int4: must be fp32 or int8 with model\.linear=ternary$"):
        export.export(trained(tiny, linear="ternary"), "onnx", tmp_path / "out", "int4")
    with pytest.raises(UserError, match=r"^--type int3: must be one of fp32, int8, int4 with --to onnx$"):
        export.type_of("onnx", "int3")
    assert list(tmp_path.glob("*out")) == []
