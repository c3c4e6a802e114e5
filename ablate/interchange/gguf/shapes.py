"""What llama.cpp calls a model of ours, and where each of its parameters goes (`layers`). No tensor is made here.

    pattern            its architecture    what is peculiar to it
    A                  llama
    A, feed=relu2      arcee               a feed-forward without a gate
    A, qk_norm         qwen3               rotary pairs (k, k + K/2)
    A, ternary         bitnet              rotary pairs (k, k + K/2); the head is the embedding; scales beside matrices
    L                  deepseek2           every layer dense; one epsilon for all norms
    M, MMMA, ...       granitehybrid       made for Bamba too, with rotary positions; expand=2 only

Its norms of latents have the epsilon of all norms, and ours have 1e-6. `x / sqrt(mean x^2 + eps)` stays what it is when
x and sqrt(eps) grow alike, so the matrix in front of such a norm is multiplied by sqrt(norm_eps / 1e-6).

llama.cpp cannot run granitehybrid without a layer of attention. So a model of M alone gets one more layer at its end,
whose matrices are zeros: it adds nothing to what passes.

Shapes: H heads, G key-value heads, K width of a head, C rank of the latent of keys and values.
"""

import functools
import math
from typing import Any

import torch
from torch import Tensor

from ablate.interchange.gguf.layers import Layout, Made, Rows, attention, gated, mamba2, norms, rotary_order
from ablate.model.families.common import State, below
from ablate.model.language import LanguageModel, letters
from ablate.model.latent import LATENT_EPS
from ablate.model.linear import NORM_EPS
from ablate.run.settings import Model, Size

LITE = (26, 27)  # depths at which llama.cpp takes deepseek2 for DeepSeek-V2-Lite, which has no latent of queries
ONE = 32  # width of the one head of a layer that does nothing: a block of numbers
Keys = dict[str, Any]


class Shape:
    """The answers that most architectures give. Never an object."""

    HALVES = False  # whether rotary pairs are (k, k + K/2), not neighbours as ours are

    @staticmethod
    def misfit(model: Model, size: Size) -> str:
        """Why such a model cannot be one of these; empty if it can."""
        return ""

    @staticmethod
    def keys(model: Model, size: Size) -> Keys:
        """Of the metadata, what is written beyond that of all."""
        return {"attention.head_count_kv": size.kv_heads} | heads(size)

    @classmethod
    def layer(cls, letter: str, model: Model, size: Size) -> Layout:
        """The tensors of a layer, without `blk.N.` before and `.weight` behind."""
        return norms() | attention(size, cls.HALVES) | gated(size)

    @staticmethod
    def last(model: Model, size: Size) -> Layout:
        """The tensors of a layer that follows ours; empty if there is none."""
        return {}


class Llama(Shape):
    pass


class Arcee(Shape):
    @classmethod
    def layer(cls, letter: str, model: Model, size: Size) -> Layout:
        return norms() | attention(size, cls.HALVES) | {"ffn_up": Rows("feed.up"), "ffn_down": Rows("feed.down")}


