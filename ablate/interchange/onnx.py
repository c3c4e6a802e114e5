"""Form `onnx`: one file that ONNX Runtime reads prompts with, and writes texts with.

    onnx/model.onnx             fp32
    onnx/model_quantized.onnx   int8    whole numbers of 8 bits in blocks
    onnx/model_q4.onnx          int4    of 4 bits, but embedding and head, unless the run's own have 4
    tokenizer.json  tokenizer_config.json  config.json, of a model that has a class in transformers

It takes any number of rows and tokens, under the names that optimum and transformers.js look for:

    input_ids (B, L)   attention_mask (B, S)   ->   logits (B, L, V)
    past_key_values.N.key, .value (B, G, S - L, K)       ->   present.N.key, .value     of attention
    past_conv.N (B, E, W)   past_ssm.N (B, H, P, N)      ->   present_conv.N, present_ssm.N     of Mamba-2

For a prompt nothing is kept yet: S - L is 0, and states are zeros. Where `attention_mask` is 0 a token does not count,
wherever it stands, so that rows may be filled up on the left; positions follow from it.
"""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np

from ablate.interchange import tokens
from ablate.interchange.contract import Form, Leaving, Tolerance, same

FILES = {"fp32": "model.onnx", "int8": "model_quantized.onnx", "int4": "model_q4.onnx"}
FOLDER = "onnx"
NEAR = 0.05  # nats a token, which a row of one token may come to

Kept = dict[str, np.ndarray]  # keys, values and states, by name of the input


def misfit(leaving: Leaving, type: str) -> str:
    from ablate.interchange.onnx_network import unknown

    if part := unknown(leaving.language):
        return f"{part} has no form in ONNX"
    if leaving.language.model.linear == "ternary":
        return "--type int4: must be fp32 or int8 with model.linear=ternary" if type == "int4" else ""
    return "" if leaving.packed is None or type == "fp32" else _lacking(leaving, type)


def _lacking(leaving: Leaving, type: str) -> str:
    """Why the weights of a compressed run are not of that type."""
    assert leaving.packed is not None
    to = leaving.settings.compress.to
    bits = [one.form.format.bits for one in leaving.packed.stored.values() if one.form.format.numbers == "int"]
    if not bits:
        return f"--type {type}: must be fp32 with compress.to={to}, which has no whole numbers"
    return f"--type {type}: must be fp32 or int8 with compress.to={to}" if type == "int4" and min(bits) > 4 else ""


def write(leaving: Leaving, type: str, folder: Path) -> None:
    from ablate.interchange.onnx_network import graph_of
    from ablate.model.convert import config_to_hf

    (folder / FOLDER).mkdir()
    graph_of(leaving.language, type, leaving.packed).save(folder / FOLDER / FILES[type])
    tokens.write_hf(leaving, folder)
    with contextlib.suppress(ValueError):  # of a model without a class there; ONNX Runtime asks for none
        config_to_hf(leaving.language, leaving.span, leaving.end).save_pretrained(folder)


class Runtime:
    """ONNX Runtime on a file, on the CPU."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        options.log_severity_level = 3
        session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.session, self.kept = session, [one for one in session.get_inputs() if one.name.startswith("past")]

    def logits(self, tokens_T: list[int]) -> np.ndarray:
        """(T, V)"""
        tokens_1T = np.array([tokens_T], np.int64)
        return self.read(tokens_1T, np.ones_like(tokens_1T), self.nothing(1))[0][0]

    def read(self, tokens_BL: np.ndarray, counted_BS: np.ndarray, past: Kept) -> tuple[np.ndarray, Kept]:
        """Logits (B, L, V) of tokens behind those that were read, and what is kept now."""
        given = {"input_ids": tokens_BL, "attention_mask": counted_BS} | past
        logits, *kept = self.session.run(["logits", *map(_present, past)], given)
        return logits, dict(zip(past, kept, strict=True))

    def nothing(self, rows: int) -> Kept:
        """What is kept before the first token."""
        sizes = {"batch": rows, "past": 0}
        return {one.name: np.zeros([sizes.get(n, n) for n in one.shape], np.float32) for one in self.kept}


def _present(past: str) -> str:
    return past.replace("past_key_values", "present").replace("past", "present")


class Reader:
    def __init__(self, folder: Path) -> None:
        [path] = (folder / FOLDER).glob("*.onnx")
        self.runtime, self.tokenizer = Runtime(path), tokens.auto(folder)

    def tokens(self, text: str) -> list[int]:
        return self.tokenizer(text).input_ids

    def logits(self, tokens_T: list[int]) -> np.ndarray:
        return self.runtime.logits(tokens_T)


def tolerance(leaving: Leaving, type: str) -> Tolerance:
    """Of a compressed run's own numbers inputs in 8 bits move the loss; where weights are rounded too it is told."""
    if type == "fp32":
        return same(leaving, type)
    return Tolerance("loss") if leaving.packed is None else Tolerance("loss", NEAR)


FORM = Form(("fp32", "int8", "int4"), misfit, write, Reader, tolerance, ("onnx", "onnxruntime"))
