"""A run is a value: its canonical form, its id, and how two of them differ.

    id = <readable slug>-<8 hex of sha256(canonical(what), data fingerprint, SEMANTICS)>

Only declared meaning is hashed. Paths, devices, loggers and the code itself are not: drift in
those is recorded and reported (`ablate.run.record`), so that an id never changes for a reason that
no reader of the configuration could see.
"""

import dataclasses
import hashlib
import json
import re
from typing import Any

from ablate.run.settings import NOT_HASHED, Averaging, Latent, LeRaC, Mamba, Ramp, Settings

# Raised by hand when the same configuration comes to mean another computation; golden runs
# (tests/golden) fail when numbers move without it.
SEMANTICS = 1
# Keys that came later, with the value that means what runs without them did: left out of the
# canonical form while they have it, so that finished runs keep their ids
NEUTRAL = {
    "model.linear": "dense",
    "model.feed": "swiglu",
    "model.qk_norm": False,
    "model.latent": dataclasses.asdict(Latent()),
    "model.mamba": dataclasses.asdict(Mamba()),
    "ramp": dataclasses.asdict(Ramp()),
    "size.match": "none",
    "optimizer.momentum": 0.95,
    "optimizer.lerac": dataclasses.asdict(LeRaC()),
    "averaging": dataclasses.asdict(Averaging()),
}
SLUG_PART = 20  # characters of a long pattern or curriculum that the readable part of an id keeps


def canonical(settings: Settings) -> dict[str, Any]:
    """What the run is, as nested plain data: one form for every way to write the same thing."""
    what = _complete(settings)
    for key, neutral in NEUTRAL.items():
        part, name = _place(what, key)
        if part[name] == neutral:
            del part[name]
    return what


def _complete(settings: Settings) -> dict[str, Any]:
    """The canonical form with every key, neutral or not."""
    kept = (field.name for field in dataclasses.fields(settings) if field.name not in NOT_HASHED)
    what = {name: _plain(getattr(settings, name)) for name in kept}
    for key in (key for key in NOT_HASHED if "." in key):
        part, name = _place(what, key)
        del part[name]
    # `share`, sums other than 1 and the names of stages are ways of writing; the weights are what happens
    what["mixture"] = {
        "block": settings.mixture.block,
        **{f"weights@{start:.12g}": weights for start, weights in settings.mixture_stages},
    }
    stages = what["schedule"].pop("stages").values()
    what["schedule"] |= {f"stage@{stage.pop('start'):.12g}": stage for stage in stages}
    return what


def _plain(part: Any) -> Any:
    """As `dataclasses.asdict`, which copies every leaf deeply and takes four times as long."""
    if dataclasses.is_dataclass(part):
        return {field.name: _plain(getattr(part, field.name)) for field in dataclasses.fields(part)}
    if isinstance(part, dict):
        return {name: _plain(value) for name, value in part.items()}
    return [_plain(value) for value in part] if isinstance(part, list) else part


def digest(value: Any, length: int = 8) -> str:
    """The first hex digits of the SHA-256 of plain data; key order and spelling of numbers do not matter."""
    text = json.dumps(_spelled(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def run_id(settings: Settings, fingerprint: str) -> str:
    """The name of the run; `fingerprint` is that of the prepared data (`data.tokens.Corpus`)."""
    return f"{_slug(settings)}-{digest([canonical(settings), fingerprint, SEMANTICS])}"


def record_name(settings: Settings, fingerprint: str) -> str:
    """The name of the run's record: its id, and for a replicate, which is the same run once more, its number."""
    again = f"-r{settings.where.replicate}" if settings.where.replicate else ""
    return run_id(settings, fingerprint) + again


def difference(a: Settings, b: Settings) -> dict[str, tuple[Any, Any]]:
    """Every key of the canonical forms whose value differs, with both values (None where absent)."""
    flat_a, flat_b = _flatten(_complete(a)), _flatten(_complete(b))
    keys = sorted(flat_a.keys() | flat_b.keys())
    return {key: (flat_a.get(key), flat_b.get(key)) for key in keys if flat_a.get(key) != flat_b.get(key)}


def _spelled(value: Any) -> Any:
    """Plain data with whole numbers as integers, so that 1 and 1.0, 0 and -0.0 are written alike."""
    if isinstance(value, dict):
        return {name: _spelled(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_spelled(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _place(tree: dict[str, Any], key: str) -> tuple[dict[str, Any], str]:
    """The dict that holds a dotted key, and the key's last part."""
    *groups, name = key.split(".")
    for group in groups:
        tree = tree[group]
    return tree, name


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in tree.items():
        flat |= _flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def _slug(s: Settings) -> str:
    pattern = re.sub("[^a-z0-9]", "", s.model.pattern.lower())[:SLUG_PART]
    lengths = "to".join(str(length) for length in s.length.lengths)[:SLUG_PART]
    return f"{pattern}{s.size.width}x{s.size.depth}-{lengths}-s{s.seed}"
