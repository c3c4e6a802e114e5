"""Parts of a run that the settings name: entries of the dicts of mixers, schedule shapes, text sources, optimizers, ...

Each dict stands in the room that uses it, and may be added to from outside this package:

    # window.py, in the current folder or on PYTHONPATH; used with where.imports=[window]
    from ablate.model.mixers import MIXERS

    class Window(nn.Module): ...

    MIXERS["W"] = Window
"""

import importlib
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from ablate.run.settings import SettingsError


def load(modules: Iterable[str], key: str = "where.imports") -> None:
    """Import the user's modules, in this process, once. Raises SettingsError for one that cannot be."""
    for name in modules:
        if os.getcwd() not in sys.path:  # a console script does not look there by itself
            sys.path.insert(0, os.getcwd())
        try:
            importlib.import_module(name)
        except Exception as error:
            reason = (str(error).splitlines() or [""])[0]
            raise SettingsError(f"{key}={name}: {type(error).__name__}: {reason}") from None


def require_member(key: str, name: str, members: Mapping[str, Any]) -> None:
    """Raises SettingsError for a name that a dict of parts does not have."""
    if name not in members:
        raise SettingsError(f"{key}={name}: must be one of {', '.join(members)}")
