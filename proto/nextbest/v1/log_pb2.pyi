from nextbest.v1 import common_pb2 as _common_pb2
from nextbest.v1 import mutation_pb2 as _mutation_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LogEntry(_message.Message):
    __slots__ = ("nonce", "batch", "open", "heartbeat", "lease", "horizon", "trim", "format", "claim")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    HORIZON_FIELD_NUMBER: _ClassVar[int]
    TRIM_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    nonce: int
    batch: _mutation_pb2.MutationBatch
    open: EpochOpen
    heartbeat: Heartbeat
    lease: Lease
    horizon: Horizon
    trim: Trim
    format: Format
    claim: Claim
    def __init__(self, nonce: _Optional[int] = ..., batch: _Optional[_Union[_mutation_pb2.MutationBatch, _Mapping]] = ..., open: _Optional[_Union[EpochOpen, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., lease: _Optional[_Union[Lease, _Mapping]] = ..., horizon: _Optional[_Union[Horizon, _Mapping]] = ..., trim: _Optional[_Union[Trim, _Mapping]] = ..., format: _Optional[_Union[Format, _Mapping]] = ..., claim: _Optional[_Union[Claim, _Mapping]] = ...) -> None: ...

class Claim(_message.Message):
    __slots__ = ("budget", "period", "start", "amount", "holder", "process", "term", "calendar")
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    CALENDAR_FIELD_NUMBER: _ClassVar[int]
    budget: bytes
    period: int
    start: int
    amount: int
    holder: str
    process: int
    term: int
    calendar: int
    def __init__(self, budget: _Optional[bytes] = ..., period: _Optional[int] = ..., start: _Optional[int] = ..., amount: _Optional[int] = ..., holder: _Optional[str] = ..., process: _Optional[int] = ..., term: _Optional[int] = ..., calendar: _Optional[int] = ...) -> None: ...

class BudgetReport(_message.Message):
    __slots__ = ("budget", "period", "claimed", "has", "used", "held", "wanted", "returned", "calendar", "holds", "held_until_ms")
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    CLAIMED_FIELD_NUMBER: _ClassVar[int]
    HAS_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    RETURNED_FIELD_NUMBER: _ClassVar[int]
    CALENDAR_FIELD_NUMBER: _ClassVar[int]
    HOLDS_FIELD_NUMBER: _ClassVar[int]
    HELD_UNTIL_MS_FIELD_NUMBER: _ClassVar[int]
    budget: bytes
    period: int
    claimed: int
    has: int
    used: int
    held: int
    wanted: int
    returned: int
    calendar: int
    holds: bytes
    held_until_ms: int
    def __init__(self, budget: _Optional[bytes] = ..., period: _Optional[int] = ..., claimed: _Optional[int] = ..., has: _Optional[int] = ..., used: _Optional[int] = ..., held: _Optional[int] = ..., wanted: _Optional[int] = ..., returned: _Optional[int] = ..., calendar: _Optional[int] = ..., holds: _Optional[bytes] = ..., held_until_ms: _Optional[int] = ...) -> None: ...

class BudgetLedger(_message.Message):
    __slots__ = ("budget", "period", "claimed", "holders", "calendar", "gone")
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    CLAIMED_FIELD_NUMBER: _ClassVar[int]
    HOLDERS_FIELD_NUMBER: _ClassVar[int]
    CALENDAR_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    budget: bytes
    period: int
    claimed: int
    holders: _containers.RepeatedCompositeFieldContainer[BudgetHolder]
    calendar: int
    gone: BudgetHolder
    def __init__(self, budget: _Optional[bytes] = ..., period: _Optional[int] = ..., claimed: _Optional[int] = ..., holders: _Optional[_Iterable[_Union[BudgetHolder, _Mapping]]] = ..., calendar: _Optional[int] = ..., gone: _Optional[_Union[BudgetHolder, _Mapping]] = ...) -> None: ...

class BudgetHolder(_message.Message):
    __slots__ = ("member", "process", "claimed", "used", "held", "returned", "stopped", "holds", "held_until_ms")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    CLAIMED_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    RETURNED_FIELD_NUMBER: _ClassVar[int]
    STOPPED_FIELD_NUMBER: _ClassVar[int]
    HOLDS_FIELD_NUMBER: _ClassVar[int]
    HELD_UNTIL_MS_FIELD_NUMBER: _ClassVar[int]
    member: str
    process: int
    claimed: int
    used: int
    held: int
    returned: int
    stopped: bool
    holds: bytes
    held_until_ms: int
    def __init__(self, member: _Optional[str] = ..., process: _Optional[int] = ..., claimed: _Optional[int] = ..., used: _Optional[int] = ..., held: _Optional[int] = ..., returned: _Optional[int] = ..., stopped: _Optional[bool] = ..., holds: _Optional[bytes] = ..., held_until_ms: _Optional[int] = ...) -> None: ...

class EpochOpen(_message.Message):
    __slots__ = ("replication_id", "previous", "member", "reseeded")
    REPLICATION_ID_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    RESEEDED_FIELD_NUMBER: _ClassVar[int]
    replication_id: str
    previous: _common_pb2.Position
    member: str
    reseeded: bool
    def __init__(self, replication_id: _Optional[str] = ..., previous: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., member: _Optional[str] = ..., reseeded: _Optional[bool] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("member", "position", "snapshot", "format", "now_ms", "address", "process", "settled", "lease_ms", "asks", "budgets")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    NOW_MS_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    ASKS_FIELD_NUMBER: _ClassVar[int]
    BUDGETS_FIELD_NUMBER: _ClassVar[int]
    member: str
    position: _common_pb2.Position
    snapshot: _common_pb2.Position
    format: int
    now_ms: int
    address: str
    process: int
    settled: _common_pb2.Position
    lease_ms: int
    asks: bool
    budgets: _containers.RepeatedCompositeFieldContainer[BudgetReport]
    def __init__(self, member: _Optional[str] = ..., position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., snapshot: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., format: _Optional[int] = ..., now_ms: _Optional[int] = ..., address: _Optional[str] = ..., process: _Optional[int] = ..., settled: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., lease_ms: _Optional[int] = ..., asks: _Optional[bool] = ..., budgets: _Optional[_Iterable[_Union[BudgetReport, _Mapping]]] = ...) -> None: ...

class Lease(_message.Message):
    __slots__ = ("holder", "term")
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    holder: str
    term: int
    def __init__(self, holder: _Optional[str] = ..., term: _Optional[int] = ...) -> None: ...

class Horizon(_message.Message):
    __slots__ = ("before_ms", "term")
    BEFORE_MS_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    before_ms: int
    term: int
    def __init__(self, before_ms: _Optional[int] = ..., term: _Optional[int] = ...) -> None: ...

class Trim(_message.Message):
    __slots__ = ("position", "term")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    position: _common_pb2.Position
    term: int
    def __init__(self, position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., term: _Optional[int] = ...) -> None: ...

class Format(_message.Message):
    __slots__ = ("format", "term")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    format: int
    term: int
    def __init__(self, format: _Optional[int] = ..., term: _Optional[int] = ...) -> None: ...

class Epoch(_message.Message):
    __slots__ = ("number", "nonce", "previous", "replication_id")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    REPLICATION_ID_FIELD_NUMBER: _ClassVar[int]
    number: int
    nonce: int
    previous: _common_pb2.Position
    replication_id: str
    def __init__(self, number: _Optional[int] = ..., nonce: _Optional[int] = ..., previous: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., replication_id: _Optional[str] = ...) -> None: ...

class Member(_message.Message):
    __slots__ = ("name", "position", "snapshot", "format", "now_ms", "address", "settled", "lease_ms")
    NAME_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    NOW_MS_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    name: str
    position: _common_pb2.Position
    snapshot: _common_pb2.Position
    format: int
    now_ms: int
    address: str
    settled: _common_pb2.Position
    lease_ms: int
    def __init__(self, name: _Optional[str] = ..., position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., snapshot: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., format: _Optional[int] = ..., now_ms: _Optional[int] = ..., address: _Optional[str] = ..., settled: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., lease_ms: _Optional[int] = ...) -> None: ...

class SnapshotHead(_message.Message):
    __slots__ = ("format", "position", "end", "epochs", "horizon_ms", "members", "lease", "playbooks", "parked", "attributes", "counters", "taken_at_us", "last_stamp", "member", "erasures", "budgets", "allowed")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    HORIZON_MS_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    PLAYBOOKS_FIELD_NUMBER: _ClassVar[int]
    PARKED_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    TAKEN_AT_US_FIELD_NUMBER: _ClassVar[int]
    LAST_STAMP_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    ERASURES_FIELD_NUMBER: _ClassVar[int]
    BUDGETS_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    format: int
    position: _common_pb2.Position
    end: _common_pb2.Position
    epochs: _containers.RepeatedCompositeFieldContainer[Epoch]
    horizon_ms: int
    members: _containers.RepeatedCompositeFieldContainer[Member]
    lease: Lease
    playbooks: _containers.RepeatedCompositeFieldContainer[_mutation_pb2.Mutation]
    parked: _containers.RepeatedCompositeFieldContainer[_mutation_pb2.Mutation]
    attributes: _containers.RepeatedCompositeFieldContainer[SnapshotAttribute]
    counters: _containers.RepeatedCompositeFieldContainer[SnapshotCounter]
    taken_at_us: int
    last_stamp: int
    member: str
    erasures: _containers.RepeatedScalarFieldContainer[int]
    budgets: _containers.RepeatedCompositeFieldContainer[BudgetLedger]
    allowed: int
    def __init__(self, format: _Optional[int] = ..., position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., end: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., epochs: _Optional[_Iterable[_Union[Epoch, _Mapping]]] = ..., horizon_ms: _Optional[int] = ..., members: _Optional[_Iterable[_Union[Member, _Mapping]]] = ..., lease: _Optional[_Union[Lease, _Mapping]] = ..., playbooks: _Optional[_Iterable[_Union[_mutation_pb2.Mutation, _Mapping]]] = ..., parked: _Optional[_Iterable[_Union[_mutation_pb2.Mutation, _Mapping]]] = ..., attributes: _Optional[_Iterable[_Union[SnapshotAttribute, _Mapping]]] = ..., counters: _Optional[_Iterable[_Union[SnapshotCounter, _Mapping]]] = ..., taken_at_us: _Optional[int] = ..., last_stamp: _Optional[int] = ..., member: _Optional[str] = ..., erasures: _Optional[_Iterable[int]] = ..., budgets: _Optional[_Iterable[_Union[BudgetLedger, _Mapping]]] = ..., allowed: _Optional[int] = ...) -> None: ...

class SnapshotAttribute(_message.Message):
    __slots__ = ("name", "type", "pii")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    PII_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: int
    pii: bool
    def __init__(self, name: _Optional[str] = ..., type: _Optional[int] = ..., pii: _Optional[bool] = ...) -> None: ...

class SnapshotCounter(_message.Message):
    __slots__ = ("key", "aggregate", "type", "limit", "window_s", "resolution_s")
    KEY_FIELD_NUMBER: _ClassVar[int]
    AGGREGATE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    WINDOW_S_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_S_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    aggregate: int
    type: int
    limit: int
    window_s: int
    resolution_s: int
    def __init__(self, key: _Optional[bytes] = ..., aggregate: _Optional[int] = ..., type: _Optional[int] = ..., limit: _Optional[int] = ..., window_s: _Optional[int] = ..., resolution_s: _Optional[int] = ...) -> None: ...

class SnapshotStripe(_message.Message):
    __slots__ = ("rows", "sets", "event_identities", "event_hashes", "event_times_s", "event_sets", "event_incarnations", "erased_identities", "erased_incarnations")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SETS_FIELD_NUMBER: _ClassVar[int]
    EVENT_IDENTITIES_FIELD_NUMBER: _ClassVar[int]
    EVENT_HASHES_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIMES_S_FIELD_NUMBER: _ClassVar[int]
    EVENT_SETS_FIELD_NUMBER: _ClassVar[int]
    EVENT_INCARNATIONS_FIELD_NUMBER: _ClassVar[int]
    ERASED_IDENTITIES_FIELD_NUMBER: _ClassVar[int]
    ERASED_INCARNATIONS_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[StripeRow]
    sets: _containers.RepeatedCompositeFieldContainer[StripeSet]
    event_identities: _containers.RepeatedScalarFieldContainer[int]
    event_hashes: _containers.RepeatedScalarFieldContainer[int]
    event_times_s: _containers.RepeatedScalarFieldContainer[int]
    event_sets: _containers.RepeatedScalarFieldContainer[int]
    event_incarnations: _containers.RepeatedScalarFieldContainer[int]
    erased_identities: _containers.RepeatedScalarFieldContainer[int]
    erased_incarnations: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, rows: _Optional[_Iterable[_Union[StripeRow, _Mapping]]] = ..., sets: _Optional[_Iterable[_Union[StripeSet, _Mapping]]] = ..., event_identities: _Optional[_Iterable[int]] = ..., event_hashes: _Optional[_Iterable[int]] = ..., event_times_s: _Optional[_Iterable[int]] = ..., event_sets: _Optional[_Iterable[int]] = ..., event_incarnations: _Optional[_Iterable[int]] = ..., erased_identities: _Optional[_Iterable[int]] = ..., erased_incarnations: _Optional[_Iterable[int]] = ...) -> None: ...

class StripeSet(_message.Message):
    __slots__ = ("counters",)
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    counters: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, counters: _Optional[_Iterable[int]] = ...) -> None: ...

class StripeRow(_message.Message):
    __slots__ = ("kind", "id", "incarnation", "had_event", "overflowed", "touched_s", "stamp", "attributes", "numbers", "moments", "hashes", "links")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    HAD_EVENT_FIELD_NUMBER: _ClassVar[int]
    OVERFLOWED_FIELD_NUMBER: _ClassVar[int]
    TOUCHED_S_FIELD_NUMBER: _ClassVar[int]
    STAMP_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    MOMENTS_FIELD_NUMBER: _ClassVar[int]
    HASHES_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    kind: int
    id: bytes
    incarnation: int
    had_event: bool
    overflowed: bool
    touched_s: int
    stamp: int
    attributes: _containers.RepeatedCompositeFieldContainer[StripeAttribute]
    numbers: _containers.RepeatedCompositeFieldContainer[StripeNumber]
    moments: _containers.RepeatedCompositeFieldContainer[StripeMoment]
    hashes: _containers.RepeatedCompositeFieldContainer[StripeHashes]
    links: _containers.RepeatedCompositeFieldContainer[StripeLink]
    def __init__(self, kind: _Optional[int] = ..., id: _Optional[bytes] = ..., incarnation: _Optional[int] = ..., had_event: _Optional[bool] = ..., overflowed: _Optional[bool] = ..., touched_s: _Optional[int] = ..., stamp: _Optional[int] = ..., attributes: _Optional[_Iterable[_Union[StripeAttribute, _Mapping]]] = ..., numbers: _Optional[_Iterable[_Union[StripeNumber, _Mapping]]] = ..., moments: _Optional[_Iterable[_Union[StripeMoment, _Mapping]]] = ..., hashes: _Optional[_Iterable[_Union[StripeHashes, _Mapping]]] = ..., links: _Optional[_Iterable[_Union[StripeLink, _Mapping]]] = ...) -> None: ...

class StripeAttribute(_message.Message):
    __slots__ = ("column", "stamp", "value")
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    STAMP_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    column: int
    stamp: int
    value: _common_pb2.Value
    def __init__(self, column: _Optional[int] = ..., stamp: _Optional[int] = ..., value: _Optional[_Union[_common_pb2.Value, _Mapping]] = ...) -> None: ...

class StripeNumber(_message.Message):
    __slots__ = ("column", "buckets", "values")
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    column: int
    buckets: _containers.RepeatedScalarFieldContainer[int]
    values: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, column: _Optional[int] = ..., buckets: _Optional[_Iterable[int]] = ..., values: _Optional[_Iterable[int]] = ...) -> None: ...

