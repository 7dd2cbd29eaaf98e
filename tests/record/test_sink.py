"""The sink of a real server: what both lanes decide is in files that replay, across a publish."""

from __future__ import annotations

import asyncio
import json
import stat
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nextbest.client import AsyncClient
from nextbest.core import LANE_MISSING, Engine, lane_available
from nextbest.server.command.main import make_app
from nextbest.server.examples import SHOP, TESTED
from nextbest.server.log.network import network
from nextbest.server.log.place import parse
from nextbest.server.log.settings import BackendSettings
from nextbest.server.playbook.folder import read_folder
from nextbest.server.record.sink import Sink
from nextbest.server.record.stream import Stream, StreamBounds
from tests.conftest import calling, running
from tests.record.people import live, plan_of, recording

DECISIONS = 200


def replayed(folder: Path, *more: str) -> tuple[int, dict[str, object]]:
    """What `nextbest replay FOLDER --json` ends with and says."""
    result = CliRunner().invoke(
        make_app(("replay", "slo")), ["replay", str(folder), "--json", *more]
    )
    return result.exit_code, json.loads(result.stdout)


async def decided(address: str, placement: str, fast_lane: bool) -> list[str]:
    """Decisions over one lane, alone and in a batch; their ids."""
    async with calling(address, fast_lane=fast_lane) as client:
        answers = [await client.decide(f"u{n % 20}", [placement]) for n in range(DECISIONS)]
        await client.track("u1", "visit" if placement == "cart" else "view")
    return [answer.decision_id for answer in answers]


@pytest.mark.skipif(not lane_available, reason=LANE_MISSING)
async def test_what_both_lanes_decide_across_a_publish_replays(tmp_path: Path) -> None:
    data = tmp_path / "data"
    ids: list[str] = []
    settings = {"records__share": "1", "lane__addresses": f"unix:{tmp_path}/lane"}
    async with running(SHOP, data__folder=data, **settings) as address:
        ids += await decided(address, "home_hero", True)
        ids += await decided(address, "home_hero", False)
        async with AsyncClient(address) as client:
            await client.publish_playbook(read_folder(TESTED), write_id="tested")
        ids += await decided(address, "cart", True)
        ids += await decided(address, "cart", False)
    code, told = await asyncio.to_thread(replayed, data / "records")
    assert told == {
        "records": 4 * DECISIONS,
        "equal": 4 * DECISIONS,
        "different": [],
        "not_replayed": {},
        "damaged": [],
        "cut": [],
    }
    assert code == 0
    code, told = await asyncio.to_thread(replayed, data / "records", "--id", ids[0])
    assert (code, told["records"]) == (0, 1)
    (file,) = (data / "records").glob("*.records")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_a_changed_file_ends_with_1(tmp_path: Path) -> None:
    async with running(SHOP, data__folder=tmp_path / "data", records__share="1") as address:
        await decided(address, "home_hero", False)
    (file,) = (tmp_path / "data/records").glob("*.records")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)
    code, told = await asyncio.to_thread(replayed, tmp_path / "data/records")
    assert (code, told["equal"]) == (1, DECISIONS - 1)
    assert "its checksum does not hold" in str(told["damaged"])


def sink_of(engine: Engine, folder: Path, files_max: int = 3) -> Sink:
    sink = Sink(engine, folder, 20_000, files_max, list)
    sink.open(1.0, 1_048_576)
    return sink


async def test_the_newest_files_are_kept(tmp_path: Path) -> None:
    plan = plan_of(SHOP)
    engine = recording(plan)
    task = asyncio.create_task(sink_of(engine, tmp_path).run())
    for seed in range(8):
        live(engine, plan, 40, seed)
        await asyncio.sleep(0.15)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    files = sorted(tmp_path.glob("*.records"))
    assert len(files) == 3
    assert all(file.stat().st_size >= 20_000 for file in files[:-1])
    assert engine.records().waiting_bytes == 0


async def test_what_cannot_be_written_is_counted_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = plan_of(SHOP)
    engine = recording(plan)
    folder = tmp_path / "records"
    sink = sink_of(engine, folder)
    folder.rmdir()
    folder.write_text("in the way")
    task = asyncio.create_task(sink.run())
    for seed in range(2):
        live(engine, plan, 5, seed)
        await asyncio.sleep(0.15)
    lost = engine.records().lost_bytes
    assert lost > 1_000
    assert sum("records cannot be written" in line for line in caplog.messages) == 1
    folder.unlink()
    folder.mkdir()
    live(engine, plan, 5, 3)
    await asyncio.sleep(0.3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert engine.records().lost_bytes == lost
    assert len(list(folder.glob("*.records"))) == 1


class Refusing(Stream):
    """A stream with a fault of its own."""

    def offer(self, content: bytes) -> None:
        raise RuntimeError(f"no room for {len(content)} bytes")


@pytest.mark.parametrize("at_the_end", [False, True])
async def test_a_fault_behind_the_taking_is_counted_and_recording_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, at_the_end: bool
) -> None:
    plan = plan_of(SHOP)
    engine = recording(plan)
    place = network(parse("redis://127.0.0.1:1"), BackendSettings())
    stream = Refusing(place, StreamBounds("k", 1, 1, 1, 1))
    sink = Sink(engine, tmp_path, 20_000, 3, list, stream)
    task = asyncio.create_task(sink.run())
    live(engine, plan, 5)
    await asyncio.sleep(0.05 if at_the_end else 0.3)
    assert not task.done()
    before = engine.records().lost_bytes
    assert (before == 0) == at_the_end
    live(engine, plan, 5, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.records().waiting_bytes == 0
    assert engine.records().lost_bytes > before
    assert "no room" in caplog.text


async def longest_turn_s(task: asyncio.Task[None], within_s: float) -> float:
    """The most CPU that the loop took at once, beside a task."""
    end_s = time.monotonic() + within_s
    last_s, longest_s = time.thread_time(), 0.0
    while time.monotonic() < end_s:
        await asyncio.sleep(0)
        now_s = time.thread_time()
        longest_s, last_s = max(longest_s, now_s - last_s), now_s
    assert not task.done()
    return longest_s


async def test_records_become_messages_beside_the_loop(tmp_path: Path) -> None:
    plan = plan_of(SHOP)
    engine = recording(plan)
    live(engine, plan, 10_000)
    begin_s = time.thread_time()
    engine.take_records()
    taking_s = time.thread_time() - begin_s
    live(engine, plan, 10_000, 2)
    task = asyncio.create_task(Sink(engine, tmp_path, 1 << 30, 3, list).run())
    assert await longest_turn_s(task, 1.0) < taking_s / 2
    assert engine.records().waiting_bytes == 0
    task.cancel()
    await asyncio.wait([task])


def test_nothing_to_decide_again_ends_with_1_and_says_what_to_do(tmp_path: Path) -> None:
    """A gate must not take it for "nothing changed"."""
    app = make_app(("replay", "whatif"))
    draft = ["whatif", str(tmp_path), "--playbook", str(SHOP)]
    for arguments in (["replay", str(tmp_path)], draft):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 1
        assert "records.share=1" in result.stderr
