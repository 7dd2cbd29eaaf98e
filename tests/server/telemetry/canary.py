"""A canary: values of attributes that are tagged `pii`, requests that carry them, and a search
for every form in which one might turn up where it must not.
"""

from __future__ import annotations

import base64
import importlib
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

import nextbest.v1
from nextbest.v1 import (
    common_pb2,
    decision_pb2,
    event_pb2,
    log_pb2,
    playbook_pb2,
    profile_pb2,
    server_pb2,
    telemetry_pb2,
    trace_pb2,
)

PLAYBOOK = Path(__file__).parents[2] / "cases" / "private"
TEXT = "kanarie.7c41f0@pii.example"
NUMBER = 7_041_977_004_123_456
DOUBLE = 704_197_700.412_345
# 1977-04-17 in seconds since 1970.
MOMENT_S = 230_083_459
# For numbers that are no attribute's: positions, limits, the moment to decide for.
FAR = 10**15
PACKAGE = "nextbest.v1"

# Any piece of these is as good as the whole.
_PIECES = ("kanarie", "7c41f0@pii", "41f0@pii.ex")
_DIGITS = ("7041977004123", "7.041977004", "704197700.41", "230083459", "1977-04-17t")


class Found(NamedTuple):
    """The canary, in one of its forms, with what stands around it."""

    form: str
    around: str


def search(told: str | bytes) -> Found | None:
    """The canary in a text or in bytes; None when it is not there."""
    text = told.decode("latin-1") if isinstance(told, bytes) else told
    for haystack, forms in ((text, _exact_forms()), (text.lower(), _forms())):
        for form in forms:
            if (at := haystack.find(form)) >= 0:
                return Found(form, text[max(0, at - 200) : at + 200])
    return None


def _exact_forms() -> Iterator[str]:
    """Base64, in which a piece looks three ways, by where it begins; both alphabets."""
    for piece in _PIECES:
        for before in range(3):
            encoded = base64.b64encode(b"\0" * before + piece.encode()).decode().rstrip("=")
            # The first and the last characters hold bits of what stands beside it.
            middle = encoded[(0, 2, 3)[before] : -1]
            yield middle
            yield middle.translate(str.maketrans("+/", "-_"))


def _forms() -> Iterator[str]:
    for piece in _PIECES:
        yield piece
        yield piece.replace("@", "%40")
        yield piece.replace("@", "\\u0040")
        yield piece.encode().hex()
        yield piece.encode().hex(" ")
        yield "".join(f"%{byte:02x}" for byte in piece.encode())
        yield "".join(f"\\x{byte:02x}" for byte in piece.encode())
        yield "".join(f"\\u{byte:04x}" for byte in piece.encode())
        yield ", ".join(str(byte) for byte in piece.encode())
    yield from _DIGITS
    yield f"{NUMBER:,}"
    yield f"{NUMBER:_}"
    yield f"{NUMBER:x}"
    for order in ("little", "big"):
        packed = NUMBER.to_bytes(8, order)  # type: ignore[arg-type]
        yield packed.hex()
        yield base64.b64encode(packed).decode().lower().rstrip("=")[:-1]


def _values() -> Iterator[common_pb2.Value]:
    """The canary in each kind of value, allowed, too long and out of bounds."""
    yield common_pb2.Value()
    yield common_pb2.Value(bool_value=True)
    for text in (TEXT, TEXT * 100, TEXT + "\0\n\U0001f424"):
        yield common_pb2.Value(string_value=text)
        yield common_pb2.Value(string_list=common_pb2.StringList(values=[text] * 2))
    yield common_pb2.Value(string_list=common_pb2.StringList(values=[TEXT] * 1_100))
    for number in (NUMBER, -NUMBER, (1 << 62) + NUMBER):
        yield common_pb2.Value(int_value=number)
    for double in (DOUBLE, float(NUMBER), NUMBER * 1e6, NUMBER * 1e280):
        yield common_pb2.Value(double_value=double)
    for vector in ([DOUBLE], [DOUBLE, DOUBLE], [DOUBLE, float("nan")], [DOUBLE] * 5_000):
        yield common_pb2.Value(vector=common_pb2.DoubleList(values=vector))
    for seconds, nanos in ((MOMENT_S, 0), (NUMBER, 0), (MOMENT_S, -1)):
        yield common_pb2.Value(timestamp_value=Timestamp(seconds=seconds, nanos=nanos))


