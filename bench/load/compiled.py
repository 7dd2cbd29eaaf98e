"""The compiled generator, or what to install for it."""

from __future__ import annotations

import importlib
from types import ModuleType

from .errors import MISSING, MissingError


def compiled() -> ModuleType:
    """The module `nextbest.bench.generator`; raise MissingError where it was not built."""
    try:
        return importlib.import_module("nextbest.bench.generator")
    except ModuleNotFoundError:
        raise MissingError(MISSING) from None
    except ImportError as error:
        # A library that is gone since the build is as good as one that never was.
        raise MissingError(f"{MISSING} ({error})") from None
