"""Many configurations of one study, fast: what they have in common is composed once.

    schedule=cosine optimizer.lr=1e-3      a group: Hydra looks up files and merges them, 80 ms
                    length.lengths=[512]   a value: changes what is composed already, by Hydra's own code, 35 ms
                    optimizer.lr=2e-3      a number, a word or a switch that stands there already: as plain data, 2 ms

Groups alone decide which files are read, and Hydra applies values after all of them. So arms that
choose the same groups are values on top of one composition.
"""

import contextlib
import copy
import re
from typing import Any, cast

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf

from ablate.console.compose import opened
from ablate.fit import parts
from ablate.run.parse import check_choices, from_config, from_plain
from ablate.run.settings import Settings

REFERENCE = re.compile(r"\$\{(\w[\w.]*)\}")


class Composer:
    """composer(["schedule=cosine", "optimizer.lr=1e-3"]): settings as Hydra would compose them."""

    def __init__(self, loader: ConfigLoaderImpl, master: DictConfig):
        self.loader, self.master = loader, master
        self.parser = OverridesParser.create(config_loader=loader)
        self.composed: dict[tuple[str, ...], dict[str, Any]] = {}
        self.parsed: dict[str, Override] = {}

    def __call__(self, overrides: list[str]) -> Settings:
        settings = self._settings(overrides)
        parts.check(settings)
        return settings

    def _settings(self, overrides: list[str]) -> Settings:
        check_choices(overrides)
        overrides = [opened(text) for text in overrides]
        parsed = [self._parse(text) for text in overrides]
        groups = tuple(text for text, one in zip(overrides, parsed, strict=True) if self._chooses_files(one))
        values = [one for one in parsed if not self._chooses_files(one)]
        common = self._common(groups)
        with contextlib.suppress(LookupError):
            return from_plain(_changed(common, values))
        config = OmegaConf.create(common)
        OmegaConf.set_struct(config, True)
        self.loader._apply_overrides_to_config(values, config)
        return from_config(config)

    def _parse(self, text: str) -> Override:
        if text not in self.parsed:
            self.parsed[text] = self.parser.parse_override(text)
        return self.parsed[text]

    def _chooses_files(self, override: Override) -> bool:
        of_hydra = override.key_or_group.split(".")[0].split("/")[0] == "hydra"
        return of_hydra or (
            self.loader.repository.group_exists(override.key_or_group) and not isinstance(override.value(), dict)
        )

    def _common(self, groups: tuple[str, ...]) -> dict[str, Any]:
        if groups not in self.composed:
            plain = OmegaConf.to_container(self.loader.load_sweep_config(self.master, list(groups)), resolve=False)
            assert isinstance(plain, dict)
            plain.pop("hydra")
            self.composed[groups] = cast(dict[str, Any], plain)
        return self.composed[groups]


def _changed(plain: dict[str, Any], values: list[Override]) -> dict[str, Any]:
    """Plain data with single values in the place of others. Raises LookupError where Hydra must see to it."""
    whole = copy.deepcopy(plain)
    for one in values:
        if one.type is not OverrideType.CHANGE or one.package is not None or not _is_single(one.value()):
            raise LookupError
        group, _, name = one.key_or_group.rpartition(".")
        _single_at(whole, one.key_or_group)
        _at(whole, group)[name] = one.value()
    return _looked_up(whole, whole)


def _looked_up(node: Any, root: dict[str, Any]) -> Any:
    """With `${key}`, which nearly all references are, replaced by what stands at the key."""
    if isinstance(node, dict):
        return {name: _looked_up(part, root) for name, part in node.items()}
    if isinstance(node, list):
        return [_looked_up(part, root) for part in node]
    if _is_single(node):
        return node
    reference = REFERENCE.fullmatch(node)
    if not reference:
        raise LookupError
    return _single_at(root, reference[1])


def _single_at(root: dict[str, Any], key: str) -> Any:
    value = _at(root, key)
    if not _is_single(value):
        raise LookupError
    return value


def _at(root: dict[str, Any], key: str) -> Any:
    node: Any = root
    for name in key.split(".") if key else ():
        if not isinstance(node, dict):
            raise LookupError
        node = node[name]
    return node


def _is_single(value: Any) -> bool:
    if isinstance(value, str):
        return "${" not in value and value != "???"
    return value is None or isinstance(value, bool | int | float)
