"""Notes: housekeeping entries, and the queue they go through."""

from __future__ import annotations

from typing import Any

from nextbest.server.log.appender import Appender
from nextbest.server.log.log import LOGGED_QUEUE, REPLICATED_QUEUE


class Notes:
    """Appends what only the log's members need; with WAIT, where the log has replicas."""

    def __init__(self, appenders: list[Appender]) -> None:
        self._appenders = appenders
        self._queue = LOGGED_QUEUE

    def connected(self, replicas: int) -> None:
        """A new connection; how many replicas are waited for on it."""
        self._queue = REPLICATED_QUEUE if replicas else LOGGED_QUEUE

    async def append(self, **body: Any) -> bool:
        """Append a body by its field's name, once; False when it is not known to be in the log."""
        return await self._appenders[self._queue].note(**body)
