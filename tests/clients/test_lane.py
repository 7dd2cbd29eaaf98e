"""The clients and the fast lane: found, taken, lost, and never another host's."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from nextbest.client import AsyncClient, Client, NextbestError
from nextbest.client.lane import is_here, reach, within_reach
from nextbest.core import LANE_MISSING, lane_available

needs_lane = pytest.mark.skipif(not lane_available, reason=LANE_MISSING)


@pytest.mark.parametrize(
    ("target", "address", "reached"),
    [
        ("127.0.0.1:7600", "unix:/run/lane", "unix:/run/lane"),
        ("unix:/run/main", "127.0.0.1:7601", "127.0.0.1:7601"),
        ("localhost:7600", "[::1]:7601", "[::1]:7601"),
        ("dns:///localhost:7600", "127.0.0.1:7601", "127.0.0.1:7601"),
        ("ipv6:[::1]:7600", "127.0.0.1:7601", "127.0.0.1:7601"),
        # Another host's own addresses.
        ("10.0.0.5:7600", "unix:/run/lane", ""),
        ("10.0.0.5:7600", "127.0.0.1:7601", ""),
        ("shop.internal:7600", "localhost:7601", ""),
        ("dns:///shop.internal:7600", "[::1]:7601", ""),
        # Behind a mesh: the host that the caller knows.
        ("10.0.0.5:7600", "0.0.0.0:7601", "10.0.0.5:7601"),
        ("shop.internal:7600", "10.0.0.5:7601", "shop.internal:7601"),
        ("dns:///shop.internal:7600", "[::]:7601", "dns:///shop.internal:7601"),
        ("[2001:db8::1]:7600", "[::]:7601", "[2001:db8::1]:7601"),
        ("unix:/run/main", "0.0.0.0:7601", "127.0.0.1:7601"),
        # Several servers, or what we cannot read.
        ("ipv4:10.0.0.1:1,10.0.0.2:1", "0.0.0.0:7601", ""),
        ("unix:/a,/b", "unix:/run/lane", ""),
        ("xds:///shop", "0.0.0.0:7601", ""),
        ("shop.internal", "0.0.0.0:7601", ""),
    ],
)
def test_a_lane_is_reached_only_where_its_host_is(target: str, address: str, reached: str) -> None:
    assert reach(target, address) == reached


def test_a_unix_socket_is_tried_first() -> None:
    lanes = ["127.0.0.1:1", "unix:/run/lane", "0.0.0.0:2"]
    assert within_reach("unix:/main", lanes) == ["unix:/run/lane", "127.0.0.1:1", "127.0.0.1:2"]
    assert is_here("unix:/main")
    assert not is_here("10.0.0.1:1")


@pytest.fixture
def lane(tmp_path: Path) -> str:
    return f"unix:{tmp_path}/lane"


@needs_lane
async def test_hot_calls_take_the_lane_and_others_the_target(run_server: Any, lane: str) -> None:
    async with run_server(lane__addresses=lane) as address, AsyncClient(address) as client:
        assert client.fast_lane == ""
        await client.upsert_profile("ann", {"age": 34})
        assert client.fast_lane == ""
        assert (await client.decide("ann", ["home"])).profile_known
        assert client.fast_lane == lane
        assert not (await client.track("ann", "page_view", {"path": "/"})).duplicate
        assert (await client.get_profile("ann")).profile.identities
        assert [g.number for g in (await client.list_generations()).generations] == [1]


@needs_lane
async def test_the_synchronous_client_takes_the_lane_too(run_server: Any, lane: str) -> None:
    def ask(address: str) -> tuple[str, str]:
        with Client(address) as client, Client(address, fast_lane=False) as other:
            client.decide("ann", ["home"])
            other.decide("ann", ["home"])
            return client.fast_lane, other.fast_lane

    async with run_server(lane__addresses=lane) as address:
        assert await asyncio.to_thread(ask, address) == (lane, "")


@needs_lane
async def test_a_lane_that_goes_away_costs_no_call(run_server: Any, tmp_path: Path) -> None:
    lane, listen = f"unix:{tmp_path}/lane", f"127.0.0.1:{free_port()}"
    async with AsyncClient(listen) as client:
        async with run_server(lane__addresses=lane, listen__addresses=listen):
            await client.decide("ann", ["home"])
            assert client.fast_lane == lane
        async with run_server(listen__addresses=listen):
            await client.decide("ann", ["home"])
            assert client.fast_lane == ""
            await client.decide("ann", ["home"])
        async with run_server(lane__addresses=lane, listen__addresses=listen):
            await asyncio.sleep(1.1)
            await client.decide("ann", ["home"])
            assert client.fast_lane == lane


@needs_lane
async def test_another_servers_lane_at_the_same_path_is_not_taken(
    run_server: Any, lane: str
) -> None:
    async with run_server(lane__addresses=lane) as one, AsyncClient(one) as client:
        os.unlink(lane.removeprefix("unix:"))
        async with run_server(lane__addresses=lane) as two, AsyncClient(two) as other:
            first, second = await client.decide("ann"), await other.decide("ann")
            assert first.position.nonce != second.position.nonce
            assert (client.fast_lane, other.fast_lane) == ("", lane)


@needs_lane
async def test_a_loopback_lane_is_not_taken_over_the_network(run_server: Any) -> None:
    port = free_port()
    server = run_server(listen__addresses=f"0.0.0.0:{port}", lane__addresses="127.0.0.1:0")
    async with server, AsyncClient(f"{own_address()}:{port}") as client:
        await client.decide("ann", ["home"])
        assert client.fast_lane == ""


@needs_lane
async def test_an_insecure_lane_is_taken_at_the_targets_host(run_server: Any) -> None:
    host, port, fast = own_address(), free_port(), free_port()
    settings = {"listen__addresses": f"0.0.0.0:{port}", "lane__addresses": f"0.0.0.0:{fast}"}
    server = run_server(lane__insecure="true", **settings)
    async with server, AsyncClient(f"{host}:{port}") as client:
        await client.decide("ann", ["home"])
        assert client.fast_lane == f"{host}:{fast}"


@needs_lane
async def test_a_target_that_is_the_lane_itself_serves_all_calls(
    run_server: Any, lane: str
) -> None:
    async with run_server(lane__addresses=lane), AsyncClient(lane) as client:
        # Each finds by itself where it is served: a call, a stream, an import.
        assert (await client.list_generations()).generations
        await client.decide("ann", ["home"])
    async with run_server(lane__addresses=lane), AsyncClient(lane) as client:
        await client.import_profiles([])
        assert [part async for part in client.query_profiles("profile.age > 3")]
    async with run_server(lane__addresses=lane), AsyncClient(lane, fast_lane=False) as client:
        with pytest.raises(NextbestError, match="served by unix:"):
            await client.import_profiles([])
        assert (await client.list_generations()).generations


async def test_without_a_lane_the_server_is_asked_once(address: str) -> None:
    async with AsyncClient(address) as client:
        for _ in range(3):
            await client.decide("ann", ["home"])
        assert client.fast_lane == ""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def own_address() -> str:
    """An address of this host that is no loopback one; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this host has no network address")
        host: str = probe.getsockname()[0]
        return host
