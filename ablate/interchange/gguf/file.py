"""A model and its tokenizer as one file that llama.cpp loads. Equal models give equal bytes."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ablate.compress.packed import Packed
from ablate.interchange.gguf import numbers, shapes
from ablate.interchange.gguf.words import Words
from ablate.model.language import LanguageModel

if TYPE_CHECKING:
    from gguf import GGUFWriter

BLOCKS_VERSION = 2  # of how quantised blocks are laid out


def write(
    path: Path,
    language: LanguageModel,
    packed: Packed | None,
    type: str,
    words: Words,
    *,
    span: int,
    end: int,
    template: str = "",
) -> None:
    """`packed`: the same weights in few bits; `type`: one of `numbers.TYPES`; `template`: of dialogues."""
    from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType

    name = shapes.architecture(language.model, language.size)
    writer = GGUFWriter(path, name)
    writer.add_file_type(LlamaFileType["ALL_F32" if type == "f32" else f"MOSTLY_{type.upper()}"])
    writer.add_quantization_version(BLOCKS_VERSION)
    for key, value in shapes.keys(language, span).items():
        _add(writer, f"{name}.{key}", value)
    _add_words(writer, words, end, template)
    for taken_name, taken in shapes.layout(language).items():
        for tensor, (data, kind) in numbers.tensors(language, packed, taken_name, taken, type).items():
            writer.add_tensor(tensor, np.ascontiguousarray(data), raw_dtype=GGMLQuantizationType[kind.upper()])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add(writer: "GGUFWriter", key: str, value: Any) -> None:
    add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, list: writer.add_array}
    add[type(value)](key, value)


def _add_words(writer: "GGUFWriter", words: Words, end: int, template: str) -> None:
    writer.add_tokenizer_model("gpt2")  # its name for a byte-level BPE
    writer.add_tokenizer_pre(words.cut)
    writer.add_token_list(words.tokens)
    writer.add_token_types(words.kinds)
    writer.add_token_merges(words.merges)
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(end)
    writer.add_pad_token_id(end)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    if template:
        writer.add_chat_template(template)
