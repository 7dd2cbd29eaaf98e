"""Calls that gRPC had read and that ended before anyone began them.

gRPC hands calls to the loop one by one and keeps the others.  Where more than it may keep have come
it ends some at once, as CANCELLED (`grpc.server.max_pending_requests`): in its own threads, for a
tenth of what a refusal costs in Python.  It tells nobody, but channelz counts the calls of a server
(https://github.com/grpc/proposal/blob/master/A14-channelz.md).
"""

from __future__ import annotations

import threading
import time
from typing import Any

from grpc_channelz.v1 import channelz_pb2
from grpc_channelz.v1._servicer import ChannelzServicer

# Why these are shed, as metrics have it.
NOT_BEGUN = "not_begun"
# A call that waits is begun sooner than this: where none was, none waits.
STILL_S = 1.0
# It is asked without a call, and so without its context.
_CHANNELZ: Any = ChannelzServicer


class NotBegun:
    """How many there were: gRPC's refusals, and callers that gave up before their turn."""

    def __init__(self) -> None:
        self._server = self._kept = 0
        self._begun = self._count = 0
        self._last = (0, 0, 0.0)
        self._counting = threading.Lock()

    def watch(self, kept: int) -> None:
        """Count for the server that was made last, which keeps at most so many calls."""
        self._server = max(one.ref.server_id for one in _servers(self._server))
        self._kept = kept

    def begin(self) -> None:
        """Tell that a call was begun."""
        self._begun += 1

    def count(self) -> int:
        """How many so far: at least, while calls come, and all, once none has come for a second.

        Calls that wait and calls that were ended look alike meanwhile.  Any thread may ask.
        """
        with self._counting:
            started, begun = self._started(), self._begun
            now_s = time.monotonic()
            if (started, begun) != self._last[:2]:
                self._last = (started, begun, now_s)
            still = now_s - self._last[2] >= STILL_S
            self._count = max(self._count, started - begun - (0 if still else self._kept))
            return self._count

    def _started(self) -> int:
        return sum(
            one.data.calls_started
            for one in _servers(self._server)
            if one.ref.server_id == self._server
        )


def _servers(first: int) -> Any:
    """This process's gRPC servers from that id on, some hundred at most."""
    asked = channelz_pb2.GetServersRequest(start_server_id=first)
    return _CHANNELZ.GetServers(asked, None).server