VALUES = tuple(_values())


def identity(id: str = TEXT) -> common_pb2.Identity:
    return common_pb2.Identity(kind=common_pb2.IDENTITY_KIND_KNOWN, id=id)


def now() -> Timestamp:
    moment = Timestamp()
    moment.GetCurrentTime()
    return moment


def upsert(write_id: str = f"w-{TEXT}") -> profile_pb2.UpsertProfileRequest:
    """Sets every attribute of the playbook to the canary."""
    made = profile_pb2.UpsertProfileRequest(write_id=write_id, identity=identity())
    made.attributes["email"].string_value = TEXT
    made.attributes["phone"].int_value = NUMBER
    made.attributes["balance"].double_value = DOUBLE
    made.attributes["born"].timestamp_value.seconds = MOMENT_S
    made.attributes["aliases"].string_list.values.append(TEXT)
    made.attributes["face"].vector.values.extend([DOUBLE, DOUBLE])
    made.attributes["blocked"].bool_value = False
    return made


def decide(**more: Any) -> decision_pb2.DecideRequest:
    made = decision_pb2.DecideRequest(
        identity=identity(), placements=["home"], scores=["*"], segments=True, **more
    )
    for name, value in upsert().attributes.items():
        made.attributes[name].CopyFrom(value)
    made.context["email"].string_value = TEXT
    made.context["phone"].int_value = NUMBER
    return made


def track() -> event_pb2.TrackRequest:
    made = event_pb2.TrackRequest(event_id=f"e-{TEXT}", identity=identity(), event="signup")
    made.occurred_at.CopyFrom(now())
    made.decision_id = f"d-{TEXT}"
    made.properties["email"].string_value = TEXT
    made.properties["phone"].int_value = NUMBER
    made.properties["balance"].double_value = DOUBLE
    return made


def _publish() -> playbook_pb2.PublishPlaybookRequest:
    return playbook_pb2.PublishPlaybookRequest(
        write_id=f"p-{TEXT}", description=TEXT, files=_files()
    )


def _files() -> list[playbook_pb2.PlaybookFile]:
    return [
        playbook_pb2.PlaybookFile(path=one.name, content=one.read_bytes())
        for one in sorted(PLAYBOOK.iterdir())
    ]


