"""From the words of a command line to settings: Hydra composes, we check, every mistake is one line.

    single(line, task)     task(settings) of one configuration
    multiple(line, task)   the whole multirun, through Hydra's sweeper and launcher
    loaded(line)           what a launcher would get, for commands that look at a study before it is trained

Hydra reads conf/ and, before it, the user's own folder (--config-dir): studies may live outside the clone.
"""

import itertools
import re
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from ablate.console.errors import leave
from ablate.run.fields import below, declared, is_key, of_users
from ablate.run.idle import check_acts
from ablate.run.overrides import check_line, is_no_choice
from ablate.run.parse import check_choices, from_config, unknown_key
from ablate.run.settings import Settings, UserError

MOST = 10_000  # combinations of a multirun
CONF = str(files("ablate") / "conf")
Task = Callable[[Settings], float | None]


def words_of(line: Namespace) -> list[str]:
    """The overrides of a command line; --outputs DIR is one of them."""
    return [*map(opened, line.words), *([f"where.outputs={line.outputs}"] if line.outputs else [])]


def opened(word: str) -> str:
    """An override, which adds where it names what is the user's own: data.sources={web: ...}, data.level={web: 2}."""
    key = word.partition("=")[0]
    of_text = key.startswith(("data.", "corpus."))
    return f"++{word}" if of_text and any(below(key, own) for own in of_users(Settings)) else word


def single(line: Namespace, task: Task) -> None:
    """Compose one configuration and do the task. Raises UserError."""
    check_line(line.words, multirun=False)
    with _hydra(line) as hydra:
        hydra.run("train", _composed(task), words_of(line))


def multiple(line: Namespace, task: Task) -> None:
    """Give the whole multirun to the sweeper; with ours, the launcher makes one study of it. Raises UserError."""
    check_line(line.words, multirun=True)
    with _hydra(line) as hydra:
        hydra.multirun("train", _composed(task), words_of(line))


def loaded(line: Namespace) -> tuple[ConfigLoaderImpl, DictConfig, list[list[str]]]:
    """For `sweep.composition`: the loader, what is common to a multirun, and the overrides of each combination."""
    words = words_of(line)
    check_line(words, multirun=True)
    with _hydra(line) as hydra:
        loader = cast(ConfigLoaderImpl, hydra.config_loader)
        master = loader.load_configuration("train", [], RunMode.MULTIRUN)
        jobs = combinations(OverridesParser.create(config_loader=loader).parse_overrides(words))
    check_choices(words)
    return loader, master, jobs


def combinations(parsed: list[Override]) -> list[list[str]]:
    """The overrides of every combination of swept values, as Hydra makes them; of a key that is said twice the last.

    Raises UserError for a value that is swept twice, for none at all, and for too many combinations.
    """
    swept = {one.get_key_element(): one for one in parsed if one.is_discrete_sweep()}
    number = 1
    for key, one in swept.items():
        tried = list(itertools.islice(one.sweep_string_iterator(), MOST + 1))
        if not tried:
            raise UserError(f"{key}={one.get_value_string()}: has no value to try")
        if repeated := [value for value, times in Counter(tried).items() if times > 1]:
            raise UserError(f"{key}={repeated[0]}: is swept twice")
        number *= len(tried)
    if number > MOST:
        raise UserError(f"{', '.join(swept)}: must have at most {MOST:,} combinations")
    [jobs] = BasicSweeper.split_arguments(parsed, None)
    return jobs


def groups(line: Namespace) -> dict[str, list[str]]:
    """The choices of each group, those of the user's own folder among them."""
    with _hydra(line) as hydra:
        names = [name for name in hydra.list_all_config_groups() if name.split("/")[0] != "hydra"]
        return {name: list(hydra.config_loader.get_group_options(name)) for name in names}


def values(line: Namespace) -> dict[str, Any]:
    """What a command line composes, as plain data, whether or not it can be run."""
    with _hydra(line) as hydra:
        config = hydra.config_loader.load_configuration("train", words_of(line), RunMode.MULTIRUN)
    plain = OmegaConf.create(_without_hydra(config))
    return cast(dict[str, Any], OmegaConf.to_container(plain, resolve=True))


