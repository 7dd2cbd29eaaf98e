"""The types of the compiled generator."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

NGHTTP2_VERSION: str

class Patch(NamedTuple):
    kind: int
    offset: int
    width: int

class PlanLike(Protocol):
    """What a run is told; times in nanoseconds, numbers within the bounds of `Settings`."""

    @property
    def cpu(self) -> int: ...  # -1: not pinned
    @property
    def targets(self) -> Sequence[tuple[bytes, bool, bytes]]: ...  # sockaddr, TCP, authority
    @property
    def paths(self) -> Sequence[bytes]: ...
    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]: ...
    @property
    def bodies(self) -> Sequence[tuple[int, bytes, Sequence[tuple[int, int, int]]]]: ...
    @property
    def parts(self) -> Sequence[tuple[int, int, int]]: ...  # weight, first body, bodies

class Generator:
    """One run; `run` is called once, on a thread that has nothing else to do."""

    def __init__(self, plan: PlanLike) -> None: ...
    def run(self) -> None:
        """Connect, send, wait for the answers; the GIL is released.  OSError: no CPU or epoll."""
    def stop(self) -> None:
        """End the run soon; any thread."""
    def failures(self) -> list[tuple[int, int]]:
        """(number of the target, errno) of each wanted connection that is not open."""
    def progress(self) -> dict[str, Any]:
        """Where the run is; any thread."""
    def intervals(self, first: int = 0) -> list[tuple[int, int, int, int, int, int, int]]:
        """(start_ns, count, failed, p50, p90, p99, most) of intervals, by when calls were due."""
    @property
    def interval_ns(self) -> int:
        """How long an interval is."""
    def parts(self) -> list[dict[str, Any]]:
        """What came of each part: calls, failed, answer sizes, latencies, buckets."""
    def counts(self) -> dict[str, int]:
        """Everything that was counted, by name."""
    def statuses(self) -> list[int]:
        """How many calls ended with each of gRPC's status codes, 0 to 16."""
    def errors(self) -> list[tuple[int, bytes, int]]:
        """(status, message, count) of what was not OK."""
    def details(self) -> list[tuple[int, int, int]]:
        """(due_ns, latency_ns, status) of the first calls that ended."""

def probe(cpu: int, span_ns: int) -> tuple[int, int, int, int]:
    """Spin on a CPU: nanoseconds watched, lost in gaps of over 20 us, the longest, their number.

    The calling thread is pinned to the CPU.  OSError: no such CPU.
    """

def due_times(
    kind: int, rate: float, rate_from: float, span_s: float, seed: int, count: int
) -> list[float]:
    """The first moments of a schedule, in seconds; fewer when it ends before."""

def draws(kind: int, profiles: int, exponent: float, seed: int, count: int) -> list[int]:
    """The first profile numbers of a distribution."""

def event_ids(count: int) -> list[str]:
    """Fresh event ids, as the generator makes them."""
