"""The streams of a trace, and what may explain a difference in each: one table, read by `confounds`.

A key of a declared difference explains a stream when it is among the stream's factors or below one of them:
`mixture.weights@0.qa` is below `mixture`. Whatever is not in a line of the table is a confound there.
"""

from typing import Any

Declared = frozenset[str]

BUDGET = ("tokens", "step_tokens", "ramp")  # how many steps there are, which fractions of a run count
SHAPES = ("model", "size", "data")
FUNCTION = (*SHAPES, "precision")  # what the model computes, on rows that the data holds out
UPDATE = tuple(f"optimizer.{name}" for name in ("name", "betas", "eps", "clip", "momentum", "lerac"))

RATES = ("schedule", *(f"optimizer.{name}" for name in ("lr", "weight_decay", "lerac")), "size.depth", *BUDGET)

# Stream -> factors, and why
EXPLAINS: dict[str, tuple[str, ...]] = {
    # Every parameter is drawn from its own name: a layer more or another mixer leaves the others alone
    "initial weights": ("model.init_scale", "size.width", "size.match"),
    "initial weights of residual matrices": ("model.init_scale", "size.width", "size.match", "size.depth"),
    "initial weights of states": ("model.init_scale", "size.width", "size.match", "model.mamba"),
    "architecture": SHAPES,  # parameters and modules that only one has, or of another shape or class
    "eps of norms": ("model.norm_eps", "model.linear"),
    "base of rotation": ("model.rope_theta",),
    "kernels": ("model", "size", "length", "data.span"),  # long rows need another
    "numerics": (),
    "versions": (),
    "machine": (),
    "code": (),
    "text": ("data",),
    "evaluation": ("data", "evaluation.spans"),
    "optimizer class": ("optimizer.name",),
    "optimizer betas": ("optimizer.name", "optimizer.betas"),
    "optimizer eps": ("optimizer.name", "optimizer.eps"),
    "optimizer momentum": ("optimizer.name", "optimizer.momentum"),
    "optimizer clip": ("optimizer.clip",),
    "optimizer numbers": ("optimizer.name",),
    "decay": ("optimizer.lerac", "size.depth"),  # a curriculum gives each layer a group of its own
    "types": ("precision",),
    "types of the optimizer": ("precision", "optimizer.name"),
    "random draws": (),  # nothing here is random once the weights are drawn
    "function": FUNCTION,
    "update": (*FUNCTION, *UPDATE),
    "carried": (),  # weights and moments, from one try to the next
    "split": (),
    # Running digests, by step
    "rows": ("mixture", "length", "data", *BUDGET),
    "layout": ("length", *BUDGET),
    "interleaving": ("mixture", "length", "data", *BUDGET),
    "rates": RATES,
    "group rates": (*RATES, "optimizer.name"),
    "shares": ("averaging", *BUDGET),
    "numbers": ("optimizer.name", "optimizer.betas", "optimizer.eps", "optimizer.momentum", "optimizer.lerac", "size"),
    "draws": (),
    # Mixtures, lengths and batches all read the same stream of a domain, in other portions
    "windows": ("data",),
    "evaluated": ("data", "evaluation.spans"),
}
STEPS = ("rows", "layout", "interleaving", "rates", "group rates", "shares", "numbers", "draws")
# Factors that show in these streams from the first step that they change
TIMED = ("mixture", "length", "schedule", "ramp", "optimizer.lr", "optimizer.weight_decay", "averaging", "tokens")
ROUNDING = ("split", "numerics", "versions", "machine", "kernels")  # what comes out may differ in the last bits
# Streams that are others for another seed
OF_SEED = ("initial", "rows", "interleaving", "windows", "function", "update")

RESIDUAL = ("mixer.out.weight", "mixer.out_proj.weight", "feed.down.weight")  # as in `model.language`
OF_STATE = ("A_log", "dt_bias", "conv1d.weight", "conv1d.bias")  # as in `model.mamba`
CONSTANTS = {"eps": "eps of norms", "theta": "base of rotation"}
OPTIMIZER = ("class", "betas", "eps", "momentum", "clip")
FORWARD = ("forward", "loss 0", "diverged")  # of the probe, before its first update


def explained(stream: str, declared: Declared) -> bool:
    """Whether one of the declared keys may change the stream."""
    factors = EXPLAINS[stream]
    return any(key == factor or key.startswith((f"{factor}.", f"{factor}@")) for key in declared for factor in factors)


def of_seed(stream: str) -> bool:
    return stream.startswith(OF_SEED)


def stream_of(key: str, ours: Any, theirs: Any) -> str:
    """The line of the table for a key of the conditions, `group/name/...`, by what it was in the two runs."""
    group, _, name = key.partition("/")
    last = name.rpartition("/")[2]
    match group:
        case "initial":
            return _of_parameter(name, ours, theirs)
        case "constants":
            return CONSTANTS.get(last, "architecture") if ours and theirs else "architecture"
        case "decay":
            return "decay" if ours is not None and theirs is not None else "architecture"
        case "optimizer":
            return f"optimizer {name}" if name in OPTIMIZER else "optimizer numbers"
        case "probe":
            return _of_probe(name)
    return group


def _of_parameter(name: str, ours: Any, theirs: Any) -> str:
    if (ours and theirs and ours.split(") ")[0] != theirs.split(") ")[0]) or ours is None or theirs is None:
        return "architecture"
    if name.endswith(RESIDUAL):
        return "initial weights of residual matrices"
    return "initial weights of states" if name.endswith(OF_STATE) else "initial weights"


def _of_probe(name: str) -> str:
    if name == "draws":
        return "random draws"
    if name.startswith("types/"):
        return "types of the optimizer" if name == "types/optimizer" else "types"
    return "function" if name in FORWARD else "update"
