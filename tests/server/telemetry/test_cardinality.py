"""How many series a server has at most, and what their labels never say."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest

from nextbest.core import LANE_MISSING, lane_available
from nextbest.core.engine import FATE_NAMES, OTHER_NAME
from nextbest.server.telemetry.catalogue import METRICS
from nextbest.v1 import common_pb2, decision_pb2, profile_pb2
from tests.lane.target import BATCH, DECIDE, PLAYBOOK, TRACK, track
from tests.server.telemetry.process import Server
from tests.server.telemetry.scrape import Scrape

UPSERT = "/nextbest.v1.ProfileService/UpsertProfile"
PLACEMENTS, ACTIONS = 110, 15
PLACEMENTS_TOLD, PAIRS_TOLD = 100, 1_000
# What README.md states.
SERIES_MAX = 17_000
CANARY = "canary7f3a"
NAMED = {
    "nextbest_decisions_total": PLACEMENTS_TOLD + 1,
    "nextbest_fallbacks_total": PLACEMENTS_TOLD + 1,
    "nextbest_explored_total": PLACEMENTS_TOLD + 1,
    "nextbest_candidates_total": (PLACEMENTS_TOLD + 1) * (len(FATE_NAMES) - 1),
    "nextbest_propositions_total": PAIRS_TOLD + PLACEMENTS_TOLD + 1,
}
pytestmark = pytest.mark.skipif(not lane_available, reason=LANE_MISSING)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A playbook with more placements and pairs than are told by name."""
    folder = tmp_path / "playbook"
    folder.mkdir()
    shutil.copy(PLAYBOOK / "schema.yaml", folder / "schema.yaml")
    actions = [f"  action{number}: {{group: all, value: {number}}}" for number in range(ACTIONS)]
    (folder / "actions.yaml").write_text("\n".join(["actions:", *actions]) + "\n")
    placements = [
        f"  place{number}: {{slots: {ACTIONS}, candidates: {{groups: all}}, fallback: action0}}"
        for number in range(PLACEMENTS)
    ]
    (folder / "placements.yaml").write_text("\n".join(["placements:", *placements]) + "\n")
    return folder


def decide(placement: str, who: str, **more: Any) -> decision_pb2.DecideRequest:
    identity = common_pb2.Identity(kind=common_pb2.IDENTITY_KIND_KNOWN, id=who)
    return decision_pb2.DecideRequest(identity=identity, placements=[placement], **more)


def test_a_large_playbook_stays_within_the_bound(tmp_path: Path, large: Path) -> None:
    with Server(tmp_path, playbook=large) as server:
        with grpc.insecure_channel(server.lane) as channel:
            decides = [decide(f"place{number}", f"u{number}") for number in range(PLACEMENTS)]
            batch = decision_pb2.DecideBatchRequest(requests=decides)
            channel.unary_unary(BATCH)(batch.SerializeToString(), timeout=20)
        scrape = Scrape(server.http)
    samples = Counter(s.name for f in scrape.families.values() for s in f.samples)
    assert samples.total() <= SERIES_MAX
    for name, most in NAMED.items():
        assert samples[name] <= most, name
    # The bound is met, and nothing is lost behind it.
    assert samples["nextbest_decisions_total"] == PLACEMENTS_TOLD + 1
    assert samples["nextbest_propositions_total"] > PAIRS_TOLD
    others = PLACEMENTS - PLACEMENTS_TOLD
    assert scrape.value("nextbest_decisions_total", placement=OTHER_NAME) == others
    assert scrape.value("nextbest_propositions_total") == PLACEMENTS * ACTIONS
    told = scrape.value("nextbest_propositions_total", action=OTHER_NAME)
    assert told == PLACEMENTS * ACTIONS - PAIRS_TOLD


def test_labels_say_nothing_of_anybody(tmp_path: Path) -> None:
    """What callers send, on both lanes, in requests that are taken and that are refused."""
    context = {"page": common_pb2.Value(string_value=CANARY)}
    profile = profile_pb2.UpsertProfileRequest(
        write_id=CANARY,
        identity=common_pb2.Identity(kind=common_pb2.IDENTITY_KIND_KNOWN, id=CANARY),
        attributes={"email": common_pb2.Value(string_value=CANARY)},
    ).SerializeToString()
    calls = [
        (UPSERT, profile),
        (DECIDE, decide("home", CANARY, decision_id=CANARY, context=context).SerializeToString()),
        (DECIDE, decide(CANARY, CANARY).SerializeToString()),
        (TRACK, track(CANARY, who=CANARY, product=CANARY, ack=1)),
        (f"/{CANARY}/{CANARY}", b""),
    ]
    with Server(tmp_path, "--data", str(tmp_path / "data")) as server:
        for address in (server.lane, server.address):
            with grpc.insecure_channel(address) as channel:
                for method, request in calls:
                    made(channel, method, request)
        scrape = Scrape(server.http)
    assert scrape.value("nextbest_decisions_total") > 0
    assert CANARY not in scrape.text
    allowed = {label for metric in METRICS for label in metric.labels} | {"le"}
    seen = {name for f in scrape.families.values() for s in f.samples for name in s.labels}
    assert seen <= allowed
    # An id would have to have a label to be in.
    assert not {name for name in allowed if name.endswith(("id", "identity", "user"))}


def made(channel: grpc.Channel, method: str, request: bytes) -> None:
    """A call, whatever comes of it."""
    headers = (("x-note", CANARY), ("baggage", f"who={CANARY}"))
    channel.unary_unary(method).future(request, timeout=5, metadata=headers).exception()
