"""The process that a target runs in: `python -m tests.lane.subject lane|aio SETTINGS`.

It prints its address and serves until SIGTERM.  SETTINGS is a JSON object: for the lane the
fields of LaneSettings, for aio the configuration's keys.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from nextbest.core import Engine
from nextbest.server.config import load
from nextbest.server.playbook.folder import read_folder
from nextbest.server.serve import serve

PLAYBOOK = Path(__file__).resolve().parents[1] / "cases" / "small"
GRACE_MS = 2_000


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def serve_aio(settings: dict[str, Any]) -> None:
    flags = {key: str(value) for key, value in settings.items()}
    flags |= {"listen.addresses": "127.0.0.1:0", "data.playbook": str(PLAYBOOK)}
    await serve(load(flags=flags), lambda addresses, _engine: say(addresses[0]))


def listener() -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", 0))
    made.listen(1_024)
    made.setblocking(False)
    return made


def serve_lane(settings: dict[str, Any]) -> None:
    from nextbest.core.lane.settings import LaneSettings
    from nextbest.core.lane_native import Lane
    from nextbest.server.playbook.compile import compile_playbook

    if "descriptors_max" in settings:
        most = settings.pop("descriptors_max")
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    engine = Engine()
    plan = compile_playbook(read_folder(PLAYBOOK)).plan
    assert plan
    engine.publish(plan)
    listening = listener()
    lane = Lane(engine.door(), [listening.fileno()], LaneSettings(**settings), "the other server")
    thread = threading.Thread(target=lane.run)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    thread.start()
    lane.set_serving(True)
    host, port = listening.getsockname()
    say(f"{host}:{port}")
    signal.sigwait([signal.SIGTERM])
    lane.drain(GRACE_MS)
    thread.join(GRACE_MS / 1_000 + 5)
    if thread.is_alive():
        os.abort()


def main() -> None:
    kind, settings = sys.argv[1], json.loads(sys.argv[2])
    if kind == "aio":
        asyncio.run(serve_aio(settings))
    else:
        serve_lane(settings)


if __name__ == "__main__":
    main()
