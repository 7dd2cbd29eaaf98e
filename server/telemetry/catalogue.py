"""The catalogue of metrics: nothing else may name one.

Names follow Prometheus' rules and, for calls, OpenTelemetry's semantic conventions for RPC: there
`rpc.server.call.duration` with `rpc.system.name`, `rpc.method` and `rpc.response.status_code`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]


# What ends a name in Prometheus, and the unit of OTLP.
UNITS = {"_seconds": "s", "_bytes": "By"}


class Metric(NamedTuple):
    """One metric; a counter's `_total` is left to the exposition.

    otlp: its name in OTLP where a convention gives one; else a Collector's Prometheus exporter
    makes the same name of `otlp_name` and `unit`.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    otlp: str = ""

    @property
    def unit(self) -> str:
        """In OTLP; empty for what is counted."""
        return next((unit for end, unit in UNITS.items() if self.name.endswith(end)), "")

    @property
    def otlp_name(self) -> str:
        """Its name in OTLP."""
        bare = self.name
        for end in UNITS:
            bare = bare.removesuffix(end)
        return self.otlp or bare.replace("_", ".", 1)


CALL_DURATION = Metric(
    "rpc_server_call_duration_seconds",
    "histogram",
    "From the read that brought a call's headers until its answer was given to the socket (lane "
    '"fast") or to gRPC (lane "grpc").',
    ("rpc_system_name", "rpc_method", "rpc_response_status_code", "lane"),
    otlp="rpc.server.call.duration",
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
EXPLORED = Metric(
    "nextbest_explored",
    "counter",
    "Slots for which exploration drew another action than the best.",
    ("placement",),
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
EXPOSURES = Metric(
    "nextbest_exposures", "counter", "First exposures to experiments that were stored."
)
EXPOSURES_LOST = Metric(
    "nextbest_exposures_lost",
    "counter",
    "First exposures that neither the log nor the store could take; the decisions stand.",
)
OUTCOMES = Metric(
    "nextbest_outcomes",
    "counter",
    "Events that name a decision, by its age: recent, expired (records.attribution) or unknown.",
    ("decision_age",),
)
OUTCOMES_REPEATED = Metric(
    "nextbest_outcomes_repeated", "counter", "Outcomes that were counted before."
)
CROSSINGS = Metric(
    "nextbest_crossings",
    "counter",
    "Crossings of segments, grades and stages that were told as events.",
)
CROSSINGS_LOST = Metric(
    "nextbest_crossings_lost",
    "counter",
    "Crossings that neither the log nor the store could take, and writes whose crossings could not "
    "be looked for; the writes stand.",
)
CROSSINGS_CUT = Metric(
    "nextbest_crossings_cut",
    "counter",
    "Crossings that were not told: more than 256 of one write, or after four rounds of what events "
    "of crossings themselves cause.",
)
BUDGET = Metric(
    "nextbest_budget",
    "gauge",
    "What this node has of a budget in the period at hand, used, held for impressions to come and "
    "left: impressions, or the unit of a spend.",
    ("budget", "part"),
)
BUDGET_RESERVATIONS = Metric(
    "nextbest_budget_reservations",
    "counter",
    "Propositions under a budget, by what became of them: held; then shown, expired, or shown late "
    "and paid or unpaid; again: decided once more since others were first; refused: "
    "decisions that found too many waiting.",
    ("budget", "outcome"),
)
BUDGET_CLAIMS = Metric(
    "nextbest_log_budget_claims",
    "counter",
    "Claims of shares of budgets by this node that came to nothing: lost to an earlier one, or "
    "revoked with a tail of the log that was lost.",
    ("outcome",),
)
BUDGET_LEDGERS = Metric(
    "nextbest_log_budget_ledgers",
    "gauge",
    "Budgets, each in one of its periods, that the log keeps a ledger of.",
)
BUDGET_LEDGERS_MAX = Metric(
    "nextbest_log_budget_ledgers_max",
    "gauge",
    "How many it can: nothing is given of a budget beyond them.",
)
BUDGETS_REFUSED = Metric(
    "nextbest_log_budgets_refused",
    "gauge",
    "The active playbook's budgets of which nothing can be given: `nextbest budget` says why.",
)
RESERVATIONS = Metric(
    "nextbest_reservations",
    "counter",
    "Propositions under a frequency cap that were reserved until an impression confirms them.",
)
RESERVATIONS_LOST = Metric(
    "nextbest_reservations_lost",
    "counter",
    "Propositions that neither the log nor the store could take a reservation of: the decision was "
    "made again without what such caps are about.",
)
RESERVATIONS_CONFIRMED = Metric(
    "nextbest_reservations_confirmed",
    "counter",
    "Impressions that name the decision and the slot they came of, where a cap reserves.",
)
RESERVATIONS_WAITED = Metric(
    "nextbest_reservations_waited",
    "counter",
    "Decisions that waited for another decision about the same person, where a cap reserves.",
)
RECORDS = Metric("nextbest_records", "counter", "Decision records that were kept.")
RECORDS_DROPPED = Metric(
    "nextbest_records_dropped", "counter", "Decision records that found the buffer full."
)
RECORDS_LOST = Metric(
    "nextbest_records_lost_bytes",
    "counter",
    "Decision records that could not be written, in bytes.",
)
RECORDS_WAITING = Metric(
    "nextbest_records_waiting_bytes", "gauge", "Decision records that wait to be written."
)
RECORDS_STREAM = Metric(
    "nextbest_records_stream_entries", "counter", "Entries of decision records that Redis took."
)
RECORDS_STREAM_LOST = Metric(
    "nextbest_records_stream_lost_bytes",
    "counter",
    "Decision records that Redis did not take, or perhaps, in bytes; files may have them.",
)
RECORDS_STREAM_WAITING = Metric(
    "nextbest_records_stream_waiting_bytes", "gauge", "Decision records that wait for Redis."
)
SHADOW_DECISIONS = Metric(
    "nextbest_shadow_decisions",
    "counter",
    "Decisions that a shadow was to make again: same, changed, incomplete (it reads what was not "
    "read), failed (it refuses them) or skipped (no CPU or memory was left for them).",
    ("outcome",),
)
SHADOW_CPU = Metric(
    "nextbest_shadow_cpu_seconds", "counter", "CPU of shadows' processes, of one core."
)
SHADOW_RESTARTS = Metric(
    "nextbest_shadow_restarts", "counter", "How often a shadow's process died or was late."
)
SHADOW_SHARE = Metric(
    "nextbest_shadow_share",
    "gauge",
    "Share of the decisions that the shadow makes again at present, from 0 to 1; 0 without one.",
)
BATCH_FAILED = Metric(
    "nextbest_batch_failed",
    "counter",
    "Entries of a batch that have a status in place of an answer.",
    ("rpc_response_status_code",),
)
ANSWERS_EVICTED = Metric(
    "nextbest_answers_evicted_early",
    "counter",
    "Answers that were not remembered for their whole minute.",
)
KEPT_WAITING = Metric(
    "nextbest_traces_waiting", "gauge", "Calls worth a trace that wait to be told of."
)
KEPT_WAITING_MAX = Metric(
    "nextbest_traces_waiting_max", "gauge", "How many calls worth a trace may wait."
)
KEPT_DROPPED = Metric(
    "nextbest_traces_dropped", "counter", "Calls worth a trace that found the ring full."
)
KEPT_SKIPPED = Metric(
    "nextbest_traces_skipped",
    "counter",
    "Calls shed in an overload of which no trace is kept: others were, within 10 ms.",
)
SINK_FAILURES = Metric(
    "nextbest_traces_sink_failures",
    "counter",
    "How often what tells of calls failed, and lost those that it was given.",
    ("sink",),
)
SPANS_EXPORTED = Metric(
    "nextbest_spans_exported", "counter", "Spans that the traces' receiver took."
)
SPANS_DROPPED = Metric(
    "nextbest_spans_dropped",
    "counter",
    "Spans that the traces' receiver did not take: no room, a failed export, its own refusal, or "
    "the end of the server.",
    ("reason",),
)
DECISION_EVENTS_EXPORTED = Metric(
    "nextbest_decision_events_exported", "counter", "Events of decisions that their receiver took."
)
DECISION_EVENTS_DROPPED = Metric(
    "nextbest_decision_events_dropped",
    "counter",
    "Events of decisions that their receiver did not take, or kept decisions that had no room.",
    ("reason",),
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
OVERLOAD_LEVEL = Metric(
    "nextbest_overload_level",
    "gauge",
    "What a lane leaves out: 0 nothing, 1 scoring, 2 all but fallbacks, 3 calls that waited long.",
    ("lane",),
)
SHED_CALLS = Metric(
    "nextbest_shed_calls",
    "counter",
    "Calls shed for overload: RESOURCE_EXHAUSTED with when to come again; CANCELLED if not_begun.",
    ("rpc_method", "lane", "reason"),
)
GENERATION = Metric("nextbest_generation", "gauge", "The active playbook's generation.")
PLAYBOOKS_REFUSED = Metric(
    "nextbest_playbooks_refused",
    "gauge",
    "Published playbooks that this node cannot hold; it decides by the last one that it can.",
)
PROFILES = Metric("nextbest_profiles", "gauge", "Identities that have a row.")
EVENTS_REMEMBERED = Metric(
    "nextbest_events_remembered", "gauge", "Events whose repeats are recognised."
)
TOMBSTONES = Metric("nextbest_tombstones", "gauge", "Identities that were erased.")
STORE_BYTES = Metric(
    "nextbest_store_bytes", "gauge", "Memory in use by what for, summed once a minute.", ("part",)
)
LOG_EPOCH = Metric("nextbest_log_position_epoch", "gauge", "The epoch that is applied here.")
LOG_SEQUENCE = Metric(
    "nextbest_log_position_sequence", "gauge", "The entry of its epoch that is applied here."
)
LOG_STALENESS = Metric(
    "nextbest_log_staleness_seconds", "gauge", "Since the log's end was last seen."
)
LOG_LAG = Metric(
    "nextbest_log_lag_entries",
    "gauge",
    "Entries of the log known of and not applied here; of the newest epoch alone.",
)
LOG_COMMIT_AGE = Metric(
    "nextbest_log_commit_age_seconds",
    "gauge",
    "Since the log was last known to be where REPLICATED wants it.",
)
LOG_STATE = Metric(
    "nextbest_log_state", "gauge", "1 for what the node is at with its log.", ("state",)
)
LOG_AHEAD = Metric(
    "nextbest_log_ahead_mutations", "gauge", "Applied here and not read back from the log."
)
LOG_LEASE = Metric(
    "nextbest_log_lease_seconds", "gauge", "How long consents may hold here yet; 0: none does."
)
LOG_REVOCATIONS = Metric(
    "nextbest_log_revocations",
    "counter",
    "Waits for every member's decisions: passed, or behind when the deadline came first.",
    ("outcome",),
)
LOG_WAITING = Metric(
    "nextbest_log_waiting_writes", "gauge", "Writes that the log does not have yet.", ("queue",)
)
LOG_WAITING_MAX = Metric(
    "nextbest_log_waiting_writes_max", "gauge", "How many writes may wait, of each queue."
)
LOG_APPENDS = Metric(
    "nextbest_log_appends",
    "counter",
    "Entries given to the log, by what it said of them.",
    ("queue", "outcome"),
)
LOG_APPENDED_MUTATIONS = Metric(
    "nextbest_log_appended_mutations", "counter", "Mutations in entries appended.", ("queue",)
)
LOG_APPENDED_BYTES = Metric(
    "nextbest_log_appended_bytes", "counter", "Bytes of entries appended.", ("queue",)
)
LOG_APPEND_DURATION = Metric(
    "nextbest_log_append_duration_seconds",
    "histogram",
    "From an entry's being sent until the log said that it has it.",
    ("queue",),
)
LOG_APPLIED = Metric("nextbest_log_applied_entries", "counter", "Entries read and applied.")
LOG_DEAD_LETTERS = Metric(
    "nextbest_log_dead_letters", "counter", "Entries that no version can read."
)
LOG_EPOCH_CHANGES = Metric("nextbest_log_epoch_changes", "counter", "Epochs begun in the log.")
LOG_DIVERGENCES = Metric(
    "nextbest_log_divergences", "counter", "How often this node was on a branch that was lost."
)
LOG_CONNECTS = Metric(
    "nextbest_log_connects",
    "counter",
    "How often the log was connected to; all but the first are reconnects.",
)
LOG_WRITES_REFUSED = Metric(
    "nextbest_log_writes_refused",
    "counter",
    "Writes refused for want of the log, by the reason that was told; a publication asks for "
    "REPLICATED first, and is refused once where there are no replicas.",
    ("reason",),
)
LOG_MEMBERS = Metric("nextbest_log_members", "gauge", "Members that the log knows of.")
LOG_LEADS = Metric("nextbest_log_leads", "gauge", "1 where this node coordinates.")
SNAPSHOTS = Metric(
    "nextbest_snapshots", "counter", "Snapshots begun, by how it ended.", ("outcome",)
)
SNAPSHOT_AGE = Metric("nextbest_snapshot_age_seconds", "gauge", "Since the newest was begun.")
SNAPSHOT_BYTES = Metric("nextbest_snapshot_bytes", "gauge", "The newest one's file.")
SNAPSHOT_DURATION = Metric(
    "nextbest_snapshot_duration_seconds", "gauge", "How long the last one taken took."
)
READY = Metric("nextbest_ready", "gauge", "1 where /readyz says so.")
LOOP_LATE = Metric(
    "nextbest_loop_late_seconds", "gauge", "How late the event loop last came to a timer."
)
LOOP_LAG = Metric(
    "nextbest_loop_lag_seconds", "histogram", "How late the event loop came to a timer."
)
GC_PAUSE = Metric(
    "nextbest_gc_pause_seconds",
    "histogram",
    "How long Python's collector held up what runs Python.",
    ("generation",),
)
PUSHES = Metric(
    "nextbest_metrics_pushes",
    "counter",
    "Times that metrics were sent to a receiver of OTLP.",
    ("outcome",),
)
BUILD = Metric("nextbest_build_info", "gauge", "1 for what runs.", ("version", "python"))
# Names that all of Prometheus' clients give.
PROCESS_CPU = Metric(
    "process_cpu_seconds", "counter", "Processor time spent.", otlp="process.cpu.time"
)
PROCESS_RESIDENT = Metric(
    "process_resident_memory_bytes", "gauge", "Memory held.", otlp="process.memory.usage"
)
PROCESS_VIRTUAL = Metric(
    "process_virtual_memory_bytes", "gauge", "Addresses in use.", otlp="process.memory.virtual"
)
PROCESS_START = Metric(
    "process_start_time_seconds", "gauge", "When the process began, in seconds since 1970."
)
PROCESS_OPEN_FDS = Metric(
    "process_open_fds", "gauge", "Descriptors in use.", otlp="process.unix.file_descriptor.count"
)
PROCESS_MAX_FDS = Metric("process_max_fds", "gauge", "How many descriptors there may be.")

SLO_OBJECTIVE = Metric(
    "nextbest_slo_objective_ratio",
    "gauge",
    "The share of a method's calls that is to be good.",
    ("rpc_method",),
)
SLO_THRESHOLD = Metric(
    "nextbest_slo_threshold_seconds",
    "gauge",
    "Within which a good call ends; a bound of rpc_server_call_duration_seconds.",
    ("rpc_method",),
)
SLO_WINDOW = Metric(
    "nextbest_slo_window_seconds", "gauge", "The time an objective is about.", ("rpc_method",)
)
SLO_CALLS = Metric(
    "nextbest_slo_calls", "counter", "Calls that an objective is about.", ("rpc_method",)
)
SLO_GOOD_CALLS = Metric(
    "nextbest_slo_good_calls",
    "counter",
    "Calls that ended within the threshold and not in a failure of the server's own.",
    ("rpc_method",),
)
SLO_BURN_RATE = Metric(
    "nextbest_slo_burn_rate",
    "gauge",
    "How many times faster than allowed the budget was used up in the window, as far as this "
    "process has run.",
    ("rpc_method", "window"),
)
SLO_BUDGET_REMAINING = Metric(
    "nextbest_slo_budget_remaining_ratio",
    "gauge",
    "The share of the budget that is left over the objective's time, as far as this process has "
    "run; below 0 it is overspent.",
    ("rpc_method",),
)
SLO_BURNING = Metric(
    "nextbest_slo_burning",
    "gauge",
    "1 where a multiwindow burn rate alert of that severity would fire.",
    ("rpc_method", "severity"),
)

METRICS = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
