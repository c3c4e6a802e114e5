"""What overrides may say: those that Hydra takes without a word, and that do nothing or something else, are refused.

    hydra.run.dir=x                  of Hydra, a launcher and a sweeper of a multirun are chosen, and nothing else
    ~optimizer                       would put defaults of the code in the place of those of conf/
    study.arms={}                    is merged with the arms there are, and takes none away
    study.margin=5                   of one run, or of one arm
    [optimizer.lr=1, optimizer.lr=2] in one arm
    where.arm=x                      the launcher says it

A command line may say a key twice, as words behind an alias do: the last one counts.
"""

import re
from collections.abc import Sequence

from ablate.run.fields import below, declared, of_users
from ablate.run.settings import Settings, SettingsError

HYDRA = "hydra"
PLUGINS = ("hydra/launcher", "hydra/sweeper", "hydra.launcher.", "hydra.sweeper.")
NO_CHOICE = re.compile(r"[\d.]+|null|true|false|\[\]", re.IGNORECASE)  # what a group cannot be
BESIDE = ("debug", "experiment", "recipe", "system")  # groups of conf/ that change settings and are none themselves
OF_STUDY = ("study", "controls")  # what all arms have in common, and a single run has none of
# What a run is filed under, what a search looks at, and a choice that stands among words for all commands
OF_ONE_RUN = ("study.name", "study.metric", "controls")
OF_LAUNCHER = ("where.arm", "where.replicate")  # what a study says of each of its runs


def key_of(override: str) -> str:
    """The key or the group that an override names."""
    return re.split("[=@]", override.lstrip("+~"), maxsplit=1)[0]


def check_line(words: Sequence[str], multirun: bool) -> None:
    """Raises SettingsError for the first word of a command line that would be taken in silence."""
    named = [key_of(word) for word in words]
    if "seed" in named and "study.seeds" in named and multirun:
        raise SettingsError("study.seeds: must be left out beside seed, whose values are the seeds of the study")
    for word, key in zip(words, named, strict=True):
        _check_changes(word)
        if _root(key) == HYDRA:
            _check_plugin(word, words, multirun)
        if _root(key) in OF_STUDY and not multirun and key not in OF_ONE_RUN:
            raise SettingsError(f"{word}: is of a study, and this is one run; -m trains the study")
        if key == "where.arm" or (key in OF_LAUNCHER and multirun):
            raise SettingsError(f"{word}: must be left out; a study says it of each of its runs")


def check_own(owner: str, overrides: Sequence[str]) -> None:
    """Raises SettingsError for the first override of an arm, a phase or a control, the `owner`, that does not count."""
    keys = [key_of(one) for one in overrides]
    for one, key in zip(overrides, keys, strict=True):
        if _root(key) in (HYDRA, *OF_STUDY):
            raise SettingsError(f"{owner}: {one}: is the same in the whole study, and stands on the command line")
        if key in OF_LAUNCHER:
            raise SettingsError(f"{owner}: {one}: must be left out; a study says it of each of its runs")
        if is_no_choice(one):
            raise SettingsError(f"{owner}: {one}: must be the name of a choice")
        if keys.count(key) > 1:
            raise SettingsError(f"{owner}={list(overrides)}: must say {key} once")
        try:
            _check_changes(one)
        except SettingsError as error:
            raise SettingsError(f"{owner}: {error}") from None


def is_no_choice(override: str) -> bool:
    """Whether a group of settings is set to what is no name: Hydra would take its defaults away, or stop."""
    key, one = key_of(override), declared(Settings).get(key_of(override))
    is_group = key in BESIDE or (one is not None and one.is_group)
    return is_group and bool(NO_CHOICE.fullmatch(override.partition("=")[2]))


def _root(key: str) -> str:
    return re.split("[./]", key, maxsplit=1)[0]


def _check_changes(word: str) -> None:
    """Of what a run is nothing is taken away but what stands below names of the user's own."""
    key, own = key_of(word), of_users(Settings)
    if not key:
        raise SettingsError(f"{word}: must be a setting and its value, key=value")
    emptied = word.partition("=")[2].replace(" ", "") == "{}"
    if emptied:
        instead = f"~{key} does" if key in own else "its keys are changed one by one"
        raise SettingsError(f"{word}: takes nothing away, for it is merged with what is there; {instead}")
    if word.startswith("~") and not any(below(key, one) for one in own):
        raise SettingsError(f"{word}: cannot be taken away; {key}=... puts another in its place")


def _check_plugin(word: str, words: Sequence[str], multirun: bool) -> None:
    key = key_of(word)
    if not key.startswith(PLUGINS) or key.endswith("_target_"):
        raise SettingsError(f"{word}: must be left out; of Hydra, hydra/launcher and hydra/sweeper are chosen with -m")
    if not multirun:
        raise SettingsError(f"{word}: is of a multirun, and this is one run; -m makes it one")
    kind = key.split(".")[1] if "." in key else ""
    if kind and not any(key_of(other) == f"hydra/{kind}" for other in words):
        raise SettingsError(f"{word}: is of another {kind} than `study`: hydra/{kind}=... chooses it")
