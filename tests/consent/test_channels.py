"""Do not contact: a channel is closed by any reason, and only for being contacted."""

from __future__ import annotations

from typing import Any

import pytest

from nextbest.core import Engine
from tests.consent.people import NOW_US, engine_of, profile, proposed, say, why

MAIL = {"name": "mail", "channels": "email"}
PUSH = {"name": "push", "channels": "push"}
BOTH = {"name": "both", "channels": ["email", "push"]}


@pytest.fixture
def engine() -> Engine:
    return engine_of(actions={"welcome": {}, "news": {"value": 2}})


def close(engine: Engine, channel: str, reason: str, status: str = "denied") -> None:
    say(engine, "ann", status, channel=channel, reason=reason)


def test_a_closed_channel_shows_nothing_and_others_go_on(engine: Engine) -> None:
    close(engine, "email", "unsubscribed")
    assert proposed(engine, placement="inbox") == []
    closed = "do not contact email: unsubscribed"
    assert why(engine, placement="inbox") == {"news": closed, "welcome": closed}
    assert proposed(engine) == ["news", "welcome"]
    assert proposed(engine, "bob", "inbox") == ["news", "welcome"]


def test_each_reason_stands_for_itself(engine: Engine) -> None:
    close(engine, "email", "unsubscribed")
    close(engine, "email", "bounced", "revoked")
    close(engine, "email", "unsubscribed", "granted")
    assert why(engine, placement="inbox")["news"] == "do not contact email: bounced"
    close(engine, "email", "bounced", "granted")
    assert proposed(engine, placement="inbox") == ["news", "welcome"]
    assert [one.reason for one in profile(engine).channel_consents] == ["bounced", "unsubscribed"]


@pytest.mark.parametrize(
    ("treatments", "closed", "expected"),
    [
        ([MAIL], ["email"], None),
        ([MAIL, PUSH], ["email"], "push"),
        ([MAIL, PUSH], ["email", "push"], None),
        ([BOTH], ["email"], "both"),
        ([BOTH], ["email", "push"], None),
        ([MAIL], ["push"], "mail"),
        ([MAIL, {"name": "any"}], ["email"], "any"),
        ([{"name": "wide", "channels": ["email", "web"]}], ["email"], "wide"),
    ],
    ids=range(8),
)
def test_where_a_placement_has_no_channel_treatments_of_closed_ones_are_left_out(
    treatments: list[Any], closed: list[str], expected: str | None
) -> None:
    engine = engine_of(actions={"news": {"treatments": treatments}})
    reasons = {"email": "bounced", "push": "muted"}
    for channel in closed:
        close(engine, channel, reasons[channel])
    if expected is None:
        first = closed[0]
        assert why(engine) == {"news": f"do not contact {first}: {reasons[first]}"}
        assert proposed(engine) == []
    else:
        assert proposed(engine) == ["news"]


def test_a_fallback_does_not_open_a_closed_channel() -> None:
    placements = {"inbox": {"channel": "email", "fallback": "welcome"}}
    engine = engine_of(actions={"welcome": {}}, placements=placements)
    assert proposed(engine, placement="inbox") == ["welcome"]
    close(engine, "email", "bounced")
    assert proposed(engine, placement="inbox") == []


def test_what_is_dropped_is_counted(engine: Engine) -> None:
    close(engine, "email", "bounced")
    assert proposed(engine, placement="inbox") == []
    counts = engine.telemetry.decisions().candidates
    # Two candidates, asked twice.
    assert counts["inbox", "no_consent"] == 4


def test_a_time_in_the_past_is_of_no_use_to_open_a_channel(engine: Engine) -> None:
    close(engine, "email", "bounced")
    say(engine, "ann", "granted", channel="email", reason="bounced", occurred_at=NOW_US - 1_000_000)
    assert proposed(engine, placement="inbox") == []
