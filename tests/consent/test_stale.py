"""Decisions of a node whose lease has run out: no consent holds, and the answer says so."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

from nextbest.core import Engine
from nextbest.server.record.playbooks import Playbooks
from nextbest.server.record.replay import replay
from nextbest.v1 import common_pb2, decision_pb2
from tests.consent.people import SECOND, answer, engine_of, identity, link, plan_of, proposed, say
from tests.record.people import BUFFER_BYTES, taken

STALE = common_pb2.DEGRADATION_CONSENT_STALE
FATE = decision_pb2.FATE_CONSENT_STALE


def steady_us() -> int:
    return time.monotonic_ns() // 1_000


def granted() -> Engine:
    """An engine with a person who allows it all."""
    engine = engine_of()
    say(engine, "ann", "granted", purpose="email_marketing")
    say(engine, "ann", "granted", purpose="profiling")
    assert proposed(engine) == ["news", "for_you", "welcome"]
    return engine


def test_no_consent_holds_once_the_lease_has_run_out_and_the_answer_says_so() -> None:
    engine = granted()
    engine.consents_until(steady_us() + 60 * SECOND)
    assert proposed(engine) == ["news", "for_you", "welcome"]
    assert not answer(engine, "ann", "page").degraded
    engine.consents_until(steady_us() - 1)
    assert proposed(engine) == ["welcome"]
    found = answer(engine, "ann", "page")
    assert list(found.degraded) == [STALE]
    fates = {one.action: one.fate for one in found.explanations[0].candidates}
    assert fates["news"] == fates["for_you"] == FATE
    why = found.explanations[0].candidates[-1].condition
    assert why == "consent email_marketing: not known here, the node's lease has run out"
    engine.consents_until(steady_us() + 60 * SECOND)
    assert proposed(engine) == ["news", "for_you", "welcome"]


def test_a_lease_runs_out_by_itself() -> None:
    engine = granted()
    engine.consents_until(steady_us() + 300_000)
    assert proposed(engine) == ["news", "for_you", "welcome"]
    time.sleep(0.35)
    assert proposed(engine) == ["welcome"]


def test_a_lease_that_ends_while_the_person_is_read_does_not_hold() -> None:
    """As for a process that is stopped between its look at the lease and the read."""
    engine = granted()
    # Read for long: each identity leads to all others, whose names differ at their end.
    names = ["ann", *(f"{'n' * 250}{number:02}" for number in range(40))]
    for first, second in itertools.combinations(names, 2):
        link(engine, first, second)
    engine.consents_until(steady_us() + 60 * SECOND)
    took_us = min(_took_us(engine) for _ in range(5))
    for _ in range(5):
        engine.consents_until(steady_us() + took_us // 4)
        found = answer(engine, "ann", "page", explain=False)
        assert [one.action for one in found.placements[0].propositions] == ["welcome"]
        assert list(found.degraded) == [STALE]


def _took_us(engine: Engine) -> int:
    begun_us = steady_us()
    assert not answer(engine, "ann", "page", explain=False).degraded
    return steady_us() - begun_us


def test_a_channel_that_can_be_left_is_closed_and_one_without_reasons_is_not() -> None:
    engine = granted()
    assert proposed(engine, placement="inbox")
    engine.consents_until(0)
    assert proposed(engine, placement="inbox") == []
    found = answer(engine, "ann", "inbox").explanations[0].candidates
    assert {one.fate for one in found} == {FATE}
    assert found[0].condition == (
        "do not contact email: not known here, the node's lease has run out"
    )


def test_a_playbook_without_consents_needs_no_lease() -> None:
    engine = engine_of(
        contact=None, actions={"welcome": {"value": 1}}, placements={"page": {"slots": 1}}
    )
    engine.consents_until(0)
    assert proposed(engine) == ["welcome"]
    assert not answer(engine, "ann", "page").degraded


def test_it_is_counted_and_said_for_a_batch() -> None:
    engine = granted()
    engine.consents_until(0)
    answer(engine, "ann", "page", explain=False)
    counts = engine.telemetry.decisions()
    assert counts.degraded == {"consent_stale": 1}
    assert counts.candidates["page", "consent_stale"] == 2
    assert ("page", "no_consent") not in counts.candidates
    one = decision_pb2.DecideRequest(identity=identity("ann"), placements=["page"])
    batch = decision_pb2.DecideBatchRequest(requests=[one, one])
    found = decision_pb2.DecideBatchResponse.FromString(
        engine.decide_batch(batch.SerializeToString(), steady_us())
    )
    assert list(found.degraded) == [STALE]
    assert [list(each.response.degraded) for each in found.results] == [[STALE], [STALE]]


def test_a_stale_decision_is_replayed_bit_for_bit(tmp_path: Path) -> None:
    engine = granted()
    engine.record(1.0, BUFFER_BYTES)
    for number in range(40):
        engine.consents_until(0 if number % 2 else steady_us() + 60 * SECOND)
        for placement in ("page", "inbox"):
            answer(engine, "ann", placement, explain=number % 3 == 0)
    engine.consents_until(steady_us() + 60 * SECOND)
    _, found = taken(engine)
    plan = plan_of()
    done = list(replay(found, Playbooks(tmp_path, {plan.hash: plan})))
    assert len(done) == 80
    assert [one for one in done if one.difference] == []
