"""The process that a target runs in: `python -m tests.lane.subject lane|aio SETTINGS`.

It prints its address and serves until SIGTERM.  SETTINGS is a JSON object: for aio the
configuration's keys, for the lane the fields of LaneSettings and `threads`, `busy` (a thread that
publishes, writes, logs and expires without a pause) and `descriptors_max`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nextbest.core import Engine
from nextbest.core.lane.settings import LaneSettings
from nextbest.core.playbook.plan import Plan
from nextbest.server.config import load
from nextbest.server.playbook.compile import compile_playbook
from nextbest.server.playbook.folder import read_folder
from nextbest.server.serve import serve
from nextbest.v1 import common_pb2, profile_pb2

PLAYBOOK = Path(__file__).resolve().parents[1] / "cases" / "small"
GRACE_MS = 2_000
WRITES_MAX = 10_000


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


def place(epoch: int, sequence: int) -> tuple[int, int, int]:
    """The position of that entry of the log that `busy` plays."""
    return epoch, sequence, epoch << 32 | sequence


def log(engine: Engine, now_us: int, number: int) -> None:
    """Append and read: now and then an append's outcome is unknown, or a branch of two is lost."""
    epoch, sequence, _ = engine.position
    if number % 100 == 0:
        engine.rewind(place(epoch, sequence - 2))
        engine.epoch_opened(epoch + 1, epoch + 1 << 32, place(epoch, sequence - 2))
        epoch, sequence = epoch + 1, -1
    position = place(max(epoch, 1), sequence + 1)
    for queue in (0, 1):
        batch = engine.log_take(queue, count_max=50)
        if number % 30 == 0:
            engine.log_failed(queue, batch.mutations)
        else:
            engine.log_done(queue, batch.mutations, position, 2 + queue)
    engine.advance(position, now_us)
    engine.caught_up(now_us)
    engine.log_away(number % 40 == 0, now_us)


def busy(engine: Engine, plan: Plan, lanes: Sequence[Any], stop: threading.Event) -> None:
    """Do all that the control plane does while the lanes serve."""
    from nextbest.core.lane_native import Lane

    for number in itertools.count(1):
        if stop.is_set():
            return
        now_us = time.time_ns() // 1_000
        who = f"person {number % 300}"
        identity = common_pb2.Identity(kind=common_pb2.IDENTITY_KIND_KNOWN, id=who)
        write = profile_pb2.UpsertProfileRequest(
            write_id=f"w{number}",
            identity=identity,
            attributes={"age": common_pb2.Value(int_value=number % 90)},
        )
        engine.upsert(write.SerializeToString(), now_us)
        read = profile_pb2.GetProfileRequest(identity=identity)
        engine.profile(read.SerializeToString(), now_us)
        if number % 20 == 0:
            engine.publish(plan, description=f"number {number}")
        if number % 20 == 10:
            engine.activate(engine.generations()[-1 if number % 40 == 10 else -2].number)
        for kind in (1, 2, 3):
            engine.expire(kind, now_us - 1_000_000)
        link = profile_pb2.LinkIdentityRequest(
            write_id=f"l{number}",
            first=identity,
            second=common_pb2.Identity(kind=common_pb2.IDENTITY_KIND_ANONYMOUS, id=who),
        )
        engine.link(link.SerializeToString(), now_us)
        engine.import_columns(1, [who], {"country": [f"c{number}"]}, now_us // 1_000)
        log(engine, now_us, number)
        # A lane that comes and goes: its seat is looked for among all that waits.
        Lane(engine.door(), [], LaneSettings(), "")
        engine.relay(100)
        engine.horizon(now_us // 1_000 - 7_200_000)
        engine.digest()
        engine.memory()
        for lane in lanes:
            lane.counters()
            lane.set_serving(number % 50 != 0)
        time.sleep(0.000_2)


def give_up(failure: threading.ExceptHookArgs) -> None:
    """A thread that fails takes the server with it, so that a test sees it."""
    sys.__excepthook__(failure.exc_type, failure.exc_value or SystemExit(), failure.exc_traceback)
    os._exit(1)


def serve_lane(settings: dict[str, Any]) -> None:
    from nextbest.core.lane_native import Lane

    if "descriptors_max" in settings:
        most = settings.pop("descriptors_max")
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    threads_count = settings.pop("threads", 1)
    is_busy = settings.pop("busy", False)
    engine = Engine()
    plan = compile_playbook(read_folder(PLAYBOOK)).plan
    assert plan
    engine.publish(plan)
    listening = listener()
    bounds, elsewhere = LaneSettings(**settings), "the other server"
    lanes = [
        Lane(engine.door(), [listening.fileno()], bounds, elsewhere) for _ in range(threads_count)
    ]
    stop = threading.Event()
    threading.excepthook = give_up
    threads = [threading.Thread(target=lane.run) for lane in lanes]
    if is_busy:
        engine.attach_log(WRITES_MAX, default_ack=1)
        threads.append(threading.Thread(target=busy, args=(engine, plan, lanes, stop)))
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    for thread in threads:
        thread.start()
    for lane in lanes:
        lane.set_serving(True)
    host, port = listening.getsockname()
    say(f"{host}:{port}")
    signal.sigwait([signal.SIGTERM])
    stop.set()
    for lane in lanes:
        lane.drain(GRACE_MS)
    for thread in threads:
        thread.join(GRACE_MS / 1_000 + 5)
    if any(thread.is_alive() for thread in threads):
        os.abort()


def main() -> None:
    kind, settings = sys.argv[1], json.loads(sys.argv[2])
    if kind == "aio":
        asyncio.run(serve_aio(settings))
    else:
        serve_lane(settings)


if __name__ == "__main__":
    main()