# A right request of every call; a call without one fails the tests until it is added.
REQUESTS: dict[str, Callable[[], Message]] = {
    "DecisionService/Decide": lambda: decide(decision_id=f"d-{TEXT}", explain=True),
    "DecisionService/DecideBatch": lambda: decision_pb2.DecideBatchRequest(requests=[decide()]),
    "DecisionService/DecideStream": lambda: decision_pb2.DecideStreamRequest(request=decide()),
    "EventService/Track": track,
    "EventService/TrackStream": lambda: event_pb2.TrackStreamRequest(event=track()),
    "ProfileService/GetProfile": lambda: profile_pb2.GetProfileRequest(identity=identity()),
    "ProfileService/UpsertProfile": upsert,
    "ProfileService/LinkIdentity": lambda: profile_pb2.LinkIdentityRequest(
        write_id=f"l-{TEXT}", first=identity(), second=identity(f"b-{TEXT}")
    ),
    "ProfileService/EraseProfile": lambda: profile_pb2.EraseProfileRequest(
        write_id=f"x-{TEXT}", identity=identity()
    ),
    "ProfileService/SetConsent": lambda: profile_pb2.SetConsentRequest(
        write_id=f"c-{TEXT}",
        identity=identity(),
        purpose="mailing",
        status=profile_pb2.CONSENT_STATUS_GRANTED,
        source=TEXT,
    ),
    "ProfileService/ImportProfiles": lambda: profile_pb2.ImportProfilesRequest(
        profiles=[upsert("i-1"), upsert(f"i-{TEXT}")]
    ),
    "ProfileService/QueryProfiles": lambda: profile_pb2.QueryProfilesRequest(
        condition=f'profile.email == "{TEXT}" || profile.phone == {NUMBER}', profiles=True
    ),
    "PlaybookService/ValidatePlaybook": lambda: playbook_pb2.ValidatePlaybookRequest(
        files=_files()
    ),
    "PlaybookService/PublishPlaybook": _publish,
    "PlaybookService/ActivateGeneration": lambda: playbook_pb2.ActivateGenerationRequest(
        write_id=f"a-{TEXT}", target=1
    ),
    "PlaybookService/ListGenerations": playbook_pb2.ListGenerationsRequest,
    "PlaybookService/StartShadow": lambda: playbook_pb2.StartShadowRequest(
        draft=_publish(), share=1.0
    ),
    "PlaybookService/GetShadow": playbook_pb2.GetShadowRequest,
    "PlaybookService/StopShadow": lambda: playbook_pb2.StopShadowRequest(playbook_hash=TEXT),
    "PlaybookService/PromoteShadow": lambda: playbook_pb2.PromoteShadowRequest(playbook_hash=TEXT),
    "ServerService/GetServer": server_pb2.GetServerRequest,
    "LogService/GetLogStatus": lambda: log_pb2.GetLogStatusRequest(digest=True),
    "LogService/TakeSnapshot": log_pb2.TakeSnapshotRequest,
    "LogService/ReadSnapshot": log_pb2.ReadSnapshotRequest,
    "LogService/ReseedLog": log_pb2.ReseedLogRequest,
    "TelemetryService/GetSlo": telemetry_pb2.GetSloRequest,
    "TelemetryService/GetTelemetry": telemetry_pb2.GetTelemetryRequest,
    "TraceService/GetTrace": lambda: trace_pb2.GetTraceRequest(trace_id="ab" * 16),
    "TraceService/ListTraces": trace_pb2.ListTracesRequest,
}
# Their answers are what was asked for: people, or what a caller called a write.
ANSWERS_WITH_DATA = {
    "ProfileService/GetProfile",
    "ProfileService/LinkIdentity",
    "ProfileService/EraseProfile",
    "ProfileService/QueryProfiles",
    "PlaybookService/ListGenerations",
    # What the author said of the draft.
    "PlaybookService/GetShadow",
    "LogService/ReadSnapshot",
}
# What a caller named itself, and gets back.
ECHOES = {"decision_id", "write_id"}
# A playbook's files are the author's, who is told what is wrong where, with the text.
NOT_OF_PEOPLE = {"files"}

CONDITIONS = (
    f'profile.emial == "{TEXT}"',
    f'profile.email == "{TEXT}',
    f'profile.email = "{TEXT}"',
    f'profile.phone == "{TEXT}"',
    f"profile.email == {NUMBER}",
    f"profile.phone == {NUMBER}{NUMBER}",
    f"profile.phone == {NUMBER}.",
    f'profile.email.matches("{TEXT}[")',
    f'timestamp("{TEXT}") < now',
    f'duration("{TEXT}") < duration("1s")',
    f'"{TEXT}"',
    f'profile["{TEXT}"] == 1',
    f'int("{TEXT}") > 0',
    f"r'{TEXT}' + 1 == 2",
    f"profile.email == '''{TEXT}\n'' && true",
    f'profile.phone > 0 // {TEXT} "',
    f"{TEXT}",
    f'{{"{TEXT}": 1}} == 3',
    f'["{TEXT}"].exists(x, x == {NUMBER})',
    f'profile.email == b"{TEXT}"',
    f'profile.email.startsWith("{TEXT}", {NUMBER})',
    f'unknown("{TEXT}")',
    f'"{TEXT}" in profile.phone',
    "(" * 40 + f'"{TEXT}"' + ")" * 40,
    f'profile.email == "{TEXT * 400}"',
)


def calls() -> Iterator[tuple[str, MethodDescriptor]]:
    """Every call of the contract: `Service/Method` and what describes it."""
    for module in pkgutil.iter_modules(nextbest.v1.__path__):
        if not module.name.endswith("_pb2"):
            continue
        file = importlib.import_module(f"{PACKAGE}.{module.name}").DESCRIPTOR
        for service in file.services_by_name.values():
            for method in service.methods:
                yield f"{service.name}/{method.name}", method


