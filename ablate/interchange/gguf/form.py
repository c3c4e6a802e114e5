"""Form `gguf`: `model.gguf`, which llama.cpp and what is built on it load, with the tokenizer inside.

`shapes` says what llama.cpp calls which model, `numbers` what `--type` does to matrices, `words` how text is cut.
Before the file is handed on, llama.cpp has cut a thousand texts as training did (`interchange.texts`).
"""

from pathlib import Path
from typing import TYPE_CHECKING

from ablate.compress.forms import rounds_inputs
from ablate.corpus import chat
from ablate.data import tokenizer
from ablate.interchange import texts
from ablate.interchange.contract import Form, Leaving, Tolerance
from ablate.interchange.gguf.numbers import TERNARY_BLOCK, TYPES
from ablate.run.settings import Model, Size, UserError

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
    return shapes.misfit(leaving.language) or _misfit(model, size, type) or words.misfit(_tokenizer(leaving))


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
    """Raises UserError when llama.cpp cuts text otherwise than training did."""
    from ablate.interchange.gguf import file, words

    given, template = _tokenizer(leaving), leaving.corpus_folder / chat.NAME
    file.write(
        folder / NAME,
        leaving.language,
        leaving.packed,
        type,
        words.words(given, len(leaving.language.head_weight)),
        span=leaving.span,
        end=leaving.end,
        template=template.read_text(encoding="utf-8") if template.exists() else "",
    )
    prove(reader(folder), given)


def prove(theirs: "Runtime", given: str) -> None:
    """That it cuts text as the tokenizer.json does. Raises UserError with a text that it does not."""
    ours = tokenizer.load(given)
    added = [token.content for token in ours.get_added_tokens_decoder().values()]
    for text in texts.texts(added):
        if theirs.tokens(text) != ours.encode(text, add_special_tokens=False).ids:
            raise UserError(f"tokenizer: llama.cpp cuts {text[:60]!r} otherwise; --to safetensors writes every model")


def reader(folder: Path) -> "Runtime":
    from ablate.interchange.gguf.runtime import Runtime

    return Runtime(folder / NAME)


def tolerance(leaving: Leaving, type: str) -> Tolerance:
    """What llama.cpp rounds that we do not, or the other way round, moves single logits more than the loss: float16
    products, and inputs of ternary products. Integers of 8 and 4 bits are another model, whose loss is told."""
    ternary = leaving.language.model.linear == "ternary"
    if type == "f32" and not ternary:
        return Tolerance("logits", CLOSE)
    return Tolerance("loss", CLOSE) if type == "f16" or ternary or leaving.packed else Tolerance("loss")


def _tokenizer(leaving: Leaving) -> str:
    return tokenizer.as_trained((leaving.corpus_folder / "tokenizer.json").read_text(encoding="utf-8"))


FORM = Form(TYPES, misfit, write, reader, tolerance)
