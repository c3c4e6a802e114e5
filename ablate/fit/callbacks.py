"""Callbacks of the user's own in a run: where.callbacks=[my_module:MyCallback].

The module is found in the current folder or on PYTHONPATH; the class is one of Lightning's callbacks, made without
arguments. It sees `Pretraining` and the trainer, after the run's own callbacks and before a checkpoint is saved; its
`state_dict` is saved as JSON. It is no part of what the run is: one that moves weights is the user's to answer for.
"""

import sys
from typing import TYPE_CHECKING

from ablate.run import parts
from ablate.run.failures import first_line
from ablate.run.settings import SettingsError, Where

if TYPE_CHECKING:  # takes seconds to load, which only runs with such callbacks wait for
    import lightning as L


def own(where: Where) -> "list[L.Callback]":
    """The callbacks that `where` names, made anew. Raises SettingsError for a path that leads to none."""
    return [_made(path) for path in where.callbacks]


def _made(path: str) -> "L.Callback":
    import lightning as L

    name, _, kind = path.partition(":")
    parts.load([name], "where.callbacks")
    try:
        made = getattr(sys.modules[name], kind)() if kind else None
    except Exception as error:
        raise SettingsError(f"where.callbacks={path}: {type(error).__name__}: {first_line(error)}") from None
    if not isinstance(made, L.Callback):
        raise SettingsError(f"where.callbacks={path}: must be module:Class of a lightning.Callback")
    return made