def variants(name: str) -> Iterator[bytes]:
    """A call's right request, then with one field wrong at a time, then broken bytes."""
    right = REQUESTS[name]()
    yield right.SerializeToString()
    for changed in _changed(right):
        yield changed.SerializeToString()
    if name == "ProfileService/QueryProfiles":
        for condition in CONDITIONS:
            yield profile_pb2.QueryProfilesRequest(condition=condition).SerializeToString()
    yield from _broken(right.SerializeToString())


def without_echoes(answer: Message) -> Message:
    """An answer without the ids that the caller chose."""
    for field, value in answer.ListFields():
        if field.name in ECHOES:
            answer.ClearField(field.name)
        elif field.message_type and not _is_map(field):
            for one in value if field.is_repeated else [value]:
                without_echoes(one)
    return answer


def _broken(right: bytes) -> Iterator[bytes]:
    yield right[:-1]
    yield TEXT.encode()
    # A field that is not known, one of another wire type, and a text that is no UTF-8.
    yield right + b"\xfa\x3f" + bytes([len(TEXT)]) + TEXT.encode()
    yield right + b"\x09" + NUMBER.to_bytes(8, "little")
    yield right + b"\x0a" + bytes([len(TEXT) + 1]) + TEXT.encode() + b"\xff"
    yield right + b"\x0a\x7f" + TEXT.encode()


def _changed(message: Message, within: bool = False) -> Iterator[Message]:
    """With one field wrong; a message within another one has fewer kinds of values."""
    for field in message.DESCRIPTOR.fields:
        if field.name not in NOT_OF_PEOPLE:
            yield from _with_field(message, field, within)


def _with_field(message: Message, field: FieldDescriptor, within: bool) -> Iterator[Message]:
    if _is_map(field):
        yield from _with_entries(message, field, VALUES[::6] if within else VALUES)
    elif field.message_type:
        yield from _with_message(message, field)
    elif field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
        for text in (TEXT, TEXT * 40, TEXT + "\0"):
            yield _set(message, field, text.encode() if field.type == field.TYPE_BYTES else text)
    elif field.type in (field.TYPE_INT64, field.TYPE_UINT64, field.TYPE_FIXED64):
        yield _set(message, field, FAR)
    elif field.type == field.TYPE_ENUM:
        yield _set(message, field, 77)


def _with_entries(
    message: Message, field: FieldDescriptor, values: Sequence[common_pb2.Value]
) -> Iterator[Message]:
    for name in getattr(message, field.name):
        for value in values:
            copy = _copy(message)
            getattr(copy, field.name)[name].CopyFrom(value)
            yield copy
    for name in (TEXT, "emial", TEXT * 40):
        for value in values[:3]:
            copy = _copy(message)
            getattr(copy, field.name)[name].CopyFrom(value)
            yield copy


def _with_message(message: Message, field: FieldDescriptor) -> Iterator[Message]:
    if field.message_type.full_name == Timestamp.DESCRIPTOR.full_name:
        for moment in (Timestamp(seconds=FAR), Timestamp(seconds=1, nanos=-1)):
            copy = _copy(message)
            getattr(copy, field.name).CopyFrom(moment)
            yield copy
        return
    held = getattr(message, field.name)
    if field.is_repeated and not held:
        return
    for changed in _changed(held[0] if field.is_repeated else held, True):
        copy = _copy(message)
        (getattr(copy, field.name)[0] if field.is_repeated else getattr(copy, field.name)).CopyFrom(
            changed
        )
        yield copy


def _set(message: Message, field: FieldDescriptor, value: Any) -> Message:
    copy = _copy(message)
    if field.is_repeated:
        getattr(copy, field.name).extend([value, value])
    else:
        setattr(copy, field.name, value)
    return copy


def _copy(message: Message) -> Message:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _is_map(field: FieldDescriptor) -> bool:
    return bool(field.message_type and field.message_type.GetOptions().map_entry)
