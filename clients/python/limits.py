"""The deadlines of the calls, in seconds: the defaults, and what a caller may give."""

from __future__ import annotations

from numbers import Real

DECIDE_S = 1.0
BATCH_S = 5.0
WRITE_S = 2.0
# A revocation and an erasure wait for every node, at most for a lease (`log.consent_lease_ms`).
CONSENT_S = 10.0
PUBLISH_S = 60.0
LONG_S = 600.0
# gRPC takes a deadline that its clock cannot hold for one that has passed.
TIMEOUT_S_MAX = 31_536_000.0


def seconds(timeout: object) -> float:
    """A caller's `timeout`; raises TypeError or ValueError for one that no call can have."""
    allowed = f"seconds, above 0 to {TIMEOUT_S_MAX:,.0f}"
    if not isinstance(timeout, Real) or isinstance(timeout, bool):
        raise TypeError(f"timeout: {timeout!r}, allowed: {allowed}")
    given = float(timeout)
    if not 0 < given <= TIMEOUT_S_MAX:
        raise ValueError(f"timeout: {timeout!r}, allowed: {allowed}")
    return given


def seconds_or_none(timeout: object) -> float | None:
    """The same of a stream, which may have no deadline: None."""
    return None if timeout is None else seconds(timeout)