class StripeMoment(_message.Message):
    __slots__ = ("column", "bucket", "time_us", "event", "value")
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    TIME_US_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    column: int
    bucket: int
    time_us: int
    event: int
    value: _common_pb2.Value
    def __init__(self, column: _Optional[int] = ..., bucket: _Optional[int] = ..., time_us: _Optional[int] = ..., event: _Optional[int] = ..., value: _Optional[_Union[_common_pb2.Value, _Mapping]] = ...) -> None: ...

class StripeHashes(_message.Message):
    __slots__ = ("column", "bucket", "hashes", "dropped")
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    HASHES_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    column: int
    bucket: int
    hashes: _containers.RepeatedScalarFieldContainer[int]
    dropped: bool
    def __init__(self, column: _Optional[int] = ..., bucket: _Optional[int] = ..., hashes: _Optional[_Iterable[int]] = ..., dropped: _Optional[bool] = ...) -> None: ...

class StripeLink(_message.Message):
    __slots__ = ("kind", "id", "incarnation", "stamp", "linked")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    STAMP_FIELD_NUMBER: _ClassVar[int]
    LINKED_FIELD_NUMBER: _ClassVar[int]
    kind: int
    id: bytes
    incarnation: int
    stamp: int
    linked: bool
    def __init__(self, kind: _Optional[int] = ..., id: _Optional[bytes] = ..., incarnation: _Optional[int] = ..., stamp: _Optional[int] = ..., linked: _Optional[bool] = ...) -> None: ...

