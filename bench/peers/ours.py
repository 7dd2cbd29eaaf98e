"""`nextbest serve` with shop-100 and its people, for the run: both lanes of one process.

    python -m bench.peers.ours PLAYBOOK ADDRESS LANE_ADDRESS PROFILES

Prints "ready" once the people are loaded, which is done in process before any call.
"""

from __future__ import annotations

import sys

from bench.micro import people, subject
from nextbest.core import Engine
from nextbest.server.config import load
from nextbest.server.serve import run


def fill(engine: Engine, profiles: int) -> None:
    """Everybody's attributes and events."""
    crowd = [people.person(number) for number in range(profiles)]
    subject.load_columns(engine, crowd)
    for event in subject.tracked(crowd):
        engine.track(event, subject.NOW_US)


def main(playbook: str, address: str, lane: str, profiles: int) -> None:
    """Serve until SIGTERM."""

    def announce(_addresses: list[str], _lanes: list[str], engine: Engine) -> None:
        fill(engine, profiles)
        sys.stdout.write("ready\n")
        sys.stdout.flush()

    flags: dict[str, str | list[str]] = {
        "listen.addresses": [address],
        "lane.addresses": [lane],
        "data.playbook": playbook,
        # The people's last events were in the past of the run.
        "retention.anonymous_days": "0",
    }
    run(load(flags=flags), announce)


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