class Qwen3(Shape):
    HALVES = True

    @classmethod
    def layer(cls, letter: str, model: Model, size: Size) -> Layout:
        order = rotary_order(torch.arange(size.width // size.heads), 1)
        normed = {f"attn_{x}_norm": Rows(f"mixer.{x}_norm", order) for x in "qk"}
        return super().layer(letter, model, size) | normed


class BitNet(Shape):
    HALVES = True

    @staticmethod
    def misfit(model: Model, size: Size) -> str:
        if not model.tied:
            return "model.tied=false: llama.cpp's bitnet multiplies with the embedding, and has no other head"
        if model.norm_eps != NORM_EPS:
            return (
                f"model.norm_eps={model.norm_eps}: must be {NORM_EPS}, that of the norms in front of ternary products"
            )
        return ""

    @classmethod
    def layer(cls, letter: str, model: Model, size: Size) -> Layout:
        inner = {
            "attn_norm": Rows("mixer.qkv.norm"),
            "attn_sub_norm": Rows("mixer.out.norm"),
            "ffn_norm": Rows("feed.gate_up.norm"),
            "ffn_sub_norm": Rows("feed.down.norm"),
        }
        return inner | attention(size, cls.HALVES) | gated(size)


class DeepSeek2(Shape):
    @staticmethod
    def misfit(model: Model, size: Size) -> str:
        if model.latent.q_rank and size.depth in LITE:
            return f"size.depth={size.depth}: llama.cpp takes it for DeepSeek-V2-Lite, which has model.latent.q_rank=0"
        return ""

    @staticmethod
    def keys(model: Model, size: Size) -> Keys:
        latent, width = model.latent, size.width // size.heads
        return {
            "attention.head_count_kv": 1,  # the latent, from which every head makes its own
            "attention.q_lora_rank": latent.q_rank,
            "attention.kv_lora_rank": latent.kv_rank,
            "attention.key_length": latent.kv_rank + latent.rope_width,
            "attention.value_length": latent.kv_rank,
            "attention.key_length_mla": width + latent.rope_width,
            "attention.value_length_mla": width,
            "rope.dimension_count": latent.rope_width,
            "leading_dense_block_count": size.depth,
            "expert_feed_forward_length": size.hidden,
            "expert_shared_count": 0,
        }

    @classmethod
    def layer(cls, letter: str, model: Model, size: Size) -> Layout:
        heads, stretch = size.heads, math.sqrt(model.norm_eps / LATENT_EPS)
        mixer: Layout = {
            "attn_kv_a_mqa": lambda b: torch.cat((stretch * b["mixer.kv_down.weight"], b["mixer.k_rope.weight"])),
            "attn_kv_a_norm": Rows("mixer.kv_norm"),
            "attn_k_b": lambda b: _up(b, heads)[:, 0].mT,
            "attn_v_b": lambda b: _up(b, heads)[:, 1],
            "attn_output": Rows("mixer.out"),
        }
        if model.latent.q_rank:
            mixer |= {"attn_q_a": lambda b: stretch * b["mixer.q_down.weight"]}
            mixer |= {"attn_q_a_norm": Rows("mixer.q_norm"), "attn_q_b": Rows("mixer.q_up")}
        else:
            mixer |= {"attn_q": Rows("mixer.q")}
        return norms() | mixer | gated(size)


def _up(block: State, heads: int) -> Tensor:
    """(H, 2, K, C): what makes a head's key and its value of the latent."""
    return block["mixer.kv_up.weight"].unflatten(0, (heads, 2, -1))


class GraniteHybrid(Shape):
    @staticmethod
    def misfit(model: Model, size: Size) -> str:
        if model.mamba.expand != 2:
            return f"model.mamba.expand={model.mamba.expand}: must be 2, the only one that llama.cpp has"
        return ""

    @staticmethod
    def keys(model: Model, size: Size) -> Keys:
        mamba, layers = model.mamba, letters(model.pattern, size.depth)
        inner, kv_heads = mamba.expand * size.width, [size.kv_heads * (letter == "A") for letter in layers]
        with_last = {"block_count": size.depth + 1, "attention.head_count": 1} | _widths(ONE)
        return (heads(size) if "A" in layers else with_last) | {
            "attention.head_count_kv": kv_heads if "A" in layers else [*kv_heads, 1],
            "ssm.conv_kernel": mamba.conv,
            "ssm.state_size": mamba.state,
            "ssm.group_count": mamba.groups,
            "ssm.inner_size": inner,
            "ssm.time_step_rank": inner // mamba.head_width,  # its name for the number of heads
            "rope.scaling.finetuned": True,  # read as: attention has rotary positions
        }

    @classmethod
    def layer(cls, letter: str, model: Model, size: Size) -> Layout:
        mixer = attention(size, cls.HALVES) if letter == "A" else mamba2(model)
        return norms() | mixer | gated(size)

    @staticmethod
    def last(model: Model, size: Size) -> Layout:
        if "A" in letters(model.pattern, size.depth):
            return {}
        rows = {f"attn_{x}": (ONE, size.width) for x in "qkv"} | {"attn_output": (size.width, ONE)}
        rows |= {"ffn_gate": (size.hidden, size.width), "ffn_up": (size.hidden, size.width)}
        rows |= {"ffn_down": (size.width, size.hidden), "attn_norm": (size.width,), "ffn_norm": (size.width,)}
        return {name: functools.partial(_zeros, shape) for name, shape in rows.items()}


def _zeros(shape: tuple[int, ...], _: State) -> Tensor:
    return torch.zeros(shape)


SHAPES = {
    "llama": Llama,
    "arcee": Arcee,
    "qwen3": Qwen3,
    "bitnet": BitNet,
    "deepseek2": DeepSeek2,
    "granitehybrid": GraniteHybrid,
}


def architecture(model: Model, size: Size) -> str:
    """The key of SHAPES. Raises ValueError, naming the setting, for a model that has none."""
    mixers = set(letters(model.pattern, size.depth))
    if unknown := "".join(sorted(mixers - set("ALM"))):
        raise ValueError(f"model.pattern={model.pattern!r}: llama.cpp knows nothing of the mixer {unknown}")
    plain = mixers == {"A"} and not model.qk_norm and model.linear == "dense"
    if model.feed != "swiglu":
        return _only(plain, f"model.feed={model.feed}", "with dense attention in every layer, without qk_norm", "arcee")
    if model.linear not in ("dense", "ternary"):
        raise ValueError(f"model.linear={model.linear}: llama.cpp has no form for what it computes")
    if model.linear == "ternary":
        fits = mixers == {"A"} and not model.qk_norm
        return _only(fits, "model.linear=ternary", "with attention in every layer, without qk_norm", "bitnet")
    if "L" in mixers:
        return _only(mixers == {"L"}, f"model.pattern={model.pattern!r}", "as L in every layer", "deepseek2")
    if "M" in mixers:
        return _only(not model.qk_norm, "model.qk_norm=true", "without M", "granitehybrid")
    return "qwen3" if model.qk_norm else "llama"


def _only(fits: bool, what: str, how: str, name: str) -> str:
    if not fits:
        raise ValueError(f"{what}: llama.cpp has it only {how}")
    return name


def misfit(language: LanguageModel) -> str:
    """Why llama.cpp cannot run this model; empty if it can."""
    if language.value is not None:
        return "objective=reward: what a response is worth has no place in a GGUF"
    try:
        return SHAPES[architecture(language.model, language.size)].misfit(language.model, language.size)
    except ValueError as error:
        return str(error)


def has_more(language: LanguageModel) -> bool:
    """Whether the file has a layer that the model has not."""
    model, size = language.model, language.size
    return bool(SHAPES[architecture(model, size)].last(model, size))


def keys(language: LanguageModel, positions: int) -> Keys:
    """The metadata of the architecture, without its name before each key."""
    model, size = language.model, language.size
    common = {
        "vocab_size": len(language.head_weight),
        "context_length": positions + 1,  # with the token that is written last, which nothing reads
        "embedding_length": size.width,
        "block_count": size.depth,
        "feed_forward_length": size.hidden,
        "attention.head_count": size.heads,
        "attention.layer_norm_rms_epsilon": float(model.norm_eps),
        "rope.freq_base": float(model.rope_theta),
    }
    return common | SHAPES[architecture(model, size)].keys(model, size)


def layout(language: LanguageModel) -> Layout:
    """What every tensor of the file is made of, by its name. Of `Rows` the names are whole, and `Made` take all."""
    model, size = language.model, language.size
    shape = SHAPES[architecture(model, size)]
    found: Layout = {"token_embd.weight": Rows("embedding"), "output_norm.weight": Rows("norm")}
    if not model.tied:
        found["output.weight"] = Rows("head")
    layers = [shape.layer(letter, model, size) for letter in letters(model.pattern, size.depth)]
    for i, layer in enumerate([*layers, shape.last(model, size)]):
        for name, taken in layer.items():
            whole = f"blk.{i}.{name}" + ("" if name in ("ssm_a", "ssm_d") or "." in name else ".weight")
            found[whole] = _placed(taken, f"blocks.{i}.")
    return found


def _placed(taken: Rows | Made, prefix: str) -> Rows | Made:
    if isinstance(taken, Rows):
        return Rows(prefix + taken.name, taken.order)
    return lambda state: taken(below(prefix, state))


def heads(size: Size) -> Keys:
    return _widths(size.width // size.heads)


def _widths(width: int) -> Keys:
    return {"attention.key_length": width, "attention.value_length": width, "rope.dimension_count": width}
