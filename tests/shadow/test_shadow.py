"""A draft on live traffic: it finds what `whatif` finds, and nobody notices it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from nextbest.client import AsyncClient, InvalidArgumentError, PreconditionError
from nextbest.core import LANE_MISSING, Engine, lane_available
from nextbest.core.playbook.plan import Plan
from nextbest.server.catalogue import Catalogue
from nextbest.server.command.effect import effect_json
from nextbest.server.command.main import make_app
from nextbest.server.command.shadow import effect_of
from nextbest.server.compiler import Compiler
from nextbest.server.config import Rpc
from nextbest.server.config import Shadow as Settings
from nextbest.server.examples import LEADS, SHOP
from nextbest.server.log.level import LOGGED
from nextbest.server.playbook.folder import read_folder
from nextbest.server.publisher import Publisher
from nextbest.server.rpc.waiting import Waiting
from nextbest.server.shadow.shadow import TURN_S, Shadow
from nextbest.v1 import playbook_pb2
from tests.conftest import calling, running

PLACEMENTS = ["home_hero", "home_shelf"]
CALLS = 60
WAIT_S = 60.0
# The whole core: here nothing is to be skipped.
WHOLE: dict[str, Any] = {"shadow__core_percent_max": 100}


def draft(value: int = 1, more: bytes = b"") -> dict[str, bytes]:
    """The shop with another value of the club, and with more attributes."""
    files = read_folder(SHOP)
    actions = files["actions.yaml"]
    assert b"value: 90" in actions
    files["actions.yaml"] = actions.replace(b"value: 90", b"value: %d" % value) + more
    return files


async def calls(address: str, fast_lane: bool = False, count: int = CALLS) -> list[Any]:
    """People look at things, buy, and are decided for, alone and with their segments."""
    answers = []
    async with calling(address, fast_lane=fast_lane) as client:
        for number in range(count):
            who = f"u{number % 20}"
            await client.track(who, "view", {"product": f"p{number % 3}", "category": "shoes"})
            if number % 3 == 0:
                await client.track(who, "purchase", {"amount": 40.0, "order": f"o{number}"})
            wanted: dict[str, Any] = {"segments": number % 2 == 0, "context": {"page": "home"}}
            answers.append(await client.decide(who, PLACEMENTS, **wanted))
    return answers


async def until(
    client: AsyncClient, done: Callable[[playbook_pb2.GetShadowResponse], bool]
) -> playbook_pb2.GetShadowResponse:
    """The shadow once it is as wanted."""
    end_s = time.monotonic() + WAIT_S
    while True:
        found = await client.get_shadow()
        if done(found):
            return found
        assert time.monotonic() < end_s, found
        await asyncio.sleep(0.05)


def tried(one: playbook_pb2.GetShadowResponse) -> int:
    return one.compared + one.incomplete + one.failed


async def commanded(*arguments: str) -> tuple[int, Any]:
    """What a command ends with, and its JSON."""

    def invoke() -> tuple[int, Any]:
        result = CliRunner().invoke(make_app(("shadow", "whatif")), [*arguments, "--json"])
        return result.exit_code, json.loads(result.stdout)

    return await asyncio.to_thread(invoke)


def written(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.mark.skipif(not lane_available, reason=LANE_MISSING)
async def test_it_finds_what_whatif_finds_on_the_same_records(tmp_path: Path) -> None:
    """Of both lanes, across a publish."""
    settings = {"records__share": "1", "lane__addresses": f"unix:{tmp_path}/lane", **WHOLE}
    folder = written(tmp_path / "draft", draft())
    async with running(SHOP, data__folder=tmp_path / "data", **settings) as address:
        code, started = await commanded("shadow", "start", str(folder), "--to", address)
        assert code == 0
        await calls(address, fast_lane=True)
        async with AsyncClient(address) as client:
            await client.publish_playbook(draft(50), write_id="another")
            await calls(address)
            found = await until(client, lambda one: tried(one) >= 2 * CALLS)
            assert found.playbook_hash == started["playbook_hash"]
            assert [one.compared > 0 for one in found.against] == [True, True]
            assert (found.skipped, found.failed, found.fault) == (0, 0, "")
            assert found.cpu_us_per_decision > 0
            assert found.share_now == 1
        code, status = await commanded("shadow", "status", "--to", address)
        assert code == 0
    code, wanted = await commanded(
        "whatif", str(tmp_path / "data" / "records"), "--playbook", str(folder)
    )
    assert code == 0
    assert [wanted.pop(name) for name in ("damaged", "again", "refused")] == [0, 0, 0]
    assert {name: status[name] for name in wanted} == wanted == effect_json(effect_of(found))
    assert 0 < wanted["changed"] < wanted["records"] == 2 * CALLS


async def test_without_records_it_finds_what_the_draft_does_not_know() -> None:
    more = b"\n  sandals: {group: content, eligibility: profile.shoe > 40, value: 1}\n"
    files = draft(more=more)
    files["schema.yaml"] = files["schema.yaml"].replace(
        b"attributes:", b"attributes:\n  shoe: int", 1
    )
    async with running(SHOP, **WHOLE) as address, AsyncClient(address) as client:
        await client.start_shadow(files)
        await calls(address)
        found = await until(client, lambda one: tried(one) >= CALLS)
        assert found.incomplete > 0
        assert {one.name: one.decisions for one in found.lacking} == {
            "profile.shoe": found.incomplete
        }
        await client.stop_shadow(found.playbook_hash)
        # Another business: it has none of the placements.
        await client.start_shadow(read_folder(LEADS))
        await calls(address)
        found = await until(client, lambda one: tried(one) >= CALLS)
        assert found.failed == CALLS == sum(one.count for one in found.refusals)
        assert "placements" in found.refusals[0].why


async def test_answers_are_those_without_it_however_it_fares() -> None:
    """The process is stopped, then killed: calls are answered, and it comes back."""
    engines: list[Engine] = []

    settings = {"announced": engines.append, **WHOLE}
    async with running(SHOP, **settings) as address, AsyncClient(address) as client:
        bare = await calls(address)
        await client.start_shadow(draft())
        process = helper(os.getpid())
        os.kill(process, signal.SIGSTOP)
        begin_s = time.monotonic()
        stopped = await calls(address)
        assert [len(a.placements) for a in stopped] == [len(a.placements) for a in bare]
        assert time.monotonic() - begin_s < WAIT_S / 2
        # Bounded, while nobody takes it.
        assert engines[0].shadow_counts().waiting_bytes < 1_048_576
        os.kill(process, signal.SIGKILL)
        found = await until(client, lambda one: one.restarts > 0)
        assert "died" in found.fault
        before = found.compared
        while not found.compared > before:
            await calls(address, count=5)
            found = await client.get_shadow()
        assert found.fault == ""


def helper(parent: int) -> int:
    """The process of the shadow that the server of this process has started."""
    (found,) = helpers(parent)
    return found


def helpers(parent: int) -> list[int]:
    """All such processes."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat, command = (folder / "stat").read_text(), (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == parent and b"shadow.worker" in command:
                found.append(int(folder.name))
    return found


