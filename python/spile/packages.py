"""Packages that are imported when something is asked for that needs them, and not before."""

from __future__ import annotations

import importlib
from typing import Any


def wanted(name: str, method: str) -> Any:
    """The module. Raises ImportError that says who needs it, and how to get it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"{method}() needs {name}: pip install {name}", name=name) from error
