"""What operators are told of the log."""

from __future__ import annotations

from nextbest.server.log.contents import position_message
from nextbest.server.log.context import Context
from nextbest.server.log.coordinator import Coordinator
from nextbest.server.log.epochs import Epochs
from nextbest.server.log.log import QUEUES, LogInfo, Position
from nextbest.server.log.members import Members
from nextbest.server.log.reader import Reader
from nextbest.v1 import log_pb2


def fill_log(
    status: log_pb2.GetLogStatusResponse, context: Context, info: LogInfo, end: Position
) -> None:
    """How the log and this node's way to it are."""
    status.kind = context.log.kind
    status.place = context.log.place
    status.state = context.standing.state
    status.reason = context.standing.reason
    status.replicated_refused = info.replicated_refused
    status.replicas = info.replicas
    status.end.CopyFrom(position_message(end))
    status.committed.CopyFrom(position_message(context.progress.committed))


def fill_node(
    status: log_pb2.GetLogStatusResponse, context: Context, reader: Reader, snapshot: Position
) -> None:
    """How this member is."""
    engine = context.engine
    status.member = context.member
    status.position.CopyFrom(position_message(context.here))
    status.ahead = ahead(context)
    status.dead_letters = reader.dead_letters
    status.divergences = context.progress.divergences
    status.horizon_ms = engine.store.horizon_ms
    status.snapshot.CopyFrom(position_message(snapshot))
    status.dropped = context.retained.uncommitted
    status.lost_ids.extend(context.progress.lost_ids)


def fill_members(
    status: log_pb2.GetLogStatusResponse,
    context: Context,
    epochs: Epochs,
    members: Members,
    coordinator: Coordinator,
) -> None:
    """Who else there is, and the log's epochs."""
    status.lease.CopyFrom(log_pb2.Lease(holder=coordinator.holder, term=coordinator.term))
    status.members.extend(members.messages())
    status.epochs.extend(
        log_pb2.Epoch(
            number=number,
            nonce=nonce,
            previous=position_message(previous),
            replication_id=epochs.replication_id(number),
        )
        for number, nonce, previous in context.engine.epochs()
    )


def ahead(context: Context) -> int:
    """Mutations applied here that were not read back from the log."""
    # What waits in the engine or is in flight is counted there; the rest had its answer.
    waiting = sum(context.engine.log_waiting(queue) for queue in range(QUEUES))
    return waiting + context.ahead.answered