async def test_a_start_that_is_cancelled_leaves_no_process() -> None:
    """Wherever it was, and another one can be started."""
    async with running(SHOP, **WHOLE) as address, AsyncClient(address) as client:
        for _ in range(3):
            start = asyncio.create_task(client.start_shadow(draft()))
            while not helpers(os.getpid()) and not start.done():
                await asyncio.sleep(0.001)
            start.cancel()
            await asyncio.wait([start])
            assert start.cancelled()
            end_s = time.monotonic() + WAIT_S
            while helpers(os.getpid()):
                assert time.monotonic() < end_s, "its process is left"
                await asyncio.sleep(0.05)
            assert not (await client.get_shadow()).playbook_hash
        await client.start_shadow(draft())
        assert len(helpers(os.getpid())) == 1
    assert helpers(os.getpid()) == []


class FailingPlans(Publisher):
    """Has the shadow's turn fail, on our own fault."""

    def plans(self) -> dict[bytes, Plan]:
        raise RuntimeError("plans")


async def test_a_turn_that_fails_while_it_is_promoted_ends_it_once() -> None:
    engine = Engine(profiles_max=100)
    engine.attach_log(8)
    engine.replicated_refused("one host")
    compiler, waiting = Compiler(60_000), Waiting(engine)
    publisher = FailingPlans(engine, Catalogue(8), compiler, waiting, Rpc())
    shadow = Shadow(engine, publisher, Settings())
    files = [playbook_pb2.PlaybookFile(path=k, content=v) for k, v in draft().items()]
    wanted = playbook_pb2.PublishPlaybookRequest(write_id="w", files=files)
    turns = asyncio.create_task(shadow.run())
    try:
        run, _ = await shadow.start(playbook_pb2.StartShadowRequest(draft=wanted))
        promote = asyncio.create_task(shadow.promote(run.hash.hex()))
        # Its log is this test.
        while not engine.log_waiting(0):
            await asyncio.sleep(0.01)
        await asyncio.sleep(3 * TURN_S)
        engine.log_done(0, len([engine.log_take(0)]), (3, 7, 99), LOGGED)
        assert (await promote).generation == 1
        await asyncio.sleep(TURN_S)
        assert shadow.now is None
        assert shadow.totals.cpu_s == run.cpu_s > 0
    finally:
        turns.cancel()
        await asyncio.wait([turns])
        waiting.close()
        compiler.close()