class GetLogStatusRequest(_message.Message):
    __slots__ = ("digest",)
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    digest: bool
    def __init__(self, digest: _Optional[bool] = ...) -> None: ...

class GetLogStatusResponse(_message.Message):
    __slots__ = ("generation", "position", "staleness_ms", "degraded", "kind", "place", "state", "reason", "replicated_refused", "replicas", "end", "committed", "ahead", "dead_letters", "divergences", "horizon_ms", "lease", "member", "members", "epochs", "snapshot", "snapshot_at_us", "digest_events", "digest_rows", "parked", "lost_ids", "dropped", "purged", "lease_left_ms", "budgets", "refused_playbooks", "budget_ledgers", "budget_ledgers_max")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    STALENESS_MS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REPLICATED_REFUSED_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    AHEAD_FIELD_NUMBER: _ClassVar[int]
    DEAD_LETTERS_FIELD_NUMBER: _ClassVar[int]
    DIVERGENCES_FIELD_NUMBER: _ClassVar[int]
    HORIZON_MS_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_AT_US_FIELD_NUMBER: _ClassVar[int]
    DIGEST_EVENTS_FIELD_NUMBER: _ClassVar[int]
    DIGEST_ROWS_FIELD_NUMBER: _ClassVar[int]
    PARKED_FIELD_NUMBER: _ClassVar[int]
    LOST_IDS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    PURGED_FIELD_NUMBER: _ClassVar[int]
    LEASE_LEFT_MS_FIELD_NUMBER: _ClassVar[int]
    BUDGETS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_PLAYBOOKS_FIELD_NUMBER: _ClassVar[int]
    BUDGET_LEDGERS_FIELD_NUMBER: _ClassVar[int]
    BUDGET_LEDGERS_MAX_FIELD_NUMBER: _ClassVar[int]
    generation: int
    position: _common_pb2.Position
    staleness_ms: int
    degraded: _containers.RepeatedScalarFieldContainer[_common_pb2.Degradation]
    kind: str
    place: str
    state: str
    reason: str
    replicated_refused: str
    replicas: int
    end: _common_pb2.Position
    committed: _common_pb2.Position
    ahead: int
    dead_letters: int
    divergences: int
    horizon_ms: int
    lease: Lease
    member: str
    members: _containers.RepeatedCompositeFieldContainer[Member]
    epochs: _containers.RepeatedCompositeFieldContainer[Epoch]
    snapshot: _common_pb2.Position
    snapshot_at_us: int
    digest_events: int
    digest_rows: int
    parked: int
    lost_ids: _containers.RepeatedScalarFieldContainer[str]
    dropped: int
    purged: int
    lease_left_ms: int
    budgets: _containers.RepeatedCompositeFieldContainer[BudgetStatus]
    refused_playbooks: _containers.RepeatedCompositeFieldContainer[RefusedPlaybook]
    budget_ledgers: int
    budget_ledgers_max: int
    def __init__(self, generation: _Optional[int] = ..., position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., staleness_ms: _Optional[int] = ..., degraded: _Optional[_Iterable[_Union[_common_pb2.Degradation, str]]] = ..., kind: _Optional[str] = ..., place: _Optional[str] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., replicated_refused: _Optional[str] = ..., replicas: _Optional[int] = ..., end: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., committed: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., ahead: _Optional[int] = ..., dead_letters: _Optional[int] = ..., divergences: _Optional[int] = ..., horizon_ms: _Optional[int] = ..., lease: _Optional[_Union[Lease, _Mapping]] = ..., member: _Optional[str] = ..., members: _Optional[_Iterable[_Union[Member, _Mapping]]] = ..., epochs: _Optional[_Iterable[_Union[Epoch, _Mapping]]] = ..., snapshot: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., snapshot_at_us: _Optional[int] = ..., digest_events: _Optional[int] = ..., digest_rows: _Optional[int] = ..., parked: _Optional[int] = ..., lost_ids: _Optional[_Iterable[str]] = ..., dropped: _Optional[int] = ..., purged: _Optional[int] = ..., lease_left_ms: _Optional[int] = ..., budgets: _Optional[_Iterable[_Union[BudgetStatus, _Mapping]]] = ..., refused_playbooks: _Optional[_Iterable[_Union[RefusedPlaybook, _Mapping]]] = ..., budget_ledgers: _Optional[int] = ..., budget_ledgers_max: _Optional[int] = ...) -> None: ...

