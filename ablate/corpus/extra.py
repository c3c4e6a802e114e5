"""Packages that only work on text needs: the extra `corpus`."""

import importlib
from typing import Any

from ablate.run.failures import first_line
from ablate.run.settings import UserError


def needed(module: str) -> Any:
    """A module of such a package. Raises UserError, one line, where it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        package = module.partition(".")[0]
        raise UserError(f"{package} is missing: this text needs it; run `pip install 'ablate[corpus]'`") from None
    except ImportError as error:  # a package that lacks what it needs itself
        raise UserError(f"{module} cannot be used: {first_line(error)}") from None