def settings_of(config: DictConfig) -> Settings:
    """Typed settings from what Hydra composed, without Hydra's own part."""
    return from_config(OmegaConf.create(_without_hydra(config)))


def _without_hydra(config: DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)
    plain.pop("hydra", None)
    return cast(dict[str, Any], plain)


@contextmanager
def user_errors() -> Iterator[None]:
    """Errors of Hydra and of YAML as ours, one line each."""
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
    if swept := re.search(r"Ambiguous value for argument '([^']*)'", text):
        key, _, value = swept[1].partition("=")
        return f"{swept[1]}: with -m every value is tried; one value that is a list is {key}=[{value}]"
    if isinstance(error, MissingConfigException) and (group := re.search(r"Could not find '([\w/]+)'", text)):
        folder, _, name = group.group(1).rpartition("/")
        if name == "optuna":
            return "hydra/sweeper=optuna: comes with pip install 'ablate[optuna]'"
        return f"{folder}={name}: no such choice; there are {', '.join(sorted(error.options or []))}"
    if key := re.search(r"Error merging override (\+*)([\w.@/]+)", text):
        return _no_entry(key.group(2))
    if key := re.search(r"Could not (?:override|append) '?([\w.@/]+)'?", text):
        name = key.group(1).split("@")[0].strip(".")
        if Path(CONF, name).is_dir():
            return f"{name}: is chosen with a plus, +{name}=..."
        if is_key(Settings, name) and name not in declared(Settings):  # below a key of names of the user's own
            return f"{name}: is not set there; it is added with +{name}=..."
        return _no_entry(name) if name in declared(Settings) else unknown_key(name)
    return " ".join(text.split())


@contextmanager
def _hydra(line: Namespace) -> Iterator[Hydra]:
    """Hydra over our conf/ and the user's, for as long as this is held; its errors are the user's."""
    version.setbase("1.3")
    path = create_config_search_path(CONF)
    if line.config_dir is not None:
        if not Path(line.config_dir).is_dir():
            raise UserError(f"--config-dir {line.config_dir}: must be a folder like conf/, with experiment/ in it, say")
        if not any(Path(line.config_dir, one.name).is_dir() for one in Path(CONF).iterdir()):
            raise UserError(f"--config-dir {line.config_dir}: has no folder like those of conf/, experiment, say")
        path.prepend("--config-dir", str(Path(line.config_dir).resolve()), SearchPathQuery(provider="main"))
    try:
        with user_errors():
            hydra = Hydra.create_main_hydra2("ablate", path)
            _check_groups(line.words, hydra)
            yield hydra
    finally:
        GlobalHydra.instance().clear()


def _check_groups(words: list[str], hydra: Hydra) -> None:
    """Hydra itself says of `size=4` neither the group nor its choices."""
    for word in words:
        group, _, choice = word.partition("=")
        if (choice.isdecimal() or is_no_choice(word)) and (
            choices := hydra.config_loader.get_group_options(group.lstrip("+~"))
        ):
            raise UserError(f"{word}: must be the name of a choice; there are {', '.join(choices)}")


def _composed(task: Task) -> Callable[[DictConfig], Any]:
    """A task function of Hydra. Mistakes leave at once: Hydra would add lines of its own."""

    def composed(config: DictConfig) -> float | None:
        try:
            # unresolved: `${...}` in an override means a setting, not a part of Hydra's own configuration
            words = cast(list[str], OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False))
            check_choices(words)
            settings = settings_of(config)
            check_acts(words, settings, alone=True)
            return task(settings)
        except UserError as error:
            leave(str(error))

    return composed


def _no_entry(key: str) -> str:
    return f"{key}: does not fit there; a new entry of it is added with +{key}.<name>=..."


def _unreadable(override: str) -> str:
    key, given, value = override.partition("=")
    if not given or not re.fullmatch(r"[+~]*[\w.@/-]+", key):
        return f"{override}: must be a setting and its value, key=value"
    if "=" in value:
        return f"{override}: an override within a value stands in quotes: '+study.arms.hot=[\"optimizer.lr=1\"]'"
    return (
        f"{override}: cannot be read; brackets must be closed, text with other signs than letters stands in quotes, "
        "and so does a whole word with blanks or braces: 'key={a: 1}'"
    )
