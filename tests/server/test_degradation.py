"""Degradation: what answers leave out under overload, as far as their placements let them."""

from __future__ import annotations

from pathlib import Path

import pytest

from nextbest.core import Engine
from nextbest.server.playbook.compile import compile_playbook
from nextbest.server.playbook.folder import read_folder
from nextbest.v1 import common_pb2, decision_pb2

SMALL = Path(__file__).resolve().parents[1] / "cases" / "small"
NOW_US = 1_780_000_000_000_000
WHOLE: list[int] = []
SKIPPED = [common_pb2.DEGRADATION_SCORES_SKIPPED]
FALLBACK = [common_pb2.DEGRADATION_FALLBACK_ONLY]

ACTIONS = """\
actions:
  low: {value: 1}
  high: {value: "2.0 + 1.0"}
  never: {value: 9, eligibility: "false"}
  last: {value: 0}
"""


def engine_of(degrade_to: str) -> Engine:
    """An engine whose one placement may be degraded so far."""
    files = read_folder(SMALL)
    files = {path: text for path, text in files.items() if path == "schema.yaml"}
    files["actions.yaml"] = ACTIONS.encode()
    placement = f"p: {{slots: 2, fallback: last, degrade_to: {degrade_to}}}"
    files["placements.yaml"] = f"placements: {{{placement}}}".encode()
    compiled = compile_playbook(files)
    assert compiled.plan, compiled.faults
    engine = Engine()
    engine.publish(compiled.plan)
    return engine


def request() -> decision_pb2.DecideRequest:
    identity = common_pb2.Identity(id="ann")
    return decision_pb2.DecideRequest(identity=identity, placements=["p"], explain=True)


def decided(engine: Engine, leave: int) -> tuple[list[str], list[int]]:
    """The actions shown, and what was left out."""
    call = engine.begin_call("Decide", b"", b"")
    call.leave = leave
    answer = engine.decide(request().SerializeToString(), NOW_US, 0, call)
    told = decision_pb2.DecideResponse.FromString(answer)
    return [each.action for each in told.placements[0].propositions], list(told.degraded)


@pytest.mark.parametrize(
    ("degrade_to", "leave", "shown", "degraded"),
    [
        ("none", 0, ["high", "low"], WHOLE),
        ("none", 2, ["high", "low"], WHOLE),
        ("no_scoring", 0, ["high", "low"], WHOLE),
        ("no_scoring", 1, ["low", "high"], SKIPPED),
        ("no_scoring", 2, ["low", "high"], SKIPPED),
        ("fallback", 1, ["low", "high"], SKIPPED),
        ("fallback", 2, ["last"], FALLBACK),
    ],
)
def test_a_placement_is_degraded_as_far_as_it_lets(
    degrade_to: str, leave: int, shown: list[str], degraded: list[int]
) -> None:
    assert decided(engine_of(degrade_to), leave) == (shown, degraded)


def test_degraded_decisions_are_counted_and_the_next_one_is_whole() -> None:
    engine = engine_of("fallback")
    decided(engine, 1)
    decided(engine, 2)
    assert decided(engine, 0) == (["high", "low"], WHOLE)
    counted = {name: n for name, n in engine.telemetry.decisions().degraded.items() if n}
    assert sorted(counted.values()) == [1, 1]


def test_a_batch_tells_what_any_of_its_decisions_left_out() -> None:
    engine = engine_of("no_scoring")
    call = engine.begin_call("DecideBatch", b"", b"")
    call.leave = 1
    batch = decision_pb2.DecideBatchRequest(requests=[request()] * 3)
    answer = engine.decide_batch(batch.SerializeToString(), NOW_US, 0, call)
    assert decision_pb2.DecideBatchResponse.FromString(answer).degraded == SKIPPED


def test_a_level_is_one_of_three_and_fallback_needs_one() -> None:
    for wrong, allowed in (("no_scorring", "no_scoring"), ("fallback", "without a fallback")):
        files = {
            "schema.yaml": read_folder(SMALL)["schema.yaml"],
            "actions.yaml": ACTIONS.encode(),
            "placements.yaml": f"placements: {{p: {{degrade_to: {wrong}}}}}".encode(),
        }
        faults = compile_playbook(files).faults
        assert any("degrade" in str(one) and allowed in str(one) for one in faults), faults
