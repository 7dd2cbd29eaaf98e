"""Consents as they are written: a SetConsentRequest, checked and packed into a hidden attribute.

core/decide/consent.pyx says how an attribute holds one.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from nextbest.core.errors import InvalidRequestError, UnknownNameError
from nextbest.core.playbook.plan import Plan
from nextbest.server.playbook.faults import one_of, shown
from nextbest.server.playbook.limits import NAME
from nextbest.v1 import profile_pb2

# The lawful bases as an author writes them.
BASES: Final = {
    name.removeprefix("LAWFUL_BASIS_").lower(): int(number)
    for name, number in profile_pb2.LawfulBasis.items()
    if number
}
SOURCE_BYTES_MAX: Final = 128
# The last moment there is, in microseconds since 1970; as the core has it.
_FAR_US: Final = 253_402_300_799_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_GRANTED: Final = profile_pb2.CONSENT_STATUS_GRANTED
_NO_BASIS: Final = profile_pb2.LAWFUL_BASIS_UNSPECIFIED
_STATUSES: Final = {
    number: name.removeprefix("CONSENT_STATUS_").lower()
    for name, number in profile_pb2.ConsentStatus.items()
    if number
}
_BASIS_NAMES: Final = {number: name for name, number in BASES.items()}


def upsert_of(
    request: profile_pb2.SetConsentRequest, plan: Plan, now_us: int
) -> profile_pb2.UpsertProfileRequest:
    """The write of a consent; what the engine checks of every write is not checked here.

    Raises InvalidRequestError and UnknownNameError for what is the consent's own.
    """
    if request.status not in _STATUSES:
        seen = "unset" if not request.status else str(request.status)
        raise InvalidRequestError("status", seen, ", ".join(_STATUSES.values()))
    if len(request.source.encode()) > SOURCE_BYTES_MAX:
        seen = f"{len(request.source.encode())} bytes"
        raise InvalidRequestError("source", seen, f"at most {SOURCE_BYTES_MAX} bytes")
    _check_moment(request, now_us)
    purpose = request.WhichOneof("subject") == "purpose"
    attribute, text = (_purpose if purpose else _channel)(request, plan, now_us)
    upsert = profile_pb2.UpsertProfileRequest(
        write_id=request.write_id, identity=request.identity, ack=request.ack
    )
    if request.HasField("occurred_at"):
        upsert.occurred_at.CopyFrom(request.occurred_at)
    name = plan.attributes[attribute].name
    upsert.attributes[name].string_value = text + request.source
    return upsert


def _purpose(request: profile_pb2.SetConsentRequest, plan: Plan, now_us: int) -> tuple[int, str]:
    """The attribute of a purpose, and what it is to hold."""
    purposes = {one.name: one for one in plan.purposes}
    if request.purpose not in purposes:
        _check_no_channel(request, plan)
        raise _unknown("purpose", request.purpose, purposes)
    if request.reason:
        raise InvalidRequestError("reason", "a text", "none for a purpose")
    purpose = purposes[request.purpose]
    basis = _basis(request, purpose.bases)
    left = 0
    if request.HasField("expires_at"):
        left = _FAR_US - _expiry(request, now_us)
    return purpose.attribute, f"{request.status}{left:018d}{basis}"


def _check_no_channel(request: profile_pb2.SetConsentRequest, plan: Plan) -> None:
    """A channel in the place of a purpose lacks its reason."""
    for channel in plan.channels:
        if channel.name == request.purpose and channel.reasons:
            allowed = f"{', '.join(sorted(channel.reasons))} for the channel {channel.name}"
            raise InvalidRequestError("reason", "unset", allowed)


def _channel(request: profile_pb2.SetConsentRequest, plan: Plan, _now_us: int) -> tuple[int, str]:
    """The attribute of a channel's reason, and what it is to hold."""
    if request.WhichOneof("subject") is None:
        raise InvalidRequestError("purpose", "unset", "a purpose, or a channel")
    channels = {one.name: one for one in plan.channels}
    if request.channel not in channels:
        raise _unknown("channel", request.channel, channels)
    channel = channels[request.channel]
    if request.reason not in channel.reasons:
        raise _unknown("reason", request.reason, channel.reasons)
    if request.lawful_basis != _NO_BASIS:
        raise InvalidRequestError("lawful_basis", "a basis", "none for a channel")
    if request.HasField("expires_at"):
        raise InvalidRequestError("expires_at", "a time", "none for a channel")
    attribute = channel.attributes[channel.reasons.index(request.reason)]
    return attribute, f"{request.status}{0:018d}{_NO_BASIS}"


def _unknown(field: str, name: str, known: Iterable[str]) -> InvalidRequestError:
    names = sorted(known)
    nothing = f"none: the playbook's contact.yaml has no {field}s"
    which = ""
    if field == "channel":
        # A plan has no others, which contact.yaml may name all the same.
        nothing = "none: no channel has reasons in the playbook's contact.yaml"
        which = "one with reasons in contact.yaml: " if names else ""
    allowed = which + one_of(name, names, nothing)
    if not name:
        return InvalidRequestError(field, "empty", allowed)
    # What is no name may be somebody's, and an error ends in the logs of callers.
    seen = shown(name) if NAME.fullmatch(name) else f"{len(name.encode())} bytes that are no name"
    return UnknownNameError(field, seen, allowed)


def _basis(request: profile_pb2.SetConsentRequest, allowed: tuple[int, ...]) -> int:
    """The basis named, or the only one there is; none for what is not granted."""
    basis = int(request.lawful_basis)
    if basis == _NO_BASIS and request.status != _GRANTED:
        return basis
    if basis == _NO_BASIS and len(allowed) == 1:
        return allowed[0]
    if basis not in allowed:
        seen = _BASIS_NAMES.get(basis, str(basis)) if basis else "unset"
        names = ", ".join(_BASIS_NAMES[one] for one in allowed)
        raise InvalidRequestError("lawful_basis", seen, f"{names} for {request.purpose}")
    return basis


def _check_moment(request: profile_pb2.SetConsentRequest, now_us: int) -> None:
    """What is granted ahead of the clock would stand against a revocation that is said now."""
    if request.status != _GRANTED or not request.HasField("occurred_at"):
        return
    occurred = _us("occurred_at", request.occurred_at)
    if occurred > now_us:
        allowed = f"until {_date(now_us)}, the server's clock, or unset, for granted"
        raise InvalidRequestError("occurred_at", _date(occurred), allowed)


def _expiry(request: profile_pb2.SetConsentRequest, now_us: int) -> int:
    """When it ends, in microseconds since 1970."""
    if request.status != _GRANTED:
        seen = f"a time, with {_STATUSES[request.status]}"
        raise InvalidRequestError("expires_at", seen, "unset, or granted")
    expires = _us("expires_at", request.expires_at)
    occurred = now_us
    if request.HasField("occurred_at"):
        occurred = _us("occurred_at", request.occurred_at)
    if expires <= occurred:
        allowed = f"after {_date(occurred)}, when it occurred"
        raise InvalidRequestError("expires_at", _date(expires), allowed)
    return expires


def _date(moment_us: int) -> str:
    moment = _EPOCH + timedelta(microseconds=moment_us)
    return moment.isoformat().replace("+00:00", "Z")


def _us(field: str, time: Timestamp) -> int:
    found = time.seconds * 1_000_000 + time.nanos // 1_000
    if not 0 <= time.nanos < 1_000_000_000 or not 0 <= found < _FAR_US:
        seen = f"{time.seconds} s, {time.nanos} ns"
        raise InvalidRequestError(field, seen, "a time from 1970 to 9999")
    return found
