"""Answers: what a span says of a call.  Names of the playbook and numbers, nobody's data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from google.rpc import code_pb2
from opentelemetry.util.types import AttributeValue

from nextbest.server.telemetry.methods import CODES, full_name
from nextbest.v1 import common_pb2, decision_pb2, event_pb2

if TYPE_CHECKING:
    from nextbest.core.engine import KeptCall

Attributes = dict[str, AttributeValue]
# Of a batch: entries that a span tells of one by one, and names of one attribute.
ENTRIES_MAX = 32
NAMES_MAX = 32

Answer = decision_pb2.DecideResponse | decision_pb2.DecideBatchResponse | event_pb2.TrackResponse
ANSWERS: Mapping[str, type[Answer]] = {
    "Decide": decision_pb2.DecideResponse,
    "DecideBatch": decision_pb2.DecideBatchResponse,
    "Track": event_pb2.TrackResponse,
}


def answer_of(call: KeptCall) -> Answer | None:
    """The response, as far as it was kept; None for an error and for other methods."""
    if call.code or call.method not in ANSWERS:
        return None
    kept = call.answer[: _whole_fields(call.answer)] if call.answer_cut else call.answer
    return ANSWERS[call.method].FromString(kept)


def about(call: KeptCall, answer: Answer | None) -> Attributes:
    """What its span says of a call and its answer as a whole."""
    code = CODES[call.code]
    found: Attributes = {
        "rpc.system.name": "grpc",
        "rpc.method": full_name(call.method),
        "rpc.response.status_code": code,
        "nextbest.lane": call.lane,
        "nextbest.kept_for": list(call.reasons),
    }
    if call.code:
        found["error.type"] = code
    if call.reason:
        found["nextbest.error.reason"] = call.reason
    if call.answer_cut:
        found["nextbest.answer_cut"] = True
    return found | _attributes(answer) if answer is not None else found


def _attributes(answer: Answer) -> Attributes:
    found: Attributes = {
        "nextbest.generation": answer.generation,
        "nextbest.position": f"{answer.position.epoch}-{answer.position.sequence}",
        "nextbest.staleness_ms": answer.staleness_ms,
    }
    if isinstance(answer, event_pb2.TrackResponse):
        found["nextbest.duplicate"] = answer.duplicate
        found["nextbest.ack"] = common_pb2.AckLevel.Name(answer.ack).removeprefix("ACK_LEVEL_")
    else:
        found |= _degradations(answer)
    if isinstance(answer, decision_pb2.DecideResponse):
        found |= _decided(answer)
    return found


def entries(answer: Answer) -> Iterator[Attributes]:
    """Of each decision of a batch."""
    if not isinstance(answer, decision_pb2.DecideBatchResponse):
        return
    for number, result in enumerate(answer.results):
        about: Attributes = {"nextbest.batch.index": number}
        if result.HasField("error"):
            about["error.type"] = code_pb2.Code.Name(result.error.code)
        else:
            about |= _decided(result.response) | _degradations(result.response)
        yield about


def _decided(answer: decision_pb2.DecideResponse) -> Attributes:
    placements = answer.placements[:NAMES_MAX]
    propositions = [one for each in placements for one in each.propositions][:NAMES_MAX]
    return {
        "nextbest.placements": [each.placement for each in placements],
        "nextbest.actions": [one.action for one in propositions],
    }


def _degradations(
    answer: decision_pb2.DecideResponse | decision_pb2.DecideBatchResponse,
) -> Attributes:
    kinds = [_degradation(kind) for kind in answer.degraded[:NAMES_MAX]]
    return {"nextbest.degraded": kinds} if kinds else {}


def _degradation(kind: int) -> str:
    # A kind of a later version has no name here.
    try:
        return common_pb2.Degradation.Name(kind).removeprefix("DEGRADATION_")
    except ValueError:
        return str(kind)


def _whole_fields(message: bytes) -> int:
    """Where the last field ends that a cut message has whole."""
    end = at = 0
    while (at := _field_end(message, at)) >= 0:
        end = at
    return end


def _field_end(message: bytes, at: int) -> int:
    """Where the field ends that begins there; -1 when it is not whole, or there is none."""
    tag, at = _varint(message, at)
    kind = tag & 7
    if kind == 2:
        length, at = _varint(message, at)
        at += length if at >= 0 else 0
    elif kind == 0:
        _, at = _varint(message, at)
    elif kind in {1, 5} and at >= 0:
        at += 8 if kind == 1 else 4
    return at if 0 <= at <= len(message) else -1


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The number there and where it ends; -1 when it is not whole."""
    value = shift = 0
    while 0 <= at < len(message):
        value |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if message[at - 1] < 0x80:
            return value, at
    return 0, -1
