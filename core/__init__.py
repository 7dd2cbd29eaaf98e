"""The native engine: state in memory and the loops over it.  Imports nothing else of ours."""

from importlib.util import find_spec

from nextbest.core.engine import (
    BatchResult,
    BudgetInfo,
    Engine,
    GenerationInfo,
    LogBatch,
    QuerySlice,
    status_bytes,
)

# Whether the fast lane was built: nextbest.core.lane_native can be imported.
lane_available: bool = find_spec("nextbest.core.lane_native") is not None
LANE_MISSING = (
    "the fast lane needs libnghttp2: install libnghttp2-dev and pkg-config, then build again"
)

__all__ = [
    "LANE_MISSING",
    "BatchResult",
    "BudgetInfo",
    "Engine",
    "GenerationInfo",
    "LogBatch",
    "QuerySlice",
    "lane_available",
    "status_bytes",
]