class RefusedPlaybook(_message.Message):
    __slots__ = ("generation", "playbook_hash", "why")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    PLAYBOOK_HASH_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    generation: int
    playbook_hash: str
    why: str
    def __init__(self, generation: _Optional[int] = ..., playbook_hash: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class BudgetStatus(_message.Message):
    __slots__ = ("name", "since", "max", "released", "claimed", "used", "held", "parts", "refused")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    RELEASED_FIELD_NUMBER: _ClassVar[int]
    CLAIMED_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    name: str
    since: str
    max: float
    released: float
    claimed: float
    used: float
    held: float
    parts: _containers.RepeatedCompositeFieldContainer[BudgetPart]
    refused: str
    def __init__(self, name: _Optional[str] = ..., since: _Optional[str] = ..., max: _Optional[float] = ..., released: _Optional[float] = ..., claimed: _Optional[float] = ..., used: _Optional[float] = ..., held: _Optional[float] = ..., parts: _Optional[_Iterable[_Union[BudgetPart, _Mapping]]] = ..., refused: _Optional[str] = ...) -> None: ...

class BudgetPart(_message.Message):
    __slots__ = ("member", "process", "claimed", "used", "held", "state")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    CLAIMED_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    member: str
    process: int
    claimed: float
    used: float
    held: float
    state: str
    def __init__(self, member: _Optional[str] = ..., process: _Optional[int] = ..., claimed: _Optional[float] = ..., used: _Optional[float] = ..., held: _Optional[float] = ..., state: _Optional[str] = ...) -> None: ...

class TakeSnapshotRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TakeSnapshotResponse(_message.Message):
    __slots__ = ("path", "position", "bytes", "took_ms")
    PATH_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    TOOK_MS_FIELD_NUMBER: _ClassVar[int]
    path: str
    position: _common_pb2.Position
    bytes: int
    took_ms: int
    def __init__(self, path: _Optional[str] = ..., position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., bytes: _Optional[int] = ..., took_ms: _Optional[int] = ...) -> None: ...

class ReadSnapshotRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReadSnapshotResponse(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class ReseedLogRequest(_message.Message):
    __slots__ = ("force",)
    FORCE_FIELD_NUMBER: _ClassVar[int]
    force: bool
    def __init__(self, force: _Optional[bool] = ...) -> None: ...

class ReseedLogResponse(_message.Message):
    __slots__ = ("position", "profiles")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    PROFILES_FIELD_NUMBER: _ClassVar[int]
    position: _common_pb2.Position
    profiles: int
    def __init__(self, position: _Optional[_Union[_common_pb2.Position, _Mapping]] = ..., profiles: _Optional[int] = ...) -> None: ...
