"""Writes the fuzzer's first corpus: the odd messages of the tests and generated ones."""

import hashlib
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import official
import wire
from test_codec import CASES

# The order in which codec.cpp has the messages.
ORDER = (
    "DecideRequest",
    "TrackRequest",
    "DecideBatchRequest",
    "UpsertProfileRequest",
    "LinkIdentityRequest",
    "GetProfileRequest",
    "Mutation",
)
EACH = 100


def seeds() -> list[bytes]:
    source = random.Random(1)
    odd = [(kind, data) for kind, data in CASES.values()]
    made = [
        (kind, wire.message(official.KINDS[kind].DESCRIPTOR, source))
        for kind in ORDER
        for _ in range(EACH)
    ]
    # A multiple of seven above 0x80 asks for the small arena too.
    return [
        bytes([ORDER.index(kind) + small]) + data for kind, data in odd + made for small in (0, 133)
    ]


def main(folder: Path) -> None:
    for seed in seeds():
        (folder / hashlib.sha1(seed).hexdigest()).write_bytes(seed)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
