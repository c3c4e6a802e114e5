"""Form `gguf`: `model.gguf`, which llama.cpp and what is built on it load, with the tokenizer inside.

`shapes` says what llama.cpp calls which model, `numbers` what `--type` does to matrices, `words` how text is cut.
That it is cut as in training is shown by the thousand texts of `interchange.checked`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from ablate.compress.forms import rounds_inputs
from ablate.corpus import chat
from ablate.data import tokenizer
from ablate.interchange.contract import Form, Leaving, Tolerance
from ablate.interchange.gguf.numbers import TERNARY_BLOCK, TYPES
from ablate.run.settings import Model, Size

if TYPE_CHECKING:
    from ablate.interchange.gguf.runtime import Runtime

NAME = "model.gguf"
CLOSE = 0.005  # nats


def misfit(leaving: Leaving, type: str) -> str:
    from ablate.interchange.gguf import shapes, words
    from ablate.model.convert import foreign

    if rounds_inputs(to := leaving.settings.compress.to):
        return f"compress.to={to}: its inputs are rounded, which no weights say"
    if part := foreign(leaving.language):
        return f"{part} has no form in llama.cpp"
    model, size = leaving.language.model, leaving.language.size
    found = shapes.misfit(leaving.language) or _misfit(model, size, type) or _lacking(leaving, type)
    return found or words.misfit(_tokenizer(leaving))


def _lacking(leaving: Leaving, type: str) -> str:
    """Why a compressed run has no weights of that type: all of its matrices would be float16 under another name."""
    from ablate.compress.packed import FACTORS
    from ablate.interchange.gguf.numbers import HALF

    if leaving.packed is None or type not in HALF:
        return ""
    numbers = {name for name, one in leaving.packed.stored.items() if one.form.format.numbers in ("int", "ternary")}
    if any(name + FACTORS not in leaving.packed.tensors for name in numbers):
        return ""
    said = f"compress.to={leaving.settings.compress.to}"
    why = f"{said} and its factors of inputs" if numbers else f"{said}, which has no whole numbers"
    return f"--type {type}: must be f32 or f16 with {why}"


def _misfit(model: Model, size: Size, type: str) -> str:
    if type != "tq2_0":
        return ""
    if model.linear != "ternary":
        return f"model.linear={model.linear}: --type tq2_0 holds -1, 0 and 1 alone; --type q4_0 rounds"
    for key, columns in (("size.width", size.width), ("size.hidden", size.hidden)):
        if columns % TERNARY_BLOCK:
            return f"{key}={columns}: must be a multiple of {TERNARY_BLOCK} with --type tq2_0; q4_0 holds the same"
    return ""


def write(leaving: Leaving, type: str, folder: Path) -> None:
    from ablate.interchange.gguf import file, words

    template = leaving.corpus_folder / chat.NAME
    file.write(
        folder / NAME,
        leaving.language,
        leaving.packed,
        type,
        words.words(_tokenizer(leaving), len(leaving.language.head_weight)),
        span=leaving.span,
        end=leaving.end,
        template=template.read_text(encoding="utf-8") if template.exists() else "",
    )


def reader(folder: Path) -> "Runtime":
    from ablate.interchange.gguf.runtime import Runtime

    return Runtime(folder / NAME)


def tolerance(leaving: Leaving, type: str) -> Tolerance:
    """float16 products and rounded inputs move log p of single tokens by more than CLOSE, here and there. Weights that
    are rounded only now make another model, and how far it is off is told."""
    if type == "f32" and not leaving.jumps:
        return Tolerance("log p", CLOSE)
    as_they_are = type in ("f32", "f16") or leaving.jumps or leaving.packed is not None
    return Tolerance("divergence", CLOSE) if as_they_are else Tolerance("divergence")


def note(leaving: Leaving, type: str) -> str:
    from ablate.interchange.gguf import shapes

    more = shapes.has_more(leaving.language)
    return "it has one layer more, of zeros: llama.cpp runs no Mamba-2 without attention" if more else ""


def _tokenizer(leaving: Leaving) -> str:
    return tokenizer.as_trained((leaving.corpus_folder / "tokenizer.json").read_text(encoding="utf-8"))


FORM = Form(TYPES, misfit, write, reader, tolerance, ("gguf", "xllamacpp"), note)
