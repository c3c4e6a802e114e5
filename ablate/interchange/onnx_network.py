"""The whole network as a graph of ONNX: embedding, blocks, head, and what is kept between calls.

Shapes: B rows, L new tokens of a row, D width.
"""

from ablate.compress.packed import Packed
from ablate.interchange.onnx_graph import Graph
from ablate.interchange.onnx_mamba import Chunks, chunks, mamba
from ablate.interchange.onnx_parts import Reading, attention, feed, latent, norm, reading
from ablate.interchange.onnx_weights import Weights, stored
from ablate.model.attention import Attention
from ablate.model.language import Block, LanguageModel
from ablate.model.latent import LatentAttention
from ablate.model.linear import Dense, Ternary
from ablate.model.mamba import Mamba2
from ablate.model.parts import SquaredReLU, SwiGLU

MIXERS = (Attention, LatentAttention, Mamba2)
FEEDS = (SwiGLU, SquaredReLU)
LINEARS = (Dense, Ternary)


def unknown(language: LanguageModel) -> str:
    """The name and the class of a part that has no form here; the empty string if there is none."""
    for name, part in language.named_modules():
        if isinstance(part, Block):
            pairs = {f"{name}.mixer": MIXERS, f"{name}.feed": FEEDS}
        else:
            pairs = {name: LINEARS} if isinstance(part, Dense) else {}
        for inner, known in pairs.items():
            if (kind := type(language.get_submodule(inner))) not in known:
                return f"{inner}: {kind.__qualname__} of {kind.__module__}"
    return ""


def graph_of(language: LanguageModel, type: str = "fp32", packed: Packed | None = None) -> Graph:
    """`language` with its weights as `type` says (`onnx_weights.stored`), of a model without `unknown` parts."""
    graph = Graph()
    weights = Weights(graph, stored(language, type, packed))
    tokens_BL = graph.input("input_ids", ["batch", "length"], whole=True)
    at = reading(graph, tokens_BL, graph.input("attention_mask", ["batch", "total"], whole=True))
    cut = chunks(graph, tokens_BL, language.model.mamba.chunk)
    x_BLD = weights.embedded(tokens_BL)
    for layer, block in enumerate(language._stack):
        x_BLD = _after(graph, weights, layer, block, x_BLD, at, cut)
    x_BLD = norm(graph, x_BLD, language.norm)
    graph.output("logits", weights.logits(x_BLD), ["batch", "length", len(language.head_weight)])
    if language.value is not None:
        weight_D1 = graph.array(language.value.weight.detach().numpy().T, "value.weight")
        graph.output("rewards", graph.op("MatMul", x_BLD, weight_D1), ["batch", "length", 1])
    return graph


def _after(graph: Graph, weights: Weights, layer: int, block: Block, x_BLD: str, at: Reading, cut: Chunks) -> str:
    """What a block makes of its input."""
    normed, mixer = norm(graph, x_BLD, block.mixer_norm), block.mixer
    if isinstance(mixer, Mamba2):
        mixed = mamba(graph, weights, layer, mixer, normed, at, cut)
    elif isinstance(mixer, LatentAttention):
        mixed = latent(graph, weights, layer, mixer, normed, at)
    else:
        assert isinstance(mixer, Attention)
        mixed = attention(graph, weights, layer, mixer, normed, at)
    x_BLD = graph.op("Add", x_BLD, mixed)
    fed = feed(graph, weights, f"blocks.{layer}.feed", block.feed, norm(graph, x_BLD, block.feed_norm))
    return graph.op("Add", x_BLD, fed)
