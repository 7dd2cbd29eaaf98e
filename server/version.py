"""The version of what is installed."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed


@cache
def version() -> str:
    """It; empty in a source tree."""
    try:
        return installed("nextbest")
    except PackageNotFoundError:
        return ""
