"""The official protobuf runtime as a judge: what a message says, in canonical bytes.

Where upb, the runtime under Python, stands alone, the engine does as the C++ runtime does:

- upb drops a map's entry with a field that it does not know; others drop the field alone.  So
  maps are read here as what they are on the wire, repeated messages.
- upb writes a name after the longer names that begin with it, others before.  So bytes are
  compared in upb's order.
- upb takes the field number 0, which is illegal, inside a group.
"""

from collections.abc import Iterator

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from nextbest.v1 import decision_pb2, event_pb2, mutation_pb2, profile_pb2

GROUP = 3

KINDS: dict[str, type[Message]] = {
    kind.DESCRIPTOR.name: kind
    for kind in (
        decision_pb2.DecideRequest,
        decision_pb2.DecideBatchRequest,
        event_pb2.TrackRequest,
        profile_pb2.UpsertProfileRequest,
        profile_pb2.LinkIdentityRequest,
        profile_pb2.GetProfileRequest,
        mutation_pb2.Mutation,
    )
}


def canonical(kind: str, data: bytes) -> bytes | None:
    """What the runtime reads without what it does not know, written again; None if malformed."""
    try:
        KINDS[kind].FromString(data)
    except DecodeError:
        return None
    if 0 in _unknown_numbers(LOOSE[kind].FromString(data)):
        return None
    plain = PLAIN[kind].FromString(data)
    plain.DiscardUnknownFields()
    # The last entry of a name wins when the real message reads them.
    return KINDS[kind].FromString(plain.SerializeToString()).SerializeToString(deterministic=True)


def _unknown_numbers(message: Message | UnknownFieldSet) -> Iterator[int]:
    """The numbers of the fields that the runtime does not know, at any depth."""
    unknown = UnknownFieldSet(message) if isinstance(message, Message) else message
    for field in unknown:
        yield field.field_number
        if field.wire_type == GROUP:
            yield from _unknown_numbers(field.data)
    if isinstance(message, Message):
        for known, value in message.ListFields():
            if known.message_type is not None:
                for inner in value if known.is_repeated else [value]:
                    yield from _unknown_numbers(inner)


def agrees(kind: str, seen: bytes, expected: bytes) -> bool:
    """Whether the engine's canonical bytes are the runtime's, but for the order in maps."""
    again = KINDS[kind].FromString(seen).SerializeToString(deterministic=True)
    return again == expected and len(seen) == len(expected)


def over_bound(message: Message) -> bool:
    """Whether the engine does not take the message, or a list or map of it is longer than it takes.

    Publications and activations are the catalogue's: the engine hands them on unread.
    """
    if isinstance(message, decision_pb2.DecideBatchRequest):
        return len(message.requests) > 1000 or any(map(over_bound, message.requests))
    if isinstance(message, mutation_pb2.Mutation):
        body = message.WhichOneof("body")
        if body in ("publication", "activation"):
            return True
        return body is not None and over_bound(getattr(message, body))
    bounds = {"placements": 32, "scores": 64, "context": 256, "attributes": 256, "properties": 256}
    return any(len(getattr(message, name, ())) > most for name, most in bounds.items())


def _simplify(message: descriptor_pb2.DescriptorProto, oneofs: bool) -> None:
    """Make maps repeated messages and, unless `oneofs`, let a oneof have many fields set."""
    for nested in message.nested_type:
        nested.options.ClearField("map_entry")
        _simplify(nested, oneofs)
    if not oneofs:
        message.ClearField("oneof_decl")
        for field in message.field:
            field.ClearField("oneof_index")
            field.ClearField("proto3_optional")


def _add(pool: DescriptorPool, file: FileDescriptor, added: set[str], oneofs: bool) -> None:
    if file.name in added:
        return
    added.add(file.name)
    for needed in file.dependencies:
        _add(pool, needed, added, oneofs)
    proto = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(proto)
    for message in proto.message_type:
        _simplify(message, oneofs)
    pool.Add(proto)


def _simpler_kinds(oneofs: bool) -> dict[str, type[Message]]:
    pool = DescriptorPool()
    added: set[str] = set()
    for kind in KINDS.values():
        _add(pool, kind.DESCRIPTOR.file, added, oneofs)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(kind.DESCRIPTOR.full_name))
        for name, kind in KINDS.items()
    }


PLAIN = _simpler_kinds(oneofs=True)
LOOSE = _simpler_kinds(oneofs=False)
