"""The streams of a trace, and whether a declared key explains a difference in one: read by `confounds`.

What a key moves is declared at its field (`ablate.run.settings`), and `mixture.weights@0.qa` belongs to
`mixture.weights`. A difference in a stream that no declared key moves is a confound.
"""

from typing import Any

from ablate.run.fields import find
from ablate.run.settings import Settings

Declared = frozenset[str]

CUT = "cut of a ternary run"  # the parts that its steps are worked off in
# Streams, by what they are of. Those of the last line nothing that is declared may change
STREAMS = (
    *("initial weights", "initial weights of residual matrices", "initial weights of states"),
    "architecture",  # parameters and modules that only one has, or of another shape or class
    *("eps of norms", "base of rotation", "kernels", "types", "types of the optimizer"),
    *("text", "evaluation", "windows", "evaluated"),
    *("optimizer class", "optimizer betas", "optimizer eps", "optimizer momentum", "optimizer clip"),
    *("optimizer numbers", "decay", "function", "update"),
    *("rows", "layout", "interleaving", "rates", "group rates", "shares", "numbers"),
    "twin",  # what the base's configuration does in the process of the run
    *("numerics", "versions", "machine", "code", "random draws", "draws", "carried", "split", CUT),
    *("custody", "last step"),  # weights between two steps, and a step that a copy takes once more
)
HELD_OUT = ("evaluation", "evaluated")  # one text for all arms: what moves it may not be the factor
# Running digests, by step
STEPS = ("rows", "layout", "interleaving", "rates", "group rates", "shares", "numbers", "draws")
RESIDUAL = ("mixer.out.weight", "mixer.out_proj.weight", "feed.down.weight")  # as in `model.language`
OF_STATE = ("A_log", "dt_bias", "conv1d.weight", "conv1d.bias")  # as in `model.mamba`
CONSTANTS = {"eps": "eps of norms", "theta": "base of rotation"}
OPTIMIZER = ("class", "betas", "eps", "momentum", "clip")
FORWARD = ("forward", "loss 0", "diverged")  # of the probe, before its first update


def explained(stream: str, declared: Declared) -> bool:
    """Whether one of the declared keys may change the stream."""
    return stream not in HELD_OUT and any(stream in find(Settings, key).moves for key in declared)


def of_seed(stream: str) -> bool:
    """Whether the stream is another one for another seed."""
    return stream in find(Settings, "seed").moves


def stream_of(key: str, ours: Any, theirs: Any) -> str:
    """The line of the table for a key of the conditions, `group/name/...`, by what it was in the two runs."""
    group, _, name = key.partition("/")
    if group.startswith("module "):  # of the user's own, by its name
        return "code"
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
