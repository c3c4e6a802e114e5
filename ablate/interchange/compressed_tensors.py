"""Form `compressed-tensors`: a compressed run as llm-compressor writes one, which vLLM and transformers read.

    int8, int4           pack-quantized     weight_packed  int32, the lowest bits first; weight_shape
                                            weight_zero_point  int32, packed along the rows
    fp8                  float-quantized    weight  e4m3
    all of them                             weight_scale  (O, G): number x scale is the weight, so it may be negative
    with inputs in fp8                      input_activations: e4m3, a scale for each token

    2:4-int4, 2:4-fp8    the same: zeros are numbers there, and take as much room as others

What else the format has no words for goes into the numbers beside them. AWQ divides the inputs of a matrix by factors:
these go into the norm before it, or into the rows that its inputs are made by. A matrix that has neither (`out` of
attention whose queries share values) is refused by name, and so are integers that vLLM does not read.

Shapes: O outputs, I inputs, G groups of a row.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate.compress.forms import Form as Stored
from ablate.interchange import hf, tokens
from ablate.interchange.contract import Form, Leaving, Tolerance

if TYPE_CHECKING:
    from torch import Tensor

    State = dict[str, Tensor]

ROUNDING = "ablate.compress.activations."  # what rounds inputs, which the format can say
READ = ("int8", "int4", "fp8")  # of numbers; vLLM reads no other integers
# AWQ's factors divide what a norm gives, or the rows of a matrix whose products are the inputs
NORMS = {"mixer.qkv": "mixer_norm", "feed.gate_up": "feed_norm", "mixer.in_proj": "mixer_norm"}
NORMS |= {"mixer.out_proj": "mixer.norm"}
ROWS = {"feed.down": "feed.gate_up", "mixer.out": "mixer.qkv"}  # the last rows of these, as many as there are inputs


def misfit(leaving: Leaving, type: str) -> str:
    if leaving.packed is None:
        return "compress.to=none: must be a run with compress for --to compressed-tensors; --to hf writes others"
    if leaving.settings.model.linear != "dense":
        return f"model.linear={leaving.settings.model.linear}: must be dense for --to compressed-tensors"
    if why := hf.unknown(leaving, ROUNDING):
        return why
    found = (_misfit(leaving, name, one.form) for name, one in leaving.packed.stored.items())
    return next(filter(None, found), "") or _torn(leaving)


def _misfit(leaving: Leaving, name: str, form: Stored) -> str:
    from ablate.compress.packed import FACTORS

    assert leaving.packed
    format = form.format
    if name in ("embedding", "head"):
        return f"{name}: must stay (compress.keep) for --to compressed-tensors, which takes matrices of blocks"
    if format.numbers == "bf16":
        return f"compress.to={form.to}: {name} stays bfloat16, zeros and all, for which --to hf is the form"
    if f"{format.numbers}{format.bits}" not in (*READ, "fp88"):
        return f"{name}: {form.to} has no form in compressed-tensors that vLLM reads; it reads {', '.join(READ)}"
    if name + FACTORS not in leaving.packed.tensors:
        return ""
    if format.inputs:
        return f"{name}: compress.method=awq rounds inputs before it divides them, which has no form elsewhere"
    if _before(leaving, name) is None:
        return f"{name}: has nothing before it to take AWQ's factors; compress.keep must name *.{name.split('.', 2)[2]}"
    return ""


def _before(leaving: Leaving, name: str) -> str | None:
    """The norm or the matrix before it, by which its inputs are divided."""
    _, block, kind = name.split(".", 2)
    size = leaving.language.size
    if kind in NORMS:
        return f"blocks.{block}.{NORMS[kind]}"
    shared = kind == "mixer.out" and size.kv_heads != size.heads
    return None if kind not in ROWS or shared else f"blocks.{block}.{ROWS[kind]}"


def _torn(leaving: Leaving) -> str:
    """Why two matrices that are one there cannot be it."""
    assert leaving.packed
    stored = leaving.packed.stored
    for name, owners in _owners(leaving).items():
        forms = {stored[owner].form if owner in stored else None for owner in owners}
        if len(forms) > 1:
            return f"{' and '.join(owners)}: are one matrix there ({name}), and must be compressed alike"
    return ""


def _owners(leaving: Leaving) -> dict[str, list[str]]:
    """Of each of their parameters, ours that its rows are from."""
    import torch

    from ablate.model.convert import renamed_to_hf

    language = leaving.language
    names = list(language.state_dict())
    marked = {n: torch.full_like(p, names.index(n), dtype=torch.int32) for n, p in language.state_dict().items()}
    theirs = renamed_to_hf(marked, language.model, language.size)
    return {
        name: [names[number].removesuffix(".weight") for number in mark.unique().tolist()]
        for name, mark in theirs.items()
    }


def write(leaving: Leaving, type: str, folder: Path) -> None:
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, GenerationConfig

    from ablate.model.convert import OURS, config_to_hf

    config = config_to_hf(leaving.language, leaving.span, leaving.end, known=(*OURS, ROUNDING))
    known = AutoModelForCausalLM._model_mapping[config.__class__]
    config.architectures, config.dtype = [known.__name__], "float32"  # what was scored; vLLM takes 16 bits by itself
    state, groups, kept = _state(leaving)
    config.quantization_config = quantization(groups, kept)
    config.save_pretrained(folder)
    ends = {"eos_token_id": leaving.end, "pad_token_id": leaving.end}
    GenerationConfig(**ends, use_cache=getattr(config, "use_cache", True)).save_pretrained(folder)
    if leaving.settings.model.tied:
        del state["lm_head.weight"]
    save_file(
        {name: tensor.contiguous() for name, tensor in state.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    tokens.write_hf(leaving, folder)


def _state(leaving: Leaving) -> tuple["State", dict[Stored, dict[str, int]], list[str]]:
    """Tensors by their names; the columns of each matrix by how it is stored; and the linear maps that stay."""
    from ablate.model.convert import renamed_to_hf

    assert leaving.packed
    model, size, packed = leaving.language.model, leaving.language.size, leaving.packed
    numbers, scales, zeros, plain = _taken_apart(leaving)
    parts = [renamed_to_hf(plain | part, model, size) for part in (numbers, scales, zeros)]
    state, groups, kept = {}, {}, []
    linear = {name for name in parts[0] if parts[0][name].ndim == 2 and "conv1d" not in name and "embed" not in name}
    for name, [owner, *_] in _owners(leaving).items():
        if owner not in packed.stored:
            state[name] = parts[0][name]
            kept += [name.removesuffix(".weight")] if name in linear else []
            continue
        form = packed.stored[owner].form
        groups.setdefault(form, {})[name.removesuffix(".weight")] = form.columns(parts[0][name].shape[1])
        state |= {
            name.removesuffix("weight") + key: part for key, part in stored(form, *(p[name] for p in parts)).items()
        }
    return state, groups, kept


def stored(form: Stored, number_OI: "Tensor", scale_OG: "Tensor", zero_OG: "Tensor") -> "State":
    """One matrix in the tensors of the format."""
    import torch
    from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32

    from ablate.compress.grid import wide

    bits = form.format.bits
    if form.format.numbers == "fp8":
        return {"weight": number_OI.to(torch.float8_e4m3fn), "weight_scale": scale_OG}
    if not form.symmetric:  # a zero is from -2^(b-1) on there, and what it is taken off likewise
        zero_OG = zero_OG - 2 ** (bits - 1)
        number_OI = number_OI + wide(zero_OG, number_OI.shape[1])
    found = {
        "weight_packed": pack_to_int32(number_OI.to(torch.int8), bits),
        "weight_shape": torch.tensor(number_OI.shape),
        "weight_scale": scale_OG,
    }
    if not form.symmetric:
        found["weight_zero_point"] = pack_to_int32(zero_OG.to(torch.int8), bits, packed_dim=0)
    return found


def _taken_apart(leaving: Leaving) -> tuple["State", "State", "State", "State"]:
    """Numbers, scales and zeros of each matrix by our names, and all that stays, AWQ's factors taken in."""
    import torch

    from ablate.compress.packed import FACTORS, PARTS, SCALES, matrix, parts_of

    assert leaving.packed
    packed = leaving.packed
    plain = {name: tensor for name, tensor in packed.tensors.items() if not name.endswith(PARTS)}
    found: tuple[State, State, State] = {}, {}, {}
    for name, one in packed.stored.items():
        _, number_OI, (_, zero_OG), *_ = matrix(parts_of(packed, name), one)
        scale_OG = packed.tensors[name + SCALES]
        parts = number_OI, scale_OG, torch.zeros_like(scale_OG) if zero_OG is None else zero_OG
        for into, part in zip(found, parts, strict=True):
            into[f"{name}.weight"] = part
    for name in packed.stored:
        if (factor_I := packed.tensors.get(name + FACTORS)) is not None:
            before = f"{_before(leaving, name)}.weight"
            divided = found[1] if before in found[1] else plain
            divided[before] = _divided(divided[before].float(), factor_I.float())
    return *found, plain


