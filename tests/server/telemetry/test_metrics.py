"""A server's pages over HTTP, read as Prometheus and an orchestrator read them."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import grpc
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families

from nextbest.core import LANE_MISSING, lane_available
from nextbest.server.telemetry.catalogue import METRICS
from nextbest.server.telemetry.http import REQUEST_S_MAX, REQUESTS_MAX
from tests.lane.target import DECIDE, TRACK, decide, track
from tests.server.telemetry.process import Server
from tests.server.telemetry.scrape import OPENMETRICS, page

needs_lane = pytest.mark.skipif(not lane_available, reason=LANE_MISSING)


def made(address: str, method: str, request: bytes) -> None:
    with grpc.insecure_channel(address) as channel:
        channel.unary_unary(method)(request, timeout=5)


@needs_lane
def test_calls_of_both_lanes_are_counted(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        for _ in range(7):
            made(server.lane, DECIDE, decide("home"))
        made(server.address, TRACK, track("e1", ack=1))
        with pytest.raises(grpc.RpcError, match="nowhere"):
            made(server.address, DECIDE, decide("nowhere"))
        status, content_type, body = page(f"{server.http}/metrics")
    assert (status, content_type.partition(";")[0]) == (200, "text/plain")
    families = {one.name: one for one in text_string_to_metric_families(body)}
    counts = {
        (s.labels["lane"], s.labels["rpc_method"], s.labels["rpc_response_status_code"]): s.value
        for s in families["rpc_server_call_duration_seconds"].samples
        if s.name.endswith("_count")
    }
    assert counts == {
        ("fast", "nextbest.v1.DecisionService/Decide", "OK"): 7,
        ("grpc", "nextbest.v1.EventService/Track", "OK"): 1,
        ("grpc", "nextbest.v1.DecisionService/Decide", "INVALID_ARGUMENT"): 1,
    }
    assert families["nextbest_profiles"].samples[0].value == 1
    [decisions] = families["nextbest_decisions"].samples
    assert (decisions.labels, decisions.value) == ({"placement": "home"}, 7)
    proposed = families["nextbest_propositions"].samples
    assert {sample.labels["placement"] for sample in proposed} == {"home"}
    assert sum(sample.value for sample in proposed) >= 7
    assert families["nextbest_ready"].samples[0].value == 1
    assert {one.name for one in METRICS} == set(families)
    assert all(one.documentation for one in families.values())


@needs_lane
def test_openmetrics_is_given_to_who_asks(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        made(server.lane, DECIDE, decide("home"))
        _status, content_type, body = page(f"{server.http}/metrics", OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text")
    assert {one.name for one in open_families(body)} == {one.name for one in METRICS}


@needs_lane
@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_promtool_finds_nothing_wrong(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        made(server.lane, DECIDE, decide("home"))
        body = page(f"{server.http}/metrics")[2]
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=body, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_alive_and_ready(tmp_path: Path) -> None:
    with Server(tmp_path, "--set", "listen.drain_delay_ms=3000") as server:
        assert page(f"{server.http}/livez")[::2] == (200, "ok\n")
        assert page(f"{server.http}/readyz")[::2] == (200, "ok\n")
        status, _, verbose = page(f"{server.http}/readyz?verbose")
        assert (status, "nextbest_generation 1\n" in verbose) == (200, True)
        os.kill(server.pid, signal.SIGTERM)
        while page(f"{server.http}/readyz")[0] == 200:
            time.sleep(0.01)
        assert page(f"{server.http}/readyz")[::2] == (503, "not ready: the server stops\n")


def test_there_is_no_page_elsewhere(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        status, _, body = page(f"{server.http}/elsewhere")
        assert (status, "/metrics" in body) == (404, True)


def test_pages_are_read_and_nothing_else(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        host = server.http.removeprefix("http://")
        for method, status, body in (("POST", 405, b"allowed: GET, HEAD\n"), ("HEAD", 200, b"")):
            connection = http.client.HTTPConnection(host, timeout=10)
            connection.request(method, "/livez")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (status, body)
            assert (answer.headers["Allow"] == "GET, HEAD") == (status == 405)
            connection.close()


def test_clients_that_drip_are_cut_off(tmp_path: Path) -> None:
    with Server(tmp_path) as server, ExitStack() as stack:
        host, port = server.http.removeprefix("http://").split(":")
        slow = [
            stack.enter_context(socket.create_connection((host, int(port))))
            for _ in range(REQUESTS_MAX)
        ]
        end_s = time.monotonic() + 2 * REQUEST_S_MAX
        while not is_alive(server):
            assert time.monotonic() < end_s
            for one in slow:
                with suppress(OSError):
                    one.send(b"G")
            time.sleep(0.5)


def is_alive(server: Server) -> bool:
    """Whether /livez is answered, and not refused for want of room."""
    try:
        return page(f"{server.http}/livez")[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def test_silent_connections_do_not_keep_others_out_for_long(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        host, port = server.http.removeprefix("http://").split(":")
        silent = [socket.create_connection((host, int(port))) for _ in range(REQUESTS_MAX - 1)]
        try:
            assert page(f"{server.http}/livez")[0] == 200
        finally:
            for one in silent:
                one.close()
