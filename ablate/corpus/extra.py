"""Packages that only work on text needs: the extra `corpus`."""

import importlib
from typing import Any

from ablate.run.settings import UserError


def needed(module: str) -> Any:
    """A module of such a package. Raises UserError, one line, where it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UserError(f"{error.name} is missing: this text needs it; run `pip install 'ablate[corpus]'`") from None
