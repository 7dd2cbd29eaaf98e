"""The native engine: state in memory and the loops over it.  Imports nothing else of ours."""

from nextbest.core.engine import Engine, GenerationInfo, LogBatch, QuerySlice, status_bytes

__all__ = ["Engine", "GenerationInfo", "LogBatch", "QuerySlice", "status_bytes"]