def _divided(before: "Tensor", factor_I: "Tensor") -> "Tensor":
    """A norm, or the last rows of a matrix or of its scales, by the factors."""
    after = before.clone()
    after[-len(factor_I) :] /= factor_I if before.ndim == 1 else factor_I[:, None]
    return after


def quantization(groups: dict[Stored, dict[str, int]], kept: Iterable[str]) -> dict[str, Any]:
    """`quantization_config` of config.json."""
    found, formats = {}, set()
    for form, matrices in groups.items():
        for columns in sorted(set(matrices.values())):
            names = [name for name, width in matrices.items() if width == columns]
            formats.add(format := "float-quantized" if form.format.numbers == "fp8" else "pack-quantized")
            found[f"group_{len(found)}"] = {
                "targets": ["Linear"] if len(groups) == 1 and names == list(matrices) else names,
                "format": format,
                "weights": _weights(form, columns),
                "input_activations": INPUTS if form.format.inputs else None,
                "output_activations": None,
            }
    return {
        "quant_method": "compressed-tensors",
        "format": formats.pop() if len(formats) == 1 else "mixed-precision",
        "quantization_status": "compressed",
        "config_groups": found,
        "ignore": sorted({*kept, "lm_head"}),
    }


INPUTS = {"num_bits": 8, "type": "float", "strategy": "token", "symmetric": True, "dynamic": True}


