"""Consents over a real server: both lanes, a restart, and the command."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nextbest.client import AsyncClient, Consent, InvalidArgumentError
from nextbest.core import LANE_MISSING, lane_available
from nextbest.server.examples import CONSENT
from tests.conftest import calling, running

COMMAND = [sys.executable, "-c", "from nextbest.server.command.main import run; run()"]
WHOLE = ["for_you", "newsletter", "welcome"]


async def shown(client: AsyncClient, placement: str) -> list[str]:
    """What ann is shown."""
    answer = await client.decide("ann", [placement])
    return [one.action for one in answer.placements[0].propositions]


async def allow(client: AsyncClient) -> None:
    """Let ann allow everything."""
    await client.set_consent("ann", "email_marketing", "granted", basis="consent")
    await client.set_consent("ann", "profiling", "granted")


@pytest.mark.skipif(not lane_available, reason=LANE_MISSING)
async def test_the_decision_after_the_answer_knows_on_both_lanes(tmp_path: Path) -> None:
    lane = f"unix:{tmp_path}/lane"
    async with (
        running(CONSENT, lane__addresses=lane) as address,
        AsyncClient(address, fast_lane=False) as slow,
        calling(address, fast_lane=True) as fast,
    ):
        for writer in (slow, fast):
            for number in range(20):
                await allow(writer)
                for client in (slow, fast):
                    assert await shown(client, "inbox") == WHOLE
                status = ("revoked", "denied")[number % 2]
                await writer.set_consent("ann", "profiling", status)
                for client in (slow, fast):
                    assert await shown(client, "inbox") == ["newsletter", "welcome"]
                await writer.do_not_contact("ann", "email", "bounced")
                for client in (slow, fast):
                    assert await shown(client, "inbox") == []
                    assert await shown(client, "home") == ["newsletter", "welcome"]
                await writer.do_not_contact("ann", "email", "bounced", over=True)
        assert fast.fast_lane


@pytest.mark.skipif(not lane_available, reason=LANE_MISSING)
async def test_a_decision_asked_for_again_knows_on_both_lanes(tmp_path: Path) -> None:
    lane = f"unix:{tmp_path}/lane"
    async with (
        running(CONSENT, lane__addresses=lane) as address,
        AsyncClient(address, fast_lane=False) as slow,
        calling(address, fast_lane=True) as fast,
    ):
        for client, other in ((slow, fast), (fast, slow)):
            await allow(slow)
            asked = f"d{client is fast}"
            first = await client.decide("ann", ["home"], decision_id=asked)
            assert [one.action for one in first.placements[0].propositions] == WHOLE
            assert await other.decide("ann", ["home"], decision_id=asked) == first
            await slow.set_consent("ann", "profiling", "revoked")
            for each in (client, other):
                again = await each.decide("ann", ["home"], decision_id=asked)
                found = [one.action for one in again.placements[0].propositions]
                assert found == ["newsletter", "welcome"]
                assert again.decision_id == asked


async def test_a_restart_keeps_what_was_said(tmp_path: Path) -> None:
    async with (
        running(CONSENT, data__folder=tmp_path) as address,
        AsyncClient(address, fast_lane=False) as client,
    ):
        await allow(client)
        until = datetime.now(UTC) + timedelta(days=1)
        await client.set_consent(
            "ann", "profiling", "granted", expires_at=until, source="web", ack="logged"
        )
        await client.do_not_contact("ann", "email", "unsubscribed", source="link")
        before = (await client.get_profile("ann")).profile
    async with (
        running(CONSENT, data__folder=tmp_path) as address,
        AsyncClient(address, fast_lane=False) as client,
    ):
        assert await shown(client, "home") == WHOLE
        assert await shown(client, "inbox") == []
        after = (await client.get_profile("ann")).profile
        assert after == before
        assert [one.purpose for one in after.consents] == ["email_marketing", "profiling"]
        # Said before the restart, and taken back after it.
        await client.set_consent("ann", "profiling", "revoked")
        assert await shown(client, "home") == ["newsletter", "welcome"]
        await client.erase_profile("ann")
        assert await shown(client, "inbox") == ["welcome"]
        assert not (await client.get_profile("ann")).profile.consents


async def test_a_server_refuses_with_the_field_and_what_is_allowed() -> None:
    async with running(CONSENT) as address, AsyncClient(address, fast_lane=False) as client:
        with pytest.raises(InvalidArgumentError, match=r"did you mean email_marketing\?"):
            await client.set_consent("ann", "email_marketin", "granted", basis="consent")
        with pytest.raises(ValueError, match="status: 'yes', allowed: granted, denied, revoked"):
            await client.set_consent("ann", "profiling", "yes")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="basis: 'whim', allowed: consent, contract"):
            Consent("ann", "profiling", "granted", basis="whim").message()
        for call in (
            client.set_consent("ann", "profiling", "denied", ack="applied", await_members=True),
            client.do_not_contact("ann", "email", "bounced", ack="applied", await_members=True),
        ):
            with pytest.raises(InvalidArgumentError, match="await_members: EVERY, with ack APPL"):
                await call


async def test_the_command_records_and_shows() -> None:
    async with running(CONSENT) as address:
        given = ["--basis", "consent", "--until", "2100-06-01T00:00:00Z", "--source", "shop"]
        told = await _run(address, "consent", "ann", "email_marketing", "granted", *given)
        assert told == "email_marketing of ann: granted\n"
        told = await _run(address, "consent", "ann", "email", "denied", "--reason", "bounced")
        assert told == "email of ann: denied, bounced\n"
        told = await _run(address, "consent", "ann", "email", "granted", "--reason", "unsubscribed")
        assert told == "email of ann: unsubscribed is over\n"
        profile = " ".join((await _run(address, "profile", "ann")).split())
        assert "consent email_marketing: granted (consent) since 20" in profile
        assert "until 2100-06-01T00:00:00Z, shop" in profile
        assert "channel email, bounced: do not contact since 20" in profile
        decided = await _run(address, "decide", "ann", "inbox", "--explain")
        assert "do not contact email: bounced" in decided
        decided = await _run(address, "decide", "bob", "inbox", "--explain")
        assert "consent email_marketing: not recorded" in decided


async def test_the_command_waits_for_every_node_or_not() -> None:
    async with running(CONSENT) as address:
        for wait in ("--await-members", "--no-await-members"):
            told = await _run(address, "consent", "ann", "profiling", "granted", wait)
            assert told == "profiling of ann: granted\n"
            assert "ann" in await _run(address, "erase", "ann", wait)
        # Without a log APPLIED is all there is, and waits for nobody.
        applied = ("--ack", "applied", "--await-members")
        made = await _call(address, "consent", "ann", "profiling", "denied", *applied)
        assert "await_members: EVERY, with ack APPLIED, allowed: LOGGED" in made.stderr


async def test_a_field_of_another_name_hints_at_its_option() -> None:
    async with running(CONSENT) as address:
        given = ("consent", "ann", "email_marketing", "granted")
        assert "`--basis` names" in (await _call(address, *given)).stderr
        for option, hint in (("--until", "`--until` says"), ("--at", "`--at` says")):
            year = "2020" if option == "--until" else "2100"
            moment = f"{year}-06-01T12:00:00Z"
            made = await _call(address, *given, "--basis", "consent", option, moment)
            assert hint in made.stderr, made.stderr


async def test_a_channel_without_a_reason_hints_at_the_option() -> None:
    async with running(CONSENT) as address:
        made = await _call(address, "consent", "ann", "email", "denied")
        assert made.returncode
        assert "reason: unset, allowed: bounced, unsubscribed for the channel" in made.stderr
        assert "`--reason` names why" in made.stderr


async def _run(address: str, *arguments: str) -> str:
    made = await _call(address, *arguments)
    assert made.returncode == 0, made.stderr
    return made.stdout


async def _call(address: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        [*COMMAND, *arguments, "--to", address],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
