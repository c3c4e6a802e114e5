"""Whether a folder has what vLLM asks for: its list of architectures, its shapes and forms of numbers. Nobody runs it.

The lists are those of vLLM 0.33 (models/registry.py, the attention backends, the schemes of compressed-tensors and the
kernel Marlin, which needs whole tiles). What is `ready` by them may still fail on a GPU; what is not is named.
"""

from ablate.interchange import compressed_tensors, hf
from ablate.interchange.contract import Leaving

VERSION = "0.33"
ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM"}
ARCHITECTURES |= {"deepseek_v3": "DeepseekV3ForCausalLM", "bamba": "BambaForCausalLM"}
HEAD_WIDTHS = range(32, 257, 32)  # of FlashAttention
LATENT_WIDTHS = (320, 576)  # rank and rotary key together, of the backends of latent attention
GROUPS = (0, 32, 64, 128)  # of Marlin; 0: a scale a row
TILE = (64, 128)  # outputs and inputs that it takes at once
W4A8_GROUP = 128  # of integers of four bits that meet inputs in fp8, on Hopper


def form_of(leaving: Leaving) -> str:
    """The form that vLLM would be given."""
    return "compressed-tensors" if leaving.packed and compressed_tensors.FORM.misfit(leaving, "") == "" else "hf"


def why_not(leaving: Leaving) -> str:
    """Why it is not ready, by name of the setting; "" if it is."""
    from ablate.model.convert import model_type

    form = form_of(leaving)
    if why := (compressed_tensors if form != "hf" else hf).FORM.misfit(leaving, ""):
        return why
    kind, model, size = model_type(leaving.language.model), leaving.language.model, leaving.language.size
    if kind not in ARCHITECTURES:
        return f"model.linear={model.linear}: {kind} is not among the architectures of vLLM"
    if leaving.language.value is not None:
        return "objective=reward: the head that ranks has no place there"
    return _shapes(leaving, kind, size.width // size.heads) or (_numbers(leaving) if form != "hf" else "")


def _shapes(leaving: Leaving, kind: str, width: int) -> str:
    model, size = leaving.language.model, leaving.language.size
    if kind == "bamba" and "A" not in (model.pattern * size.depth)[: size.depth]:
        return f"model.pattern={model.pattern}: a hybrid there has a layer of attention at least"
    if kind == "deepseek_v3":
        found = model.latent.kv_rank + model.latent.rope_width
        allowed = " or ".join(map(str, LATENT_WIDTHS))
        return "" if found in LATENT_WIDTHS else f"model.latent: kv_rank + rope_width is {found}, and must be {allowed}"
    if width not in HEAD_WIDTHS:
        return f"size.heads={size.heads}: heads are {width} wide, and must be a multiple of 32 up to 256"
    return ""


def _numbers(leaving: Leaving) -> str:
    assert leaving.packed
    found = (_of_matrix(name, *one[:2]) for name, one in leaving.packed.stored.items())
    return next(filter(None, found), "")


def _of_matrix(name: str, form: compressed_tensors.Stored, shape: tuple[int, int]) -> str:
    numbers, inputs = form.format.numbers, form.format.inputs
    if numbers == "fp8":
        return (
            f"{name}: fp8 in groups of {form.group}; it must have a scale a row (compress.group=0)"
            if form.group
            else ""
        )
    if inputs and (form.format.bits != 4 or form.columns(shape[1]) != W4A8_GROUP or not form.symmetric):
        return f"{name}: {form.to} must be int4-fp8, symmetric, with compress.group={W4A8_GROUP}"
    if form.group and form.columns(shape[1]) not in GROUPS:
        return f"{name}: groups of {form.columns(shape[1])}; they must be of {', '.join(map(str, GROUPS[1:]))}, or rows"
    if any(have % tile for have, tile in zip(shape, TILE, strict=True)):
        return f"{name}: is {shape[0]} x {shape[1]}, and must be whole tiles of {TILE[0]} x {TILE[1]}"
    return ""
