"""What the server and its compiling process say to each other: plain data, pickled.

Needs neither CEL nor YAML, so that the server can read it without loading them.
"""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from nextbest.core.playbook.plan import Plan
from nextbest.server.collector import paused
from nextbest.server.playbook.faults import Fault

PICKLE_PROTOCOL = 5
ZLIB_LEVEL = 1


class Compile(NamedTuple):
    """Compile a playbook of these packed files; answered with a Compilation."""

    files: bytes


class Ask(NamedTuple):
    """Compile a condition against the playbook of a plan's hash.

    Answered with a Code, a Refusal, or a Forgotten when its packed `files` are needed.
    """

    playbook: bytes
    condition: str
    files: bytes = b""


class Compilation(NamedTuple):
    """A compiled playbook; `hash` and `plan` are empty when one of `faults` is an error.

    `plan` is for `read_plan`: whoever only validates is spared the reading.
    """

    hash: bytes
    plan: bytes
    faults: tuple[Fault, ...]


class Refusal(NamedTuple):
    """The caller's mistake, as an InvalidRequestError has it."""

    field: str
    seen: str
    allowed: str


class Forgotten(NamedTuple):
    """The process does not have the playbook at hand."""


class Failure(NamedTuple):
    """Our own mistake; `trace` is for the log."""

    trace: str


def write_plan(plan: Plan) -> bytes:
    """The plan as `read_plan` takes it."""
    return pickle.dumps(plan, PICKLE_PROTOCOL)


def read_plan(written: bytes) -> Plan:
    """The plan again, made in any thread.

    The collector, which would hold decisions up, rests meanwhile: a plan has no cycles.
    """
    with paused:
        plan: Plan = pickle.loads(written)
    return plan


def pack(files: Mapping[str, bytes]) -> bytes:
    """The files as they travel and are kept: YAML shrinks to about a tenth."""
    return zlib.compress(pickle.dumps(dict(files), PICKLE_PROTOCOL), ZLIB_LEVEL)


def unpack(packed: bytes) -> dict[str, bytes]:
    """The files again; only for what `pack` made."""
    files: dict[str, bytes] = pickle.loads(zlib.decompress(packed))
    return files
