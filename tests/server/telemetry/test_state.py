"""What a server tells of its log, its store and its process."""

from __future__ import annotations

import gc
import resource
from pathlib import Path

import grpc
import pytest

from nextbest.server.telemetry.runtime import Pauses
from nextbest.v1 import log_pb2
from tests.lane.target import TRACK, track
from tests.server.telemetry.process import Server
from tests.server.telemetry.scrape import Scrape, scraped

SNAPSHOT = "/nextbest.v1.LogService/TakeSnapshot"
LOGGED = 2
REPLICATED = 3
REFUSED = "nextbest_log_writes_refused_total"


def test_appends_are_told_as_they_were(tmp_path: Path) -> None:
    with (
        Server(tmp_path, "--data", str(tmp_path / "data")) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        before = Scrape(server.http)
        for number in range(5):
            channel.unary_unary(TRACK)(track(f"e{number}", ack=LOGGED), timeout=5)
        told = "nextbest_log_appended_mutations_total"
        after = scraped(server.http, lambda one: one.value(told) >= before.value(told) + 5)
        assert after.value(told, queue="logged") == before.value(told) + 5
        appended = after.value("nextbest_log_appends_total", queue="logged", outcome="appended")
        assert appended == after.value("nextbest_log_appends_total")
        assert appended == after.value("nextbest_log_append_duration_seconds_count")
        assert after.value("nextbest_log_appended_bytes_total") > 5 * 50
        assert after.value("nextbest_log_state", state="following") == 1
        assert after.value("nextbest_log_state") == 1
        assert after.value("nextbest_log_connects_total") == 1
        assert after.value("nextbest_log_epoch_changes_total") == 1
        # All is read back, heartbeats among it, sooner or later.
        scraped(
            server.http,
            lambda one: (
                one.value("nextbest_log_lag_entries")
                == 0
                == one.value("nextbest_log_ahead_mutations")
                and one.value("nextbest_log_applied_entries_total") >= appended
            ),
        )
        assert 0 <= after.value("nextbest_log_commit_age_seconds") < 5


def test_a_refused_write_is_told_by_its_reason(tmp_path: Path) -> None:
    with (
        Server(tmp_path, "--data", str(tmp_path / "data")) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        before = Scrape(server.http).value(REFUSED)
        for _ in range(3):
            with pytest.raises(grpc.RpcError, match="ack"):
                channel.unary_unary(TRACK)(track("e", ack=REPLICATED), timeout=5)
        after = Scrape(server.http)
    assert after.value(REFUSED, reason="ACK_REFUSED") == after.value(REFUSED) == before + 3


def test_a_snapshot_is_told_of(tmp_path: Path) -> None:
    with (
        Server(tmp_path, "--data", str(tmp_path / "data")) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        assert not Scrape(server.http).labels("nextbest_snapshot_age_seconds")
        answer = channel.unary_unary(SNAPSHOT)(
            log_pb2.TakeSnapshotRequest().SerializeToString(), timeout=20
        )
        taken = log_pb2.TakeSnapshotResponse.FromString(answer)
        after = Scrape(server.http)
    assert after.value("nextbest_snapshots_total", outcome="taken") == 1
    assert after.value("nextbest_snapshots_total") == 1
    assert after.value("nextbest_snapshot_bytes") == taken.bytes > 0
    assert after.value("nextbest_snapshot_duration_seconds") > 0
    assert 0 <= after.value("nextbest_snapshot_age_seconds") < 60


def test_the_process_and_its_memory_are_told(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        one = scraped(server.http, lambda one: one.value("nextbest_store_bytes"))
    page_bytes = resource.getpagesize()
    assert one.value("process_resident_memory_bytes") % page_bytes == 0
    assert one.value("process_resident_memory_bytes") > 10_000_000
    assert one.value("process_open_fds") > 3
    parts = {labels["part"] for labels in one.labels("nextbest_store_bytes")}
    assert parts >= {"row", "id", "side", "string", "table", "dedupe"}
    assert one.value("nextbest_loop_lag_seconds_count") > 0
    [build] = one.labels("nextbest_build_info")
    assert build["python"].count(".") == 2
    # Without a log there is nothing to tell of it.
    assert not one.labels("nextbest_log_state")


def test_pauses_of_the_collector_are_counted_by_generation() -> None:
    pauses = Pauses()
    pauses.start()
    try:
        for _ in range(3):
            gc.collect(1)
    finally:
        pauses.stop()
    gc.collect(1)
    counted = pauses.by_generation[1].read()
    assert sum(counted.buckets) == 3
    assert counted.sum > 0
