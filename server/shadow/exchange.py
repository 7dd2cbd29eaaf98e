"""What the server and the shadow's process say to each other: plain data, pickled."""

from __future__ import annotations

from collections import Counter as Multiset
from collections.abc import Mapping
from typing import NamedTuple

from nextbest.core.playbook.plan import Attribute, Budget, Counter
from nextbest.server.record.whatif import Effect


class Start(NamedTuple):
    """Decide by this draft from now on, as `read_plan` takes it; answered with a Started."""

    plan: bytes


class Started(NamedTuple):
    """The draft is ready; `cpu_s` is what the process has used until then."""

    cpu_s: float


class NotStarted(NamedTuple):
    """The process is another one than that which was started with the draft."""


class Reads(NamedTuple):
    """What decisions by a playbook can read, as of its plan."""

    attributes: tuple[Attribute, ...]
    counters: tuple[Counter, ...]
    budgets: tuple[Budget, ...]


class Batch(NamedTuple):
    """Decide these records again; answered with a Compared, or a NotStarted.

    records: each behind its length.  cpu_s: after which no further one is begun.  playbooks:
    that decided some of them, and have not been told of before, by their hashes.
    """

    records: bytes
    cpu_s: float
    playbooks: Mapping[bytes, Reads]


class Compared(NamedTuple):
    """What came of a batch.

    decided: how many were tried, whatever came of it.  against: compared ones, by the hash of the
    playbook that decided.  cpu_s: since the answer before.
    """

    decided: int
    effect: Effect
    against: Multiset[bytes]
    cpu_s: float


class Failure(NamedTuple):
    """Our own mistake; `trace` is for the log."""

    trace: str
