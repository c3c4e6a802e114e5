"""From plain data to settings, and every mistake in it is one line that names the key.

    from_config(composed by Hydra)    `${...}` is looked up first
    from_plain({"tokens": "many"})    SettingsError: tokens=many: must be a valid integer, ...

Nothing is written to disk before this has passed.
"""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError

from ablate.run.checks import check
from ablate.run.fields import Mark, declared
from ablate.run.files import Damaged, reading
from ablate.run.names import shown
from ablate.run.settings import Settings, SettingsError, UserError

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a study reads a hundred files of settings: ten times as fast
NO_KEY = re.compile(r"constrained-|list\[|dict\[|function-after\[|literal\[|\[key\]")  # of pydantic alone
T = TypeVar("T")
# What a key is called in the configurations of other trainers
USUAL = {
    "size.depth": "n_layers n_layer num_layers num_hidden_layers layers",
    "size.width": "d_model hidden_size n_embd dim embed_dim",
    "size.hidden": "intermediate_size ffn_dim d_ff ffn_hidden_size",
    "size.heads": "n_heads n_head num_heads num_attention_heads",
    "size.kv_heads": "n_kv_heads num_kv_heads num_key_value_heads num_query_groups",
    "data.vocabulary": "vocab_size vocab",
    "length.lengths": "seq_len sequence_length max_seq_len max_length context_length block_size",
    "step_tokens": "batch_size global_batch_size train_batch_size total_batch_size",
    "where.micro_tokens": "micro_batch_size device_batch_size per_device_train_batch_size",
    "tokens": "max_steps num_steps steps train_steps epochs num_epochs max_epochs max_tokens",
    "optimizer.lr": "learning_rate max_lr peak_lr",
    "optimizer.weight_decay": "wd",
    "optimizer.clip": "grad_clip max_grad_norm gradient_clip_val",
    "schedule.warmup": "warmup_steps warmup_ratio",
    "schedule": "lr_scheduler scheduler lr_schedule lr_scheduler_type",
    "precision": "dtype bf16 mixed_precision",
    "where.recompute": "gradient_checkpointing activation_checkpointing",
    "where.devices": "num_gpus n_gpus gpus nproc_per_node",
    "where.outputs": "output_dir out_dir save_dir",
}
# Keys that were, and the value at which they did nothing: records that hold it are read without them
GONE: dict[tuple[str, ...], Any] = {("study", "budget", "rungs"): []}
SYSTEM = "+system="  # how a published system is chosen; its recipe stands above the groups of what a run is


def from_config(config: DictConfig | dict) -> Settings:
    """Typed settings from composed configuration. Raises SettingsError, one line, naming key and value."""
    try:
        tree = config if isinstance(config, DictConfig) else OmegaConf.create(config)
        plain = OmegaConf.to_container(tree, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise SettingsError(f"{error.full_key}=???: must be given") from None
    except OmegaConfBaseException as error:
        raise SettingsError(f"{error.full_key}: {str(error).splitlines()[0]}") from None
    return from_plain(plain)


def from_plain(plain: Any) -> Settings:
    """Typed settings from plain data as it stands: no `${...}` is looked up. Raises SettingsError, one line."""
    _check_switches(plain)
    settings = fitted(Settings, plain)
    check(settings)
    return settings


def tree_of(path: Path, text: str) -> dict[str, Any]:
    """Settings as plain data, from the text of a file. Raises Damaged for a text of nothing like it."""
    try:
        with reading(path):
            tree = yaml.load(text, LOADER)
    except yaml.YAMLError as error:
        raise Damaged(path, f"damaged, {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise Damaged(path, "damaged, it holds no settings")
    return tree


def settings_of(path: Path, tree: dict[str, Any]) -> Settings:
    """Of a record. Raises UserError, naming the file."""
    try:
        for key, nothing in GONE.items():
            tree = _without(tree, key, nothing)
        return from_plain(tree)
    except SettingsError as error:
        raise UserError(f"{path}: {error}") from None


def _without(tree: Any, key: tuple[str, ...], nothing: Any) -> Any:
    """The same tree, but for the key where its value is the one that did nothing."""
    name, *below = key
    if not isinstance(tree, dict) or name not in tree:
        return tree
    if below:
        return tree | {name: _without(tree[name], tuple(below), nothing)}
    return {one: value for one, value in tree.items() if one != name or value != nothing}


def _check_switches(plain: Any, prefix: str = "") -> None:
    """Raises SettingsError for true or false where a number is asked for, which Python would take for 1 or 0."""
    for name, value in plain.items() if isinstance(plain, dict) else ():
        one = declared(Settings).get(key := f"{prefix}{name}")
        if isinstance(value, bool) and one and one.kind in (int, float):
            raise SettingsError(f"{key}={value}: must be a number")
        _check_switches(value, f"{key}.")


def fitted(kind: type[T], plain: Any, group: str = "") -> T:
    """Plain data as an object of a dataclass; `group`: the key that it stands at. Raises SettingsError, one line."""
    try:
        return TypeAdapter(kind).validate_python(plain)
    except ValidationError as error:
        raise SettingsError(" ".join(_one_line(error.errors()[0], group).split())) from None


def check_choices(overrides: Sequence[str]) -> None:
    """Raises SettingsError for a group chosen beside a system: the system's recipe would silently win."""
    system = next((override for override in overrides if override.startswith(SYSTEM)), None)
    for override in overrides if system else ():
        group, _, choice = override.partition("=")
        what = declared(Settings).get(group)
        in_recipe = what and what.is_group and Mark.NOT_HASHED not in what.marks and group != "size"
        if in_recipe and not choice.startswith("{"):
            raise SettingsError(
                f"{override}: {system} says what {group} is; change single keys of it, {group}.<key>=..."
            )


def unknown_key(key: str) -> str:
    """One line for a key that no setting has, with the one that is meant: by another name, elsewhere, or misspelt."""
    keys, name = list(declared(Settings)), key.rpartition(".")[2].lower()
    meant = [known for known, names in USUAL.items() if name in names.split()]
    there = [known for known in keys if known.rpartition(".")[2] == name]
    meant = meant or sorted(there, key=lambda known: known.count("."))  # that of a part of a part is rarely meant
    group = key.rpartition(".")[0]
    beside = {known.rpartition(".")[2]: known for known in keys if group and known.rpartition(".")[0] == group}
    meant = meant or [beside[near] for near in difflib.get_close_matches(name, beside, n=1, cutoff=0.5)]
    if not meant and beside:
        return f"{key}: no such setting; {group} has {', '.join(beside)}"
    meant = meant or difflib.get_close_matches(key, keys, n=1, cutoff=0.5)
    return f"{key}: no such setting" + (f"; did you mean {meant[0]}?" if meant else "")


def _one_line(error: Any, group: str) -> str:
    # pydantic names the one of several types of a value that did not fit, as if it were a key
    key = ".".join(shown(str(part)) for part in (group, *error["loc"]) if part != "" and not NO_KEY.match(str(part)))
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return unknown_key(key)
    wanted = error["msg"].replace("Input should be", "must be").removeprefix("Value error, ")
    return f"{key}={shown(str(error['input']))}: {wanted[0].lower()}{wanted[1:]}"
