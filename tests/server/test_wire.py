"""The hand-made framing agrees with the protobuf runtime and refuses the rest."""

from __future__ import annotations

import random

import pytest
from google.protobuf.message import DecodeError

from nextbest.core.errors import InvalidRequestError
from nextbest.server.rpc.wire import split, unwrap, wrap
from nextbest.v1 import decision_pb2, profile_pb2


@pytest.mark.parametrize("size", [0, 1, 127, 128, 300, 20_000, 3_000_000])
def test_wrap_is_what_protobuf_reads(size: int) -> None:
    inner = decision_pb2.DecideRequest(decision_id="x" * size)
    outer = decision_pb2.DecideStreamRequest(request=inner)
    assert wrap(1, inner.SerializeToString()) == outer.SerializeToString()
    assert unwrap(outer.SerializeToString()) == inner.SerializeToString()


def test_a_repeated_field_is_merged() -> None:
    first = decision_pb2.DecideRequest(decision_id="a", seed=1).SerializeToString()
    second = decision_pb2.DecideRequest(decision_id="b").SerializeToString()
    merged = decision_pb2.DecideRequest.FromString(unwrap(wrap(1, first) + wrap(1, second)))
    assert (merged.decision_id, merged.seed) == ("b", 1)


def test_unknown_fields_are_skipped() -> None:
    message = b"\x50\x96\x01" + b"\x59" + b"8" * 8 + b"\x65" + b"4" * 4 + b"\x53\x08\x01\x54"
    assert unwrap(message + wrap(1, b"in") + wrap(3, b"other")) == b"in"


def test_random_bytes_are_read_or_refused_as_protobuf_does() -> None:
    """What we take, protobuf takes, but for its own rules on strings and inner messages."""
    random_ = random.Random(7)
    taken = 0
    for _ in range(20_000):
        data = bytes(random_.choices((0, 1, 2, 8, 10, 13, 18, 128, 255), k=random_.randrange(12)))
        try:
            parts = split(data)
        except InvalidRequestError:
            with pytest.raises(DecodeError):
                profile_pb2.ImportProfilesRequest.FromString(data)
        else:
            taken += len(parts) > 0
    assert taken > 10


def test_too_many_entries_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="at most 3"):
        split(wrap(1, b"") * 4, 1, 3)
