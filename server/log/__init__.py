"""The mutation log: one interface, three backends (memory, SQLite, Redis Streams)."""

from nextbest.server.log.log import (
    BEFORE,
    EpochConflictError,
    Log,
    LogAwayError,
    LogError,
    LogFullError,
    LogGapError,
    LogInfo,
    LogInUseError,
    LogPlaceError,
    LogResetError,
    NotReplicatedError,
    Position,
    Record,
    StaleEpochError,
    UnknownOutcomeError,
)

__all__ = [
    "BEFORE",
    "EpochConflictError",
    "Log",
    "LogAwayError",
    "LogError",
    "LogFullError",
    "LogGapError",
    "LogInUseError",
    "LogInfo",
    "LogPlaceError",
    "LogResetError",
    "NotReplicatedError",
    "Position",
    "Record",
    "StaleEpochError",
    "UnknownOutcomeError",
]
