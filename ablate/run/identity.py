"""A run is a value: its canonical form, its id, and how two of them differ.

    id = <readable slug>-<8 hex of sha256(canonical(what), data fingerprint, SEMANTICS)>

Only declared meaning is hashed. Paths, devices, loggers and the code itself are not: drift in
those is recorded and reported (`ablate.run.record`), so that an id never changes for a reason that
no reader of the configuration could see.
"""

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ablate.run.fields import Mark, marked
from ablate.run.monitor import spelled, windows
from ablate.run.settings import Settings
from ablate.run.start import weights_of

# Raised by hand when the same configuration comes to mean another computation; golden runs
# (tests/golden) fail when numbers move without it.
SEMANTICS = 1
NOT_HASHED = frozenset(marked(Settings, Mark.NOT_HASHED))
# Keys, by group, that stand in every canonical form: those of the first runs, and of groups that came next. Any other
# is left out while it has its default, which is what runs did before there was such a key: so they keep their ids.
# Nothing is ever added here.
FIRST = {
    "": "data mixture length size model optimizer schedule evaluation tokens step_tokens precision seed",
    "data": "source domains vocabulary span validation domain_bytes",
    "length": "lengths starts constant",
    "ramp": "multiples starts",
    "size": "width depth heads kv_heads hidden",
    "model": "pattern norm_eps rope_theta tied init_scale",
    "model.latent": "kv_rank q_rank rope_width",
    "model.mamba": "state expand head_width groups conv chunk",
    "optimizer": "name lr weight_decay betas eps clip",
    "optimizer.lerac": "lowest until",
    "schedule": "warmup decay shape final stages",
    "schedule.stages": "start peak weight_decay warmup decay shape final",
    "averaging": "kind start decay",
    "evaluation": "times spans",
}
ALWAYS = frozenset(f"{group}.{name}".strip(".") for group, names in FIRST.items() for name in names.split())
SLUG_PART = 20  # characters of a long pattern or curriculum that the readable part of an id keeps


def canonical(settings: Settings, complete: bool = False) -> dict[str, Any]:
    """What the run is, as nested plain data: one form for every way to write the same thing.

    `complete`: with the keys that are left out while they have their default.
    """
    what = _plain(settings, "", complete)
    if "start" in what:
        what["start"] = weights_of(settings.start)
    if "teacher" in what.get("distill", {}):
        what["distill"]["teacher"] = weights_of(settings.distill.teacher, "distill.teacher")
    if "skip" in what.get("monitor", {}):
        what["monitor"]["skip"] = spelled(windows(settings.monitor.skip))
    # `share`, sums other than 1 and the names of stages are ways of writing; the weights are what happens
    what["mixture"] = {
        "block": settings.mixture.block,
        **{f"weights@{start:.12g}": weights for start, weights in settings.mixture_stages},
        **({"adapt": settings.mixture.adapt} if settings.mixture.to_come else {}),  # afterwards the weights say it
    }
    stages = what["schedule"].pop("stages").values()
    what["schedule"] |= {f"stage@{stage.pop('start'):.12g}": stage for stage in stages}
    return what


def _plain(part: Any, key: str, complete: bool) -> Any:
    """As `dataclasses.asdict`, which copies every leaf deeply and takes four times as long, but what is hashed only."""
    if isinstance(part, dict):
        return {name: _plain(value, key, complete) for name, value in part.items()}
    if isinstance(part, list):
        return [_plain(value, key, complete) for value in part]
    if not dataclasses.is_dataclass(part):
        return part
    values = [(name, f"{key}.{name}" if key else name, getattr(part, name)) for name in _defaults(type(part))]
    return {
        name: _plain(value, below, complete)
        for name, below, value in values
        if below not in NOT_HASHED and (complete or below in ALWAYS or value != _defaults(type(part))[name])
    }


@functools.cache
def _defaults(cls: Any) -> dict[str, Any]:
    """Every field of a class of settings with its default."""
    return vars(cls())


def without(tree: dict[str, Any], keys: Collection[str], prefix: str = "") -> dict[str, Any]:
    """A canonical form without some keys, dotted names."""
    return {
        name: without(value, keys, f"{prefix}{name}.") if isinstance(value, dict) else value
        for name, value in tree.items()
        if prefix + name not in keys
    }


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
    flat_a, flat_b = flatten(canonical(a, complete=True)), flatten(canonical(b, complete=True))
    keys = sorted(flat_a.keys() | flat_b.keys())
    return {key: (flat_a.get(key), flat_b.get(key)) for key in keys if flat_a.get(key) != flat_b.get(key)}


def in_words(difference: Mapping[str, Sequence[Any]]) -> str:
    """A difference in one line: `mixture.weights from step 0: code 0.3 → 0.27, qa 0.1 → 0.2; optimizer: lr ...`."""
    groups: dict[str, list[str]] = {}
    for key, (old, new) in difference.items():
        group, _, name = key.rpartition(".")
        groups.setdefault(key_in_words(group), []).append(f"{name} {_value(old)} → {_value(new)}")
    return "; ".join(f"{group}: ".lstrip(": ") + ", ".join(items) for group, items in groups.items())


def key_in_words(key: str) -> str:
    """mixture.weights@0.5.qa -> mixture.weights from 50 % of the run on, qa"""
    group, found, rest = key.partition("@")
    if not found:
        return key
    start = re.match(r"\d(\.\d+)?e[+-]\d+|0\.\d+|\d+", rest)
    assert start, key
    moment, name = float(start[0]), rest[start.end() :].removeprefix(".")
    began = f"{100 * moment:g} % of the run on" if 0 < moment <= 1 else f"step {moment:g}"
    return f"{group} from {began}" + (f", {name}" if name else "")


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _spelled(value: Any) -> Any:
    """Plain data with whole numbers as integers, so that 1 and 1.0, 0 and -0.0 are written alike."""
    if isinstance(value, dict):
        return {name: _spelled(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_spelled(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def flatten(tree: dict[str, Any], between: str = ".", prefix: str = "") -> dict[str, Any]:
    """One value a path of names: {"a": {"b": 1}} as {"a.b": 1}."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        path = f"{prefix}{name}"
        found |= flatten(value, between, path + between) if isinstance(value, dict) else {path: value}
    return found


def _slug(s: Settings) -> str:
    pattern = re.sub("[^a-z0-9]", "", s.model.pattern.lower())[:SLUG_PART]
    lengths = "to".join(str(length) for length in s.length.lengths)[:SLUG_PART]
    return f"{pattern}{s.size.width}x{s.size.depth}-{lengths}-s{s.seed}"