def _weights(form: Stored, columns: int) -> dict[str, Any]:
    of_rows = {"strategy": "group", "group_size": columns} if form.group else {"strategy": "channel"}
    kind = "float" if form.format.numbers == "fp8" else "int"
    return {"num_bits": form.format.bits, "type": kind, "symmetric": form.symmetric, "dynamic": False} | of_rows


class Reader(hf.Reader):
    """transformers; where it cannot, its class with weights that the package of the format has unpacked."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoConfig, AutoModelForCausalLM

        config: Any = AutoConfig.from_pretrained(folder, local_files_only=True)
        if not has_zeros(asked := config.quantization_config):
            return super().__init__(folder)
        del config.quantization_config
        self.model = AutoModelForCausalLM.from_config(config, dtype="float32").eval()
        self.model.load_state_dict(_unpacked(folder, asked), strict=not config.tie_word_embeddings)
        self.tokenizer = tokens.auto(folder)


def has_zeros(asked: dict[str, Any]) -> bool:
    """Of groups of integers: transformers 5.23 expects one number a group, and the format packs eight in one."""
    return any(not group["weights"]["symmetric"] for group in asked["config_groups"].values())


def _unpacked(folder: Path, asked: dict[str, Any]) -> "State":
    """All weights in float32."""
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationScheme
    from safetensors.torch import load_file

    state, groups = load_file(folder / "model.safetensors"), list(asked["config_groups"].values())
    schemes: Any = {target: QuantizationScheme(**group) for group in groups for target in group["targets"]}
    for name in [name.removesuffix("weight_scale") for name in state if name.endswith("weight_scale")]:
        parts = {key.removeprefix(name): state.pop(key) for key in list(state) if key.startswith(name)}
        parts["weight_scale"] = parts["weight_scale"].float()
        scheme = schemes.get(name.removesuffix(".")) or schemes["Linear"]
        by: Any = BaseCompressor.get_value_from_registry(scheme.format)
        state[f"{name}weight"] = by.decompress(parts, scheme)["weight"]
    return state


def tolerance(leaving: Leaving, type: str) -> Tolerance:
    return Tolerance("loss", 1e-3) if leaving.jumps else Tolerance("logits", 1e-5)


def note(leaving: Leaving, type: str) -> str:
    assert leaving.packed
    zeros = any(not one.form.symmetric for one in leaving.packed.stored.values())
    return "transformers 5.23 cannot read zeros of packed integers; the format's own package read them" if zeros else ""


FORM = Form((), misfit, write, Reader, tolerance, ("compressed_tensors",), note)
