"""Results: what methods of the engine give back, by name."""

from typing import NamedTuple


class RecordCounts(NamedTuple):
    """Decision records: kept, and dropped because the buffer was full; bytes that the sink could
    not keep, and bytes that wait for it.
    """

    kept: int
    dropped: int
    lost_bytes: int
    waiting_bytes: int


class ShadowCounts(NamedTuple):
    """Decisions for shadows: recorded, and skipped since a shadow could not keep up; bytes that
    wait for it.
    """

    recorded: int
    skipped: int
    waiting_bytes: int


class BudgetInfo(NamedTuple):
    """A budget on this node, in the period at hand: amounts as of `plan.Budget`.

    released: how much of it all nodes together may use by now.  grain: what shares are multiples
    of.  dearest: the most that one proposition takes.  What follows `more` is counted since the
    process started, as of `BudgetCounts`.
    """

    name: str
    key: bytes
    period: int
    calendar: int
    max: int
    released: int
    micros: bool
    share: int
    grain: int
    dearest: int
    used: int
    held: int
    left: int
    more: bool
    times_held: int
    times_used: int
    expired: int
    late: int
    unpaid: int
    again: int
    full: int


class BudgetHas(NamedTuple):
    """What this node has of a budget in one of its periods: amounts as of `plan.Budget`."""

    used: int
    held: int
    left: int


class QuerySlice(NamedTuple):
    """A slice of a query: `profiles` are Profile messages; `cursor` is -1 at the end."""

    profiles: list[bytes]
    scanned: int
    errors: int
    cursor: int


class LogBatch(NamedTuple):
    """Mutations for the log: `data` is a nextbest.v1.MutationBatch of so many `mutations`."""

    data: bytes
    mutations: int


class BatchResult(NamedTuple):
    """What became of a batch: mutations applied, kept for a playbook to come, unreadable, and
    those of the catalogue (publications, activations), which the core only hands on."""

    applied: int
    parked: int
    unreadable: int
    announced: list[bytes]
