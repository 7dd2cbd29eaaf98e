"""The catalogue of metrics: nothing else may name one.

Names follow Prometheus' rules and, for calls, OpenTelemetry's semantic conventions for RPC: there
`rpc.server.call.duration` with `rpc.system.name`, `rpc.method` and `rpc.response.status_code`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]


class Metric(NamedTuple):
    """One metric; a counter's `_total` is left to the exposition."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


CALL_DURATION = Metric(
    "rpc_server_call_duration_seconds",
    "histogram",
    "From the read that brought a call's headers until its answer was given to the socket (lane "
    '"fast") or to gRPC (lane "grpc").',
    ("rpc_system_name", "rpc_method", "rpc_response_status_code", "lane"),
)
STEP_DURATION = Metric(
    "nextbest_step_duration_seconds",
    "counter",
    "Time that calls spent in each step.",
    ("rpc_method", "step"),
)
DECISIONS = Metric(
    "nextbest_decisions",
    "counter",
    "Decisions answered, each of a batch among them, once for each placement asked for.",
    ("placement",),
)
PROPOSITIONS = Metric(
    "nextbest_propositions",
    "counter",
    "Slots filled, those by a fallback among them.",
    ("placement", "action"),
)
CANDIDATES = Metric(
    "nextbest_candidates",
    "counter",
    "What became of a placement's candidates: proposed, or why not.",
    ("placement", "fate"),
)
FALLBACKS = Metric(
    "nextbest_fallbacks", "counter", "Slots that a placement's fallback filled.", ("placement",)
)
DEGRADED = Metric(
    "nextbest_decisions_degraded",
    "counter",
    "Decisions from whose answer something was left out, by what.",
    ("kind",),
)
REPEATED = Metric(
    "nextbest_decisions_repeated", "counter", "Decisions answered as the same id was before."
)
BATCH_FAILED = Metric(
    "nextbest_batch_failed",
    "counter",
    "Entries of a batch that have a status in place of an answer.",
    ("rpc_response_status_code",),
)
KEPT_DROPPED = Metric(
    "nextbest_traces_dropped", "counter", "Calls worth a trace that found the ring full."
)
SINK_FAILURES = Metric(
    "nextbest_traces_sink_failures",
    "counter",
    "How often what tells of calls failed, and lost those that it was given.",
    ("sink",),
)
LANE_CONNECTIONS = Metric(
    "nextbest_lane_connections", "gauge", "Connections that are open on the fast lane."
)
LANE_EVENTS = Metric(
    "nextbest_lane_events",
    "counter",
    "What happened on the fast lane besides calls that were served, by what it was.",
    ("event",),
)
GENERATION = Metric("nextbest_generation", "gauge", "The active playbook's generation.")
PROFILES = Metric("nextbest_profiles", "gauge", "Identities that have a row.")
EVENTS_REMEMBERED = Metric(
    "nextbest_events_remembered", "gauge", "Events whose repeats are recognised."
)
TOMBSTONES = Metric("nextbest_tombstones", "gauge", "Identities that were erased.")
LOG_EPOCH = Metric("nextbest_log_position_epoch", "gauge", "The epoch that is applied here.")
LOG_SEQUENCE = Metric(
    "nextbest_log_position_sequence", "gauge", "The entry of its epoch that is applied here."
)
LOG_STALENESS = Metric(
    "nextbest_log_staleness_seconds", "gauge", "Since the log's end was last seen."
)
READY = Metric("nextbest_ready", "gauge", "1 where /readyz says so.")
LOOP_LATE = Metric(
    "nextbest_loop_late_seconds", "gauge", "How late the event loop last came to a timer."
)

METRICS = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
