"""Every key is varied by its type: what moves the id is all of `what`, and nothing else."""

import dataclasses
import string
import typing
from functools import reduce
from typing import Any

import pytest
from hypothesis import example, given, reject
from hypothesis import strategies as st

from ablate.run import identity
from ablate.run.fields import declared, strict
from ablate.run.identity import NOT_HASHED, difference, digest, in_words, key_in_words, run_id
from ablate.run.mixture import Mixture
from ablate.run.parse import from_plain
from ablate.run.settings import Length, Model, Settings, Size

BASE = {
    "mixture": {
        "weights": {"general": 1, "code": 1, "science": 1, "qa": 2},
        "stages": {"late": {"weights": {"qa": 1}}},
    },
    "length": {"lengths": [256, 1024], "starts": [0, 0.5]},
}
# Leaves whose type does not say what else is valid here. None: no other value exists yet.
OTHER: dict[str, Any] = {
    "evaluate.tasks": {"sums": {"items": 3}},
    "data.domains": ["general", "code", "science", "qa", "news"],
    "mixture.weights": {"general": 1, "code": 1, "science": 1, "qa": 3},
    "mixture.share": 0.3,
    "mixture.stages": {"late": {"weights": {"qa": 1, "code": 1}}},
    "mixture.block": 128,
    "start": "run:one@" + 64 * "a",
    "distill.teacher": "run:one@" + 64 * "a",
    "distill.flops": {1024: 10},
    "data.span": 2048,
    "length.lengths": [512, 1024],
    "length.starts": [0, 0.25],
    "step_tokens": 8192,
    "model.pattern": "AM",
    "model.latent.rope_width": 32,
    "size.kv_heads": 1,
    "size.width": 256,
    "size.heads": 8,
    "optimizer.betas": [0.9, 0.99],
    "schedule.stages": {"late": {"start": 0.5, "peak": 0.1}},
    "ramp.multiples": [2],
    "ramp.starts": None,
    "data.sources": {"qa": "general"},
    "averaging.decay": 0.9,
    "model.options": {"W": {"window": 8}},
    "where.imports": ["window"],
    "where.store": "file:///lab",
    "where.keep": [0.5],
    "where.environment": {"NCCL_DEBUG": "INFO"},
    "study.metric": "micro",
    "study.factor": ["optimizer.lr"],
    "study.arms": {"hot": ["optimizer.lr=0.1"]},
    "study.seeds": [0, 1],
    "study.skips": {0: ["3-5"]},
    "study.phases": {"first": [], "then": ["optimizer.lr=0.1"]},
    "study.grid": {"rate": {"low": [], "high": ["optimizer.lr=0.1"]}},
    "study.controls.positive": ["optimizer.lr*=0.5"],
    "where.slurm.options": {"qos": "low"},
    "data.level": {"all": 1},
    "data.columns": {"text": "content"},
    "data.counts": {"qa": "all"},
    "data.target": {"qa": "trace"},
    "corpus.kinds": {"general": "prose"},
    "corpus.held_out": {"all": 2},
    "corpus.skip": [3],
    "corpus.draw": {"general": 1000},
    "corpus.only": {"general": "ids.npy"},
    "corpus.languages": {"general": ["en"]},
    "corpus.bounds": {"repetition": {"lines": 0.5}},
    "corpus.score.options": {"words": "bad.txt"},
    "prepare.options": {"executor": "slurm"},
    "study.budget.looks": [2, 4],
    "study.ladder.sizes": ["nano", "micro"],
    "study.ladder.rates": [1.0, 2.0],
    "study.budget.noise": None,  # need one another
    "study.budget.noise_df": None,
    "monitor.act": "rollback",
    "monitor.skip": ["3-5"],
    "trouble.domain": "qa",
    "insert.repetitions": [0, 2],
}
# What some keys need beside them
SMALLER = {"start": "run:two@" + 64 * "b", "tokens": 0, "compress.to": "int4"}
TAUGHT = {"objective": "distill", "distill.teacher": "run:two@" + 64 * "b", "distill.kind": "jensen_shannon"}
NEEDED: dict[str, dict[str, Any]] = {key: {"where.strategy": "ddp"} for key in ("where.devices", "where.nodes")}


def leaves(cls: type, prefix: str = "") -> dict[str, Any]:
    """Type of every setting that is not a group, by dotted name."""
    found = {}
    for name, kind in typing.get_type_hints(cls).items():
        found |= leaves(kind, f"{prefix}{name}.") if dataclasses.is_dataclass(kind) else {prefix + name: kind}
    return found