async def test_what_it_may_not_spend_is_skipped_and_the_share_falls() -> None:
    settings: dict[str, Any] = {"shadow__core_percent_max": 1, "shadow__buffer_bytes": 65_536}
    async with running(SHOP, **settings) as address, AsyncClient(address) as client:
        await client.start_shadow(draft())
        asked = 0
        found = await client.get_shadow()
        while not found.skipped or found.share_now == 1:
            await asyncio.gather(*(calls(address) for _ in range(4)))
            asked += 4 * CALLS
            found = await client.get_shadow()
        assert found.share == 1
        assert tried(found) + found.skipped <= asked


async def test_promote_publishes_exactly_the_draft_once() -> None:
    async with running(SHOP, **WHOLE) as address, AsyncClient(address) as client:
        with pytest.raises(PreconditionError, match="no shadow"):
            await client.promote_shadow("00" * 16)
        started = await client.start_shadow(draft(), description="the club is worth less")
        wanted = f"allowed: {started.playbook_hash}, .* name that one, or stop it"
        with pytest.raises(PreconditionError, match=wanted):
            await client.promote_shadow("00" * 16)
        with pytest.raises(PreconditionError, match=started.playbook_hash):
            await client.start_shadow(draft(2))
        promoted = await client.promote_shadow(started.playbook_hash)
        assert (promoted.generation, promoted.previous) == (2, 1)
        assert not (await client.get_shadow()).playbook_hash
        # A caller who did not hear the answer asks again.
        again = await client.promote_shadow(started.playbook_hash)
        assert (again.generation, again.playbook_hash) == (2, promoted.playbook_hash)
        active = (await client.list_generations()).generations[-1]
        assert active.active
        assert active.description == "the club is worth less"
        decided = await client.decide("ann", ["home_hero"], context={"page": "home"})
        assert decided.playbook_hash == started.playbook_hash


async def test_stop_drops_it_and_the_engine_records_nothing_more() -> None:
    engines: list[Engine] = []
    settings = {"announced": engines.append, **WHOLE}
    async with running(SHOP, **settings) as address, AsyncClient(address) as client:
        started = await client.start_shadow(draft(), share=0.5)
        # A repeat is the same one, with another share.
        assert (await client.start_shadow(draft())).playbook_hash == started.playbook_hash
        assert (await client.get_shadow()).share == 1
        await calls(address)
        assert (await client.stop_shadow()).playbook_hash == started.playbook_hash
        recorded = engines[0].shadow_counts().recorded
        assert recorded == CALLS
        await calls(address)
        assert engines[0].shadow_counts().recorded == recorded
        with pytest.raises(PreconditionError):
            await client.stop_shadow()
        code, status = await commanded("shadow", "status", "--to", address)
        assert (code, status["playbook_hash"]) == (1, "")


async def test_after_many_ends_under_load_another_one_compares() -> None:
    async with running(SHOP, **WHOLE) as address, AsyncClient(address) as client:
        load = asyncio.create_task(calls(address, count=10 * CALLS))
        for number in range(8):
            await client.start_shadow(draft())
            await asyncio.sleep(0.013 * number)
            await client.stop_shadow()
        await load
        await client.start_shadow(draft())
        await calls(address)
        assert (await until(client, lambda one: tried(one) >= CALLS)).fault == ""


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), float("inf")])
async def test_a_share_that_is_none_is_refused(address: str, share: float) -> None:
    async with AsyncClient(address) as client:
        with pytest.raises(InvalidArgumentError, match="share"):
            await client.start_shadow(draft(), share=share)


async def test_a_faulty_draft_is_refused_as_a_publish_is(address: str) -> None:
    async with AsyncClient(address) as client:
        with pytest.raises(InvalidArgumentError) as caught:
            await client.start_shadow({"schema.yaml": b"attributes: {age: nothing}\n"})
        assert caught.value.violations[0].field.startswith("schema.yaml:1:")
