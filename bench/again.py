"""Many recorded decisions, made again: both lanes, across a publish, and after bits are flipped.

    python -m bench.again [--decisions N] [--json]

Asks a server for decisions, half of them over gRPC and half over the fast lane, one by one and in
batches, and tracks a part of what is shown as impressions: caps that reserve, quiet hours, a
budget, an experiment, a holdout and both explorers are on, and half way another playbook is
published.  Every decision is recorded.  Then each is made again and compared, to the byte; and in a
copy of some records one bit each is flipped, which has to be found.  Ends with 1 where a decision
is missing or differs, or a flipped bit is not noticed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.progress import track as progress

from bench.log.serving import serving
from bench.retail import PLAYBOOK
from nextbest.client import AsyncClient
from nextbest.client import request as requests
from nextbest.server.record.files import Files
from nextbest.server.record.frames import Frame, frames
from nextbest.server.record.playbooks import Playbooks
from nextbest.server.record.replay import replay
from nextbest.v1 import decision_pb2

DECISIONS = 100_000
BATCH = 16
CALLERS = 24  # of each lane
CALL_S = 30.0
PEOPLE = 20_000
FLIPPED = 400
SHOWN = 0.3  # of what is proposed
PLACEMENTS = ("checkout", "confirmation")
# What is published half way: another order, so that most decisions differ.
SECOND = PLAYBOOK | {
    "actions.yaml": PLAYBOOK["actions.yaml"].replace("value: 1.5", "value: 4.5"),
    "placements.yaml": PLAYBOOK["placements.yaml"].replace("slots: 1", "slots: 2"),
}


class Shop:
    """Callers that share a count of decisions."""

    def __init__(self, folder: str, decisions: int, shown: Progress) -> None:
        self._address = f"unix:{folder}/control"
        self._left = decisions
        self._half = decisions // 2
        # To compile it takes a while; the last quarter is decided by it.
        self._published = asyncio.Event()
        self._random = random.Random(1)
        self._shown = shown
        self._task = shown.add_task("decisions", total=decisions)
        self.answered = 0

    async def trade(self) -> None:
        """Ask until none is left."""
        async with (
            AsyncClient(self._address) as fast,
            AsyncClient(self._address, fast_lane=False) as slow,
        ):
            callers = [self._call(client) for client in (fast, slow) for _ in range(CALLERS)]
            await asyncio.gather(self._publish(slow), *callers)
            if not fast.fast_lane:
                raise SystemExit("the fast lane was not within reach")

    async def _publish(self, client: AsyncClient) -> None:
        while self._left > self._half:
            await asyncio.sleep(0.1)
        await client.publish_playbook({name: text.encode() for name, text in SECOND.items()})
        self._published.set()

    async def _call(self, client: AsyncClient) -> None:
        while self._left > 0:
            if self._left < self._half // 2:
                await self._published.wait()
            count = min(BATCH if self._random.random() < 0.5 else 1, self._left)
            self._left -= count
            people = [f"customer-{self._random.randrange(PEOPLE)}" for _ in range(count)]
            for who, answer in zip(people, await self._decide(client, people), strict=True):
                await self._show(client, who, answer)
            self.answered += count
            self._shown.advance(self._task, count)

    async def _decide(
        self, client: AsyncClient, people: Sequence[str]
    ) -> Sequence[decision_pb2.DecideResponse]:
        if len(people) == 1:
            return [await client.decide(people[0], PLACEMENTS, timeout=CALL_S)]
        asked = [requests.decide(one, PLACEMENTS) for one in people]
        results = (await client.decide_batch(asked, timeout=CALL_S)).results
        if failed := [one.error.message for one in results if one.HasField("error")]:
            raise SystemExit(f"a decision failed: {failed[0]}")
        return [one.response for one in results]

    async def _show(
        self, client: AsyncClient, who: str, answer: decision_pb2.DecideResponse
    ) -> None:
        for part in answer.placements:
            channel = "web" if part.placement == "checkout" else "email"
            for one in part.propositions:
                if self._random.random() < SHOWN:
                    about = {"action": one.action, "group": one.group, "channel": channel}
                    await client.track(
                        who, "impression", about,
                        decision_id=answer.decision_id, slot=one.slot, timeout=CALL_S,
                    )  # fmt: skip


def unnoticed(path: Path, chance: random.Random) -> list[int]:
    """Flip one bit in each of some records of a file: which are not named, or are at no fault."""
    content = bytearray(path.read_bytes())
    whole = [one for one in frames(path.name, bytes(content)) if isinstance(one, Frame)]
    hit = whole[:: max(len(whole) // FLIPPED, 2)]
    for frame in hit:
        bit = chance.randrange(8 * len(frame.data))
        content[frame.offset + bit // 8] ^= 1 << bit % 8
    damaged = [
        one.number for one in frames(path.name, bytes(content)) if not isinstance(one, Frame)
    ]
    return sorted(set(damaged) ^ {one.number for one in hit})


@dataclass(frozen=True, slots=True)
class Found:
    """What was asked, recorded and made again; `different` are decisions, `unnoticed` records."""

    asked: int
    recorded: int
    playbooks: int
    different: list[str]
    damaged: int
    unnoticed: list[int]
    asked_s: float
    again_s: float

    @property
    def whole(self) -> bool:
        """Whether all is recorded and equal, and every flipped bit named."""
        wrong = self.different or self.unnoticed or self.damaged
        return not wrong and self.asked == self.recorded


def measure(decisions: int, told: Console) -> Found:
    """Trade, decide again, flip bits."""
    with tempfile.TemporaryDirectory() as folder:
        records = Path(folder) / "records"
        arguments = ["--set", "records.share=1", "--set", f"records.folder={records}"]
        arguments += ["--set", "records.buffer_bytes=268435456"]
        begin_s = time.monotonic()
        with serving(Path(folder), *arguments, files=PLAYBOOK), Progress(console=told) as shown:
            shop = Shop(folder, decisions, shown)
            asyncio.run(shop.trade())
        asked_s = time.monotonic() - begin_s
        files = Files(records)
        results = progress(
            replay(files.decisions(), Playbooks(records, {})),
            "made again", total=decisions, console=told,
        )  # fmt: skip
        different, count, playbooks = [], 0, set()
        for one in results:
            count += 1
            playbooks.add(one.frame.record.playbook)
            if not one.equal:
                different.append(f"{one.frame.decision_id}: {one.told}")
        return Found(
            asked=shop.answered,
            recorded=count,
            playbooks=len(playbooks),
            different=different,
            damaged=len(files.damaged) + len(files.cut),
            unnoticed=unnoticed(files.paths[0], random.Random(2)),
            asked_s=round(asked_s, 1),
            again_s=round(time.monotonic() - begin_s - asked_s, 1),
        )


def show(found: Found, out: Console) -> None:
    """For people."""
    out.print(
        f"{found.asked:,} decisions in {found.asked_s} s, of {found.playbooks} playbooks; "
        f"{found.recorded:,} records made again in {found.again_s} s: "
        f"{len(found.different):,} different; {len(found.unnoticed)} flipped bits not noticed"
    )
    for line in found.different[:5]:
        out.print(line, style="red")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m bench.again", description=__doc__)
    parser.add_argument("--decisions", type=int, default=DECISIONS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    found = measure(options.decisions, Console(stderr=True))
    if options.json:
        sys.stdout.write(json.dumps(asdict(found), indent=2) + "\n")
    else:
        show(found, Console(width=None if sys.stdout.isatty() else 100))
    return 0 if found.whole else 1


if __name__ == "__main__":
    sys.exit(main())
