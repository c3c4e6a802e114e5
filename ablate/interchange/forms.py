"""The forms of an exported folder, by the name that `ablate export --to` gives them.

    hf                    transformers: the class that the mixers have there (`model.convert`)
    safetensors           every architecture: the weights under our names, and the settings to build it from
    compressed-tensors    runs with compress, in few bits: what vLLM and transformers read
    gguf                  llama.cpp and what is built on it: one file, with the tokenizer inside (`gguf.shapes`)
    onnx                  ONNX Runtime: prompts and decoding in one file, in float32 or with weights in 8 or 4 bits

Each has a module that ends with its `Form` (`interchange.contract`).
"""

from ablate.interchange import compressed_tensors, hf, onnx, plain
from ablate.interchange.contract import Form
from ablate.interchange.gguf import form as gguf

FORMS: dict[str, Form] = {
    "hf": hf.FORM,
    "safetensors": plain.FORM,
    "compressed-tensors": compressed_tensors.FORM,
    "gguf": gguf.FORM,
    "onnx": onnx.FORM,
}
