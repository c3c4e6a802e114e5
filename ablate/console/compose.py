"""From the command line to settings: Hydra composes, we check, and every mistake of the user is one line.

command(task)()     runs task(settings), or with -m the whole multirun through our launcher
"""

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import hydra
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from ablate.run.fields import declared
from ablate.run.parse import check_choices, from_config, unknown_key
from ablate.run.settings import Settings, UserError

MULTIRUN = ("-m", "--multirun")
CONF = str(Path(__file__).parents[2] / "conf")


def command(task: Callable[[Settings], None]) -> Callable[[], None]:
    """A main function around `task`."""

    @hydra.main(version_base="1.3", config_path=CONF, config_name="train")
    def composed(config: DictConfig) -> None:
        try:
            # unresolved: `${...}` in an override means a setting, not a part of Hydra's own configuration
            words = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
            check_choices(cast(list[str], words))
            task(settings_of(config))
        except UserError as error:  # here, because Hydra would add lines of its own
            leave(str(error))

    def main() -> None:
        # Hydra's own report of an error is many lines; with this it lets the error through to us
        os.environ.setdefault("HYDRA_FULL_ERROR", "1")
        # argparse takes no overrides after a flag that follows others: flags go first
        sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word not in MULTIRUN)
        try:
            composed()
        except UserError as error:
            leave(str(error))
        except HydraException as error:
            leave(one_line(error))
        except YAMLError as error:
            leave(" ".join(str(error).split()))
        except OSError as error:
            leave(f"{error.strerror or error}: {error.filename}")
        except KeyboardInterrupt as stop:
            leave(str(stop) or "interrupted; the same command goes on from here", code=130)

    return main


def settings_of(config: DictConfig) -> Settings:
    """Typed settings from what Hydra composed, without Hydra's own part."""
    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)
    plain.pop("hydra", None)
    return from_config(OmegaConf.create(plain))


def loaded(overrides: list[str]) -> tuple[ConfigLoaderImpl, DictConfig]:
    """What a launcher would get for a multirun of these overrides, without a run; for `sweep.composition`."""
    with initialize_config_dir(CONF, version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        master = loader.load_configuration("train", [], RunMode.MULTIRUN)
    check_choices(overrides)
    return cast(ConfigLoaderImpl, loader), master


@contextmanager
def user_errors() -> Iterator[None]:
    """Hydra's errors as ours, one line each."""
    try:
        yield
    except HydraException as error:
        raise UserError(one_line(error)) from None
    except YAMLError as error:
        raise UserError(" ".join(str(error).split())) from None


def one_line(error: HydraException) -> str:
    """What Hydra says, for people: the key that is not there, the choices of a group, or a word it cannot read."""
    text = str(error)
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override)
    if key := re.search(r"Error merging override (\+*)([\w.@/]+)", text):
        return _no_entry(key.group(2))
    if key := re.search(r"Could not (?:override|append) '?([\w.@/]+)'?", text):
        name = key.group(1).split("@")[0].strip(".")
        if Path(CONF, name).is_dir():
            return f"{name}: is chosen with a plus, +{name}=..."
        return _no_entry(name) if name in declared(Settings) else unknown_key(name)
    if group := re.search(r"Could not find '([\w/]+)'", text):
        folder, _, name = group.group(1).rpartition("/")
        choices = sorted(path.stem for path in Path(CONF, folder).glob("*.yaml"))
        return f"{folder}={name}: no such choice; there are {', '.join(choices)}"
    return " ".join(text.split())


def _no_entry(key: str) -> str:
    return f"{key}: does not fit there; a new entry of it is added with +{key}.<name>=..."


def _unreadable(override: str) -> str:
    key, given, value = override.partition("=")
    if not given or not re.fullmatch(r"[+~]*[\w.@/-]+", key):
        return f"{override}: must be a setting and its value, key=value"
    if "=" in value:
        return f"{override}: an override within a value stands in quotes: '+study.arms.hot=[\"optimizer.lr=1\"]'"
    return f"{override}: cannot be read; brackets must be closed, and text with other signs than letters in quotes"


def leave(message: str, code: int = 1) -> None:
    """End with one line on standard error."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
