"""Loads CSV, JSON lines and Parquet files: a mapping turns each row into requests.

Owns reading, converting and sending; every refused row ends in the rejects file.  It is a
caller of the contract like any other and never touches the engine.
"""

from nextbest.server.load.errors import LoadError, MappingError, NoServerError, RefusedError
from nextbest.server.load.load import Summary, load
from nextbest.server.load.mapping import Mapping, read_mapping

__all__ = [
    "LoadError",
    "Mapping",
    "MappingError",
    "NoServerError",
    "RefusedError",
    "Summary",
    "load",
    "read_mapping",
]
