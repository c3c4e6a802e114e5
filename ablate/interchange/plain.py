"""Form `safetensors`: every architecture, its weights under our names.

config.yaml         the settings without paths, and the size that was built
model.safetensors   the weights
tokenizer.json
packed.safetensors  of ternary models (`model.pack`), and of compressed ones (`compress.packed`): few bits
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ablate.interchange import tokens
from ablate.interchange.contract import Form, Leaving, same
from ablate.run.parse import from_plain
from ablate.run.settings import Settings
from ablate.run.start import parse

PACKED = "packed.safetensors"
PATHS = ("root", "tokenizer", "held_out")  # keys of data that name a place


def write(leaving: Leaving, type: str, folder: Path) -> None:
    from safetensors.torch import save_file

    from ablate.compress import packed
    from ablate.model.pack import packed as ternary

    weights = {name: tensor.contiguous() for name, tensor in leaving.language.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    if leaving.packed:
        packed.write(leaving.packed, folder / PACKED)
    elif leaving.settings.model.linear == "ternary":
        save_file(ternary(leaving.language), folder / PACKED)
    tokens.write(leaving, folder)
    what = _what(leaving.settings) | {"built": dataclasses.asdict(leaving.language.size)}
    (folder / "config.yaml").write_text(yaml.safe_dump(what, sort_keys=False), encoding="utf-8")


def _what(settings: Settings) -> dict[str, Any]:
    """The settings without where they ran, and without paths; of a start or a teacher that is a folder, its name."""
    what = json.loads(json.dumps(dataclasses.asdict(settings)))
    del what["where"]
    data = what["data"]
    for name in PATHS:
        del data[name]
    data["template"] = _placeless(data["template"])
    data["sources"] = {domain: _placeless(source) for domain, source in data["sources"].items()}
    what["start"] = _named(settings.start, "start")
    what["distill"]["teacher"] = _named(settings.distill.teacher, "distill.teacher")
    return what


def _placeless(text: str) -> str:
    """The last part of a path; a name of the hub as it is."""
    return Path(text).name if text.startswith(("/", "~", ".")) else text


def _named(text: str, key: str) -> str:
    parent = parse(text, key)
    return text if parent is None else str(dataclasses.replace(parent, place=Path(parent.place).name))


class Reader:
    """The model once more, by what the folder says alone."""

    def __init__(self, folder: Path) -> None:
        from safetensors.torch import load_file

        from ablate.compress import packed
        from ablate.compress.smaller import apply
        from ablate.data import tokenizer
        from ablate.model.language import VALUE, LanguageModel
        from ablate.run.settings import Size

        what = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        size = Size(**what.pop("built"))
        settings, weights = from_plain(what), load_file(folder / "model.safetensors")
        self.language = LanguageModel(settings.model, size, settings.data.vocabulary, VALUE in weights)
        self.language.load_state_dict(weights)
        if settings.compress.to != "none":
            apply(packed.read(folder / PACKED), self.language)
        self.language.eval()
        self.tokenizer = tokenizer.load((folder / "tokenizer.json").read_text(encoding="utf-8"))

    def logits(self, tokens_T: list[int]) -> np.ndarray:
        import torch

        with torch.no_grad():
            return self.language.logits(torch.tensor([tokens_T]))[0].numpy()

    def tokens(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids


FORM = Form((), lambda leaving, type: "", write, Reader, same)
