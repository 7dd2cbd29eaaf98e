"""The official protobuf runtime as a judge: what a message says, in canonical bytes.

upb, the runtime under Python, treats a map's entry with a field it does not know as unknown
itself and drops it; the C++, Java and pure Python runtimes drop the field and keep the entry,
and so does the engine.  So maps are read here as what they are on the wire: repeated messages.
upb also writes a name after the longer names that begin with it; the others, and the engine,
write the shorter name first.  So bytes are compared in upb's order.
"""

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message

from nextbest.v1 import decision_pb2, event_pb2, mutation_pb2, profile_pb2

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
    plain = PLAIN[kind].FromString(data)
    plain.DiscardUnknownFields()
    # The last entry of a name wins when the real message reads them.
    return KINDS[kind].FromString(plain.SerializeToString()).SerializeToString(deterministic=True)


def agrees(kind: str, seen: bytes, expected: bytes) -> bool:
    """Whether the engine's canonical bytes are the runtime's, but for the order in maps."""
    again = KINDS[kind].FromString(seen).SerializeToString(deterministic=True)
    return again == expected and len(seen) == len(expected)


def over_bound(message: Message) -> bool:
    """Whether a list or map of the message is longer than the engine takes."""
    if isinstance(message, decision_pb2.DecideBatchRequest):
        return len(message.requests) > 1000 or any(map(over_bound, message.requests))
    if isinstance(message, mutation_pb2.Mutation):
        body = message.WhichOneof("body")
        return body is not None and over_bound(getattr(message, body))
    bounds = {"placements": 32, "scores": 64, "context": 256, "attributes": 256, "properties": 256}
    return any(len(getattr(message, name, ())) > most for name, most in bounds.items())


def _without_maps(message: descriptor_pb2.DescriptorProto) -> None:
    for nested in message.nested_type:
        nested.options.ClearField("map_entry")
        _without_maps(nested)


def _add(pool: DescriptorPool, file: FileDescriptor, added: set[str]) -> None:
    if file.name in added:
        return
    added.add(file.name)
    for needed in file.dependencies:
        _add(pool, needed, added)
    proto = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(proto)
    for message in proto.message_type:
        _without_maps(message)
    pool.Add(proto)


def _plain_kinds() -> dict[str, type[Message]]:
    """The messages again, with their maps as repeated messages."""
    pool = DescriptorPool()
    added: set[str] = set()
    for kind in KINDS.values():
        _add(pool, kind.DESCRIPTOR.file, added)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(kind.DESCRIPTOR.full_name))
        for name, kind in KINDS.items()
    }


PLAIN = _plain_kinds()
