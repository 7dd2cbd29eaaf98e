"""A playbook with purposes and channels, an engine that runs it, and what people say."""

from __future__ import annotations

import itertools
from typing import Any

from nextbest.core import Engine
from nextbest.core.playbook.plan import Plan
from nextbest.server.playbook.compile import Compiled
from nextbest.server.playbook.grants import upsert_of
from nextbest.v1 import common_pb2, decision_pb2, profile_pb2
from tests.playbook import compiled_of

SECOND = 1_000_000
NOW_US = 1_800_000_000 * SECOND
CONTACT: dict[str, Any] = {
    "purposes": {
        "email_marketing": {"basis": ["consent", "legitimate_interest"]},
        "profiling": {},
    },
    "channels": {"email": ["unsubscribed", "bounced"], "push": ["muted"], "web": []},
}
ACTIONS: dict[str, Any] = {
    "news": {"consents": "email_marketing", "value": 3},
    "for_you": {"consents": ["email_marketing", "profiling"], "value": 2},
    "welcome": {"value": 1},
}
PLACEMENTS: dict[str, Any] = {
    "page": {"slots": 4},
    "inbox": {"slots": 4, "channel": "email"},
}
_numbers = itertools.count()


def compiled(**parts: Any) -> Compiled:
    """The playbook; `contact`, `actions`, `placements` and `schema` replace its own."""
    files = {
        "schema.yaml": parts.get("schema", {"attributes": {"age": "int"}}),
        "contact.yaml": parts.get("contact", CONTACT),
        "actions.yaml": {"actions": parts.get("actions", ACTIONS)},
        "placements.yaml": {"placements": parts.get("placements", PLACEMENTS)},
    }
    return compiled_of(files)


def plan_of(**parts: Any) -> Plan:
    """Its plan; fails with the faults."""
    found = compiled(**parts)
    assert found.plan is not None, [str(fault) for fault in found.faults]
    return found.plan


def engine_of(**parts: Any) -> Engine:
    """A fresh engine that runs it."""
    engine = Engine(profiles_max=1_024, dedupe_max=1_024)
    engine.publish(plan_of(**parts))
    return engine


def identity(who: str) -> common_pb2.Identity:
    """A known identity of that id."""
    return common_pb2.Identity(kind=common_pb2.IDENTITY_KIND_KNOWN, id=who)


def request(
    who: str = "ann", status: str = "granted", **more: Any
) -> profile_pb2.SetConsentRequest:
    """What somebody says; times are microseconds since 1970."""
    for name in ("occurred_at", "expires_at"):
        if name in more:
            seconds, rest = divmod(more[name], SECOND)
            more[name] = {"seconds": seconds, "nanos": rest * 1_000}
    if "basis" in more:
        more["lawful_basis"] = f"LAWFUL_BASIS_{more.pop('basis').upper()}"
    more.setdefault("write_id", f"consent-{next(_numbers)}")
    return profile_pb2.SetConsentRequest(
        identity=identity(who), status=f"CONSENT_STATUS_{status.upper()}", **more
    )


def say(engine: Engine, who: str, status: str, now_us: int = NOW_US, **more: Any) -> None:
    """Let an engine know."""
    if status == "granted" and "purpose" in more:
        more.setdefault("basis", "consent")
    plan = engine.plan
    assert plan is not None
    upsert = upsert_of(request(who, status, **more), plan, now_us)
    engine.set_consent(upsert.SerializeToString(), now_us)


def link(engine: Engine, first: str, second: str, unlink: bool = False) -> None:
    """Make two identities one person's, or part them."""
    message = profile_pb2.LinkIdentityRequest(
        write_id=f"link-{next(_numbers)}",
        first=identity(first),
        second=identity(second),
        unlink=unlink,
    )
    engine.link(message.SerializeToString(), NOW_US)


def answer(
    engine: Engine, who: str, placement: str, now_us: int = NOW_US, explain: bool = True
) -> decision_pb2.DecideResponse:
    """A decision of an engine."""
    asked = decision_pb2.DecideRequest(
        identity=identity(who), placements=[placement], explain=explain
    )
    return decision_pb2.DecideResponse.FromString(engine.decide(asked.SerializeToString(), now_us))


def proposed(
    engine: Engine, who: str = "ann", placement: str = "page", now_us: int = NOW_US
) -> list[str]:
    """The actions of a placement, whether it is explained or not."""
    plain, explained = (
        [
            one.action
            for one in answer(engine, who, placement, now_us, explain).placements[0].propositions
        ]
        for explain in (False, True)
    )
    assert plain == explained
    return plain


def why(
    engine: Engine, who: str = "ann", placement: str = "page", now_us: int = NOW_US
) -> dict[str, str]:
    """The candidates without a consent, and what each lacks."""
    return {
        one.action: one.condition
        for one in answer(engine, who, placement, now_us).explanations[0].candidates
        if one.fate == decision_pb2.FATE_NO_CONSENT
    }


def profile(engine: Engine, who: str = "ann", now_us: int = NOW_US) -> profile_pb2.Profile:
    """What is known of somebody."""
    asked = profile_pb2.GetProfileRequest(identity=identity(who))
    found = engine.profile(asked.SerializeToString(), now_us)
    return profile_pb2.GetProfileResponse.FromString(found).profile