def changed(**values: Any) -> Settings:
    """The base with some keys, dotted names, changed."""
    tree: Any = dataclasses.asdict(from_plain(BASE))
    for key, value in values.items():
        *groups, name = key.split(".")
        reduce(lambda part, group: part[group], groups, tree)[name] = value
    return from_plain(tree)


def value_at(settings: Settings, key: str) -> Any:
    value: Any = settings
    return reduce(getattr, key.split("."), value)


def varied(key: str) -> Any:
    """Another valid value of a key."""
    if key in OTHER:
        return OTHER[key]
    kind, value = LEAVES[key], value_at(from_plain(BASE), key)
    if typing.get_origin(kind) is typing.Literal:
        return next(choice for choice in typing.get_args(kind) if choice != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 0.75 if value else 0.5
    return [*value, "x"] if isinstance(value, list) else value + "x"


def is_hashed(key: str) -> bool:
    return not any(key == name or key.startswith(name + ".") for name in NOT_HASHED)


LEAVES = leaves(Settings)
# Keys that are valid with another value only beside a change of another key
ALONE = {"ramp.starts", "study.budget.noise", "study.budget.noise_df"}
VARIED = {key: varied(key) for key in LEAVES if varied(key) is not None}
NEEDED["mixture.adapt"] = {"start": "run:two@" + 64 * "b", "mixture.stages": {}}
NEEDED["data.pairs"] = {"length.lengths": [1024], "length.starts": [0]}
NEEDED |= {key: SMALLER for key in LEAVES if key.startswith("compress.")}
NEEDED |= {key: TAUGHT for key in LEAVES if key.startswith("distill.")}
NEEDED |= {key: {"monitor.act": "rollback"} for key in LEAVES if key.startswith("monitor.") and key not in OTHER}
NEEDED |= {key: {"trouble.kind": "noise"} for key in LEAVES if key.startswith("trouble.") and key != "trouble.kind"}
NEEDED |= {
    key: {"optimizer.clipping": key.split(".")[1]}
    for key in LEAVES
    if key.startswith(("optimizer.z", "optimizer.adagc"))
}
NEEDED |= {
    f"study.ladder.{key}": {"study.ladder.sizes": ["nano", "micro"]} for key in ("tokens_per_parameter", "target")
}
NEEDED |= {key: {"insert.made": 2} for key in LEAVES if key.startswith("insert.") and key != "insert.made"}
TABLE = {"insert.path": "a.jsonl", "insert.sha256": 64 * "a"}
NEEDED |= {key: TABLE for key in TABLE}
NEEDED["trouble.factor"] = {"trouble.kind": "rate"}
NEEDED["where.graphs"] = {"where.compile": True, "where.device": "cuda"}
HASHED = [key for key in VARIED if is_hashed(key)]
UNHASHED = [key for key in VARIED if not is_hashed(key)]


def test_every_leaf_can_be_varied_but_those_with_one_value():
    assert set(LEAVES) - set(VARIED) == ALONE
    assert set(OTHER) <= set(LEAVES)
    assert all(any(key == name or key.startswith(name + ".") for key in UNHASHED) for name in NOT_HASHED)


@pytest.mark.parametrize("key", UNHASHED)
def test_where_and_study_leave_the_id_alone(key):
    needed = NEEDED.get(key, {})
    base, other = changed(**needed), changed(**needed | {key: VARIED[key]})
    assert other != base
    assert run_id(other, "data") == run_id(base, "data")
    assert difference(base, other) == {}


@pytest.mark.parametrize("key", HASHED)
def test_what_moves_the_id_and_is_named(key):
    needed = NEEDED.get(key, {})
    base, other = changed(**needed), changed(**needed | {key: VARIED[key]})
    assert run_id(other, "data") != run_id(base, "data")
    names = set(difference(base, other))
    if key == "data.domains":
        assert names == {key, "mixture.weights@0.news", "mixture.weights@0.5.news"}
    elif key.startswith("mixture.") and key != "mixture.block":
        first = {f"mixture.weights@0.{domain}" for domain in base.data.domains}
        late = {f"mixture.weights@0.5.{domain}" for domain in ("code", "qa")}
        assert names == {"mixture.stages": late, "mixture.adapt": {key}}.get(key, first)
    elif key == "schedule.stages":
        assert {name.rpartition(".")[0] for name in names} == {"schedule.stage@0.5"}
    elif key in ("start", "distill.teacher"):
        assert difference(base, other) == {key: ("none" if key == "start" else 64 * "b", 64 * "a")}
    elif key == "model.options":
        assert names == {"model.options.W.window"}
    else:
        assert names == {key}
        assert difference(base, other) == {key: (value_at(base, key), value_at(other, key))}


some_keys = st.sets(st.sampled_from(sorted(VARIED)), max_size=4)


@given(some_keys, some_keys)
def test_no_difference_if_and_only_if_one_id(keys_a, keys_b):
    a, b = (fitting({key: VARIED[key] for key in sorted(keys)}) for keys in (keys_a, keys_b))
    assert (difference(a, b) == {}) == (run_id(a, "data") == run_id(b, "data"))
    assert difference(b, a) == {key: (y, x) for key, (x, y) in difference(a, b).items()}


def fitting(values: dict[str, Any]) -> Settings:
    needed = TAUGHT if any(key.startswith("distill.") for key in values) else {}
    try:
        return changed(**needed | values)
    except ValueError:  # two changes that exclude one another
        reject()


@pytest.mark.parametrize(
    "spelling",
    [
        {"mixture": {"weights": {"general": 0.25, "code": 0.25, "science": 0, "qa": 0.5}}},
        {"mixture": {"weights": {"qa": 2, "code": 1, "general": 1}}},
        {"mixture": {"weights": {"general": 0.1, "code": 0.1, "qa": 0.2}}},
        {"mixture": {"weights": {"general": 7, "code": 7, "qa": 1}, "share": 0.5}},
        {"optimizer": {"lr": 1}, "mixture": {"weights": {"general": 1, "code": 1, "qa": 2}}},
        {"optimizer": {"weight_decay": -0.0}, "mixture": {"weights": {"general": 1, "code": 1, "qa": 2}}},
        {"mixture": {"weights": {"general": 1, "code": 1, "qa": 2, "science": -0.0}}},
    ],
)
def test_spelling_does_not_matter(spelling):
    base = {"optimizer": {"lr": 1.0, "weight_decay": 0.0}, "mixture": {"weights": {"general": 1, "code": 1, "qa": 2}}}
    a, b = (
        from_plain(base),
        from_plain({"mixture": spelling["mixture"], "optimizer": base["optimizer"] | spelling.get("optimizer", {})}),
    )
    assert run_id(a, "data") == run_id(b, "data")
    assert difference(a, b) == {}


weights = st.fixed_dictionaries(
    {d: st.integers(0, 1000).map(lambda n: n / 8) for d in ("general", "code", "qa")}
).filter(lambda w: sum(w.values()) > 0)


@given(weights, st.floats(0.01, 100), st.permutations(["general", "code", "qa"]))
def test_order_and_scale_of_weights_do_not_matter(weights, scale, order):
    a = Settings(mixture=Mixture(weights=weights))
    b = Settings(mixture=Mixture(weights={domain: weights[domain] for domain in order}))
    c = Settings(mixture=Mixture(weights={domain: weight * scale for domain, weight in weights.items()}))
    assert run_id(a, "data") == run_id(b, "data") == run_id(c, "data")


@given(st.lists(st.floats(0.01, 1), min_size=4, max_size=4), st.permutations(range(4)))
@example([0.7196661195759118, 0.10282640603766957, 0.7333005648173357, 0.23473572667357753], [0, 3, 2, 1])
def test_order_of_weights_does_not_matter_to_the_last_digit(values, order):
    names = ["general", "code", "science", "qa"]
    a = Settings(mixture=Mixture(weights=dict(zip(names, values, strict=True))))
    b = Settings(mixture=Mixture(weights={names[i]: values[i] for i in order}))
    assert run_id(a, "data") == run_id(b, "data")


def test_names_of_stages_do_not_matter_and_their_starts_do():
    def staged(**starts: float) -> Settings:
        stages = {name: {"start": start, "weights": {"qa": 1}} for name, start in starts.items()}
        return from_plain({"tokens": 4096 * 3_000_000, "mixture": {"stages": stages}})

    assert run_id(staged(late=0.5), "data") == run_id(staged(cooldown=0.5), "data")
    assert run_id(staged(late=1_234_567), "data") != run_id(staged(late=1_234_568), "data")
    assert difference(staged(a=1_234_567, b=1_234_568), staged(a=1_234_567)) != {}


def test_order_of_keys_does_not_matter():
    def backwards(tree: Any) -> Any:
        return {name: backwards(tree[name]) for name in reversed(tree)} if isinstance(tree, dict) else tree

    base = changed()
    assert run_id(from_plain(backwards(dataclasses.asdict(base))), "data") == run_id(base, "data")


@given(
    st.recursive(
        st.floats(-1e6, 1e6) | st.integers(-99, 99) | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_digest_does_not_depend_on_key_order_or_the_spelling_of_numbers(value):
    def respelled(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: respelled(value[name]) for name in reversed(value)}
        if isinstance(value, list):
            return tuple(respelled(part) for part in value)
        return float(value) if isinstance(value, int) else value

    assert digest(value) == digest(respelled(value))
    assert digest([value, 1]) != digest([value, 2])


def test_data_and_semantics_move_the_id(monkeypatch):
    base = Settings()
    before = run_id(base, "data")
    assert run_id(base, "other data") != before
    monkeypatch.setattr(identity, "SEMANTICS", identity.SEMANTICS + 1)
    assert run_id(base, "data") != before


def test_digest_is_pinned():
    """If it moves, so does every id, and every finished run is trained again."""
    assert digest({"lr": 0.003, "names": ["a", "é"], "tied": True, "tokens": 300_000.0}) == "9e252915"


@given(st.text("ALM", min_size=1, max_size=80), st.integers(0, 2**63 - 1))
def test_id_is_a_short_and_safe_file_name(pattern, seed):
    lengths = [8 << i for i in range(8)]
    settings = Settings(model=Model(pattern=pattern), seed=seed)
    curriculum = {"lengths": lengths, "starts": [i / 8 for i in range(8)]}
    for id in (run_id(settings, "data"), run_id(dataclasses.replace(settings, length=Length(**curriculum)), "data")):
        assert len(id) < 100
        assert set(id) <= set(string.ascii_lowercase + string.digits + "-")


def test_id_tells_the_shape_of_the_run():
    settings = Settings(model=Model(pattern="MMA"), size=Size(width=256, depth=6), seed=3)
    assert run_id(settings, "data").startswith("mma256x6-1024-s3-")


def test_id_tells_patterns_apart_that_read_alike():
    ids = {run_id(Settings(model=Model(pattern=p)), "data") for p in ("A", "AA", "A" * 40, "A" * 41)}
    assert len(ids) == 4


# Configurations of finished runs, with their ids under the text "data"
RECORDED = {
    "a128x4-1024-s0-0e3ad221": {},
    "a128x4-256to1024-s0-a28a498f": {**BASE, "schedule": {"stages": {"again": {"start": 0.5, "peak": 0.1}}}},
    "lm128x4-1024-s0-0095e8e5": {
        "model": {"pattern": "LM", "linear": "ternary", "mamba": {"state": 16}},
        "ramp": {"multiples": [1, 2], "starts": [0, 0.5]},
        "optimizer": {"name": "muon", "momentum": 0.9, "lerac": {"lowest": 0.1}},
        "averaging": {"kind": "ema"},
        "size": {"match": "flops"},
    },
}


@pytest.mark.parametrize("id", RECORDED)
def test_a_finished_run_is_found_by_its_id(id):
    """Where this fails, every run of that kind is trained again: see `identity.FIRST`."""
    assert run_id(from_plain(RECORDED[id]), "data") == id


@strict
class LaterModel(Model):
    """As `Model` might be some day."""

    window: int = 64


@strict
class LaterSettings(Settings):
    model: LaterModel = dataclasses.field(default_factory=LaterModel)
    twist: str = "none"


def test_a_key_that_comes_later_leaves_ids_alone_while_it_has_its_default():
    assert run_id(LaterSettings(), "data") == run_id(Settings(), "data")
    assert difference(LaterSettings(), LaterSettings(model=LaterModel(window=32))) == {"model.window": (64, 32)}
    several = [LaterSettings(), LaterSettings(twist="some"), LaterSettings(model=LaterModel(window=32))]
    assert len({run_id(settings, "data") for settings in several}) == 3


def test_every_key_that_is_hashed_says_what_it_moves():
    nothing = {key for key, one in declared(Settings).items() if not one.is_group and not one.moves and is_hashed(key)}
    assert nothing == {"evaluation.times"}


def test_a_difference_in_words():
    assert key_in_words("optimizer.lr") == "optimizer.lr"
    assert key_in_words("mixture.weights@0.qa") == "mixture.weights from step 0, qa"
    assert key_in_words("schedule.stage@0.25") == "schedule.stage from 25 % of the run on"
    assert key_in_words("mixture.weights@1500.1st.part") == "mixture.weights from step 1500, 1st.part"
    changes = {"mixture.weights@0.a": (0.5, 1 / 3), "mixture.weights@0.b": [0.5, 2 / 3], "length.lengths": ([32], [64])}
    mixture = "mixture.weights from step 0: a 0.5 → 0.3333, b 0.5 → 0.6667"
    assert in_words(changes) == f"{mixture}; length: lengths [32] → [64]"
