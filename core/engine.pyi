"""Types of the compiled engine; the meaning of each is in its docstring there."""

from array import array
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from nextbest.core.errors import NextbestError
from nextbest.core.expression.code import Code
from nextbest.core.playbook.plan import Attribute, Counter, Plan

class GenerationInfo(NamedTuple):
    number: int
    hash: bytes
    published_at_us: int
    description: str
    active: bool

class RecordCounts(NamedTuple):
    kept: int
    dropped: int
    lost_bytes: int
    waiting_bytes: int

class BudgetInfo(NamedTuple):
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
    used: int
    held: int
    left: int

class ShadowCounts(NamedTuple):
    recorded: int
    skipped: int
    waiting_bytes: int

class LogBatch(NamedTuple):
    data: bytes
    mutations: int

class BatchResult(NamedTuple):
    applied: int
    parked: int
    unreadable: int
    announced: list[bytes]

class CallCount(NamedTuple):
    method: str
    code: int
    buckets: list[int]
    seconds: float
    lane: str

class DecisionCounts(NamedTuple):
    decisions: dict[str, int]
    fallbacks: dict[str, int]
    explored: dict[str, int]
    candidates: dict[tuple[str, ...], int]
    propositions: dict[tuple[str, ...], int]
    degraded: dict[str, int]
    repeated: int
    failed: dict[int, int]
    exposures: int
    exposures_lost: int
    outcomes: dict[str, int]
    outcomes_repeated: int
    crossings: int
    crossings_lost: int
    crossings_cut: int
    reservations: int
    reservations_lost: int
    reservations_confirmed: int
    reservations_waited: int

class KeptCall(NamedTuple):
    method: str
    code: int
    reasons: tuple[str, ...]
    began_ns: int
    steps_ns: tuple[int, ...]
    traceparent: bytes
    tracestate: bytes
    random: bytes
    reason: str
    answer: bytes
    answer_cut: bool
    lane: str
    baggage: bytes = b""
    waited_first: bool = False

LANES: tuple[str, str]
DEGRADATION_NAMES: tuple[str, ...]
FATE_NAMES: tuple[str, ...]
OTHER_NAME: str
METERED_NAMES: tuple[str, ...]
STEP_NAMES: tuple[str, ...]

class Telemetry:
    def configure(
        self,
        bounds_s: Sequence[float],
        objectives_s: Mapping[str, float],
        *,
        keep: bool = True,
        ratio: float = 0.0,
        parent_based: bool = True,
    ) -> None: ...
    def calls(self) -> list[CallCount]: ...
    def steps(self) -> dict[str, dict[str, float]]: ...
    def decisions(self) -> DecisionCounts: ...
    def waiting(self) -> tuple[int, int]: ...
    def kept(self) -> dict[str, int]: ...
    @property
    def dropped(self) -> int: ...
    def take(self, most: int = 1_000) -> list[KeptCall]: ...

class Call:
    leave: int
    def waited(self) -> None: ...
    def end(
        self, code: int = 0, answer: bytes = b"", error: BaseException | None = None
    ) -> None: ...

def status_bytes(error: NextbestError) -> bytes: ...
def buckets(salt: str, hash: int, keys: Sequence[str]) -> bytes: ...

class QuerySlice(NamedTuple):
    profiles: list[bytes]
    scanned: int
    errors: int
    cursor: int

class ImportResult(NamedTuple):
    created: int
    updated: int
    refused: list[tuple[int, int | str, str, str]]

STRIPES: int
READ_WAIT_US: int

class StoredAttribute(NamedTuple):
    name: str
    type: int
    pii: bool

class StoredCounter(NamedTuple):
    key: bytes
    aggregate: int
    type: int
    limit: int
    window_s: int
    resolution_s: int
    @property
    def name(self) -> str: ...

class AnyAttribute(Protocol):
    """A StoredAttribute, or a SnapshotAttribute message."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> int: ...
    @property
    def pii(self) -> bool: ...

class AnyCounter(Protocol):
    """A StoredCounter, or a SnapshotCounter message."""

    @property
    def key(self) -> bytes: ...
    @property
    def aggregate(self) -> int: ...
    @property
    def type(self) -> int: ...
    @property
    def limit(self) -> int: ...
    @property
    def window_s(self) -> int: ...
    @property
    def resolution_s(self) -> int: ...

class Store:
    def __init__(self, *, profiles_max: int = 1_000_000, dedupe_max: int = 10_000_000) -> None: ...
    @property
    def profiles(self) -> int: ...
    @property
    def profiles_max(self) -> int: ...
    @property
    def horizon_ms(self) -> int: ...
    @property
    def remembered(self) -> int: ...
    @property
    def tombstones(self) -> int: ...
    @property
    def erasures(self) -> int: ...
    @property
    def oldest_ms(self) -> int: ...
    def extend(
        self, attributes: Sequence[Attribute], counters: Sequence[Counter]
    ) -> tuple[list[int], list[int]]: ...
    def columns(self) -> tuple[list[StoredAttribute], list[StoredCounter]]: ...
    def load_columns(
        self, attributes: Iterable[AnyAttribute], counters: Iterable[AnyCounter]
    ) -> None: ...
    def stripe(self, number: int) -> bytes: ...
    def load_stripe(self, data: bytes) -> None: ...
    def load_end(self) -> int: ...
    def relay(self, rows_max: int) -> int: ...
    def horizon(self, before_ms: int) -> int: ...
    def expire(self, kind: int, before_us: int) -> int: ...
    def stale(
        self, kind: int, before_us: int, cursor: int, most: int
    ) -> tuple[list[bytes], int]: ...
    def digest(self) -> tuple[int, int]: ...
    def memory(self) -> dict[str, int]: ...
    def slice(self, cursor: int, scan_max: int) -> tuple[list[tuple[int, bytes]], int]: ...
    def identities(self, kind: int, id: str | bytes) -> list[tuple[int, bytes]]: ...
    def import_columns(
        self,
        kind: int,
        ids: Sequence[str | bytes],
        columns: Mapping[int, object],
        stamp: int,
    ) -> ImportResult: ...
    def set_attributes(
        self,
        kind: int,
        id: str | bytes,
        values: Mapping[int, object],
        stamp: int,
        incarnation: int = 0,
    ) -> str: ...
    def add_event(
        self,
        kind: int,
        id: str | bytes,
        key: tuple[int, int],
        id_ms: int,
        occurred_us: int,
        values: Mapping[int, object],
        incarnation: int = 0,
    ) -> str: ...
    def link(
        self,
        first: tuple[int, str | bytes],
        second: tuple[int, str | bytes],
        stamp: int,
        linked: bool = True,
        first_incarnation: int = 0,
        second_incarnation: int = 0,
    ) -> str: ...
    def erase(self, kind: int, id: str | bytes, incarnation: int) -> str: ...
    def incarnation(self, kind: int, id: str | bytes) -> int: ...
    def has_room(self, kind: int, id: str | bytes) -> bool: ...
    def read(
        self, kind: int, id: str | bytes, now_us: int
    ) -> tuple[dict[int, object], dict[int, tuple[object, bool]]] | None: ...
    def decayed(
        self,
        kind: int,
        id: str | bytes,
        column: int,
        now_us: int,
        points: int,
        half_life_s: int,
    ) -> tuple[int, int]: ...
    def time_reads(self, kind: int, ids: Sequence[str], rounds: int) -> float: ...
    def time_adds(
        self, kind: int, ids: Sequence[str], events: int, now_us: int, values: Mapping[int, object]
    ) -> float: ...
    def time_sets(
        self, kind: int, ids: Sequence[str], rounds: int, stamp: int, values: Mapping[int, object]
    ) -> float: ...

class Engine:
    @property
    def store(self) -> Store: ...
    def __init__(
        self,
        *,
        profiles_max: int = 1_000_000,
        dedupe_max: int = 10_000_000,
        generations_max: int = 32,
        decisions_max: int = 65_536,
        tombstones_max: int = 10_000_000,
        holds_max: int = 1_048_576,
    ) -> None: ...
    @property
    def generation(self) -> int: ...
    @property
    def plan(self) -> Plan | None: ...
    @property
    def playbook_hash(self) -> bytes: ...
    @property
    def position(self) -> tuple[int, int, int]: ...
    def header(self, now_us: int) -> bytes: ...
    def publish(
        self,
        plan: Plan,
        *,
        description: str = "",
        published_at_us: int = 0,
        number: int = 0,
        active: bool = True,
    ) -> int: ...
    def renumber(self, numbers: Mapping[int, int]) -> None: ...
    def activate(self, generation: int) -> int: ...
    def generations(self) -> list[GenerationInfo]: ...
    def record(self, share: float, capacity: int, explored: bool = False) -> None: ...
    def attribute(self, window_us: int) -> None: ...
    def take_records(self) -> bytes: ...
    def lose_records(self, size: int) -> None: ...
    def records(self) -> RecordCounts: ...
    def require_budgets(self, plan: Plan) -> None: ...
    def budgets_managed(self) -> None: ...
    def grant_budget(self, key: bytes, period: int, amount: int, more: bool) -> bool: ...
    def take_back_budget(self, key: bytes, period: int) -> int: ...
    def budget_has(self, key: bytes, period: int, now_us: int) -> BudgetHas: ...
    def budget_holds(
        self, key: bytes, period: int, now_us: int, most: int
    ) -> tuple[bytes, int]: ...
    def adopt_orphans(self, key: bytes, orphans: bytes) -> bool: ...
    def waiting_orphans(self, key: bytes, orphans: bytes) -> bytes: ...
    def end_orphans(self, key: bytes, orphans: bytes) -> None: ...
    def return_orphans(self, key: bytes, period: int, orphans: bytes) -> None: ...
    def confirm_orphans(self, batch: bytes) -> None: ...
    def budgets(self, now_us: int, ahead_us: int = 0) -> list[BudgetInfo]: ...
    def shadow(self, share: float, capacity: int) -> None: ...
    def limit_shadow(self, share: float) -> None: ...
    def end_shadow(self) -> None: ...
    def take_shadow(self) -> tuple[bytes, int]: ...
    def shadow_counts(self) -> ShadowCounts: ...
    def replay(
        self,
        record: bytes,
        attributes: bytes = b"",
        counters: bytes = b"",
        budgets: bytes = b"",
        explain: bool = False,
    ) -> tuple[bytes, tuple[tuple[str, int], ...]]: ...
    def decide(
        self, request: bytes, now_us: int, deadline_us: int = 0, call: Call | None = None
    ) -> bytes: ...
    def decide_batch(
        self,
        request: bytes,
        now_us: int,
        deadline_us: int = 0,
        call: Call | None = None,
        whole: bool = False,
    ) -> bytes: ...
    def track(
        self, request: bytes, now_us: int, token: int = 0, call: Call | None = None
    ) -> bytes | None: ...
    def upsert(self, request: bytes, now_us: int, token: int = 0) -> bytes | None: ...
    def set_consent(self, request: bytes, now_us: int, token: int = 0) -> bytes | None: ...
    def link(self, request: bytes, now_us: int, token: int = 0) -> bytes | None: ...
    def erase(self, request: bytes, now_us: int, token: int = 0) -> bytes | None: ...
    def expire_identities(self, kind: int, identities: Sequence[bytes], now_us: int) -> None: ...
    def submit(self, body: int, request: bytes, now_us: int, ack: int, token: int = 0) -> bytes: ...
    def profile(self, request: bytes, now_us: int) -> bytes: ...
    def query(
        self, plan: Plan, now_us: int, profiles: bool, cursor: int, scan_max: int
    ) -> QuerySlice: ...
    def apply(self, mutation: bytes) -> None: ...
    def apply_batch(self, batch: bytes, now_us: int) -> BatchResult: ...
    def apply_entries(
        self,
        epochs: array[int],
        sequences: array[int],
        data: list[bytes],
        first: int,
        own: Container[int],
        now_us: int,
    ) -> list[int]: ...
    def parked_mutations(self) -> list[bytes]: ...
    def park(self, mutation: bytes) -> None: ...
    def unpark(self, mutation: bytes) -> bool: ...
    def erasure_hashes(self) -> list[int]: ...
    def settle_erasures(self, hashes: Iterable[int]) -> None: ...
    def door(self) -> object: ...
    def begin_call(
        self,
        method: str,
        traceparent: bytes = b"",
        tracestate: bytes = b"",
        baggage: bytes = b"",
    ) -> Call: ...
    @property
    def telemetry(self) -> Telemetry: ...
    def attach_log(self, writes_max: int, *, default_ack: int = 2) -> None: ...
    def log_fd(self, queue: int) -> int: ...
    def log_waiting(self, queue: int) -> int: ...
    def log_refused(self) -> dict[str, int]: ...
    def log_take(
        self,
        queue: int = 0,
        count_max: int = 1000,
        bytes_max: int = 262144,
        gathered: bool = False,
    ) -> LogBatch: ...
    def log_done(self, queue: int, count: int, position: tuple[int, int, int], ack: int) -> int: ...
    def log_failed(self, queue: int, count: int) -> int: ...
    def log_unwait(self, queue: int) -> int: ...
    def log_gate(self, gate: int, why: str = "") -> None: ...
    def replicated_refused(self, why: str) -> None: ...
    def advance(self, position: tuple[int, int, int], now_us: int) -> None: ...
    def rewind(self, position: tuple[int, int, int]) -> None: ...
    def epoch_opened(self, number: int, nonce: int, previous: tuple[int, int, int]) -> None: ...
    def epochs(self) -> list[tuple[int, int, tuple[int, int, int]]]: ...
    def reached(self, position: tuple[int, int, int]) -> bool: ...
    def caught_up(self, now_us: int) -> None: ...
    def log_away(self, away: bool, now_us: int) -> None: ...
    @property
    def consents_until_us(self) -> int | None: ...
    def consents_until(self, steady_us: int) -> None: ...
    @property
    def last_stamp(self) -> int: ...
    def observe(self, stamp: int, now_us: int) -> None: ...
    def await_position(self, token: int, now_us: int, deadline_us: int = 0) -> None: ...
    @property
    def completed_fd(self) -> int: ...
    def completed(self, now_us: int) -> tuple[int, bytes | NextbestError] | None: ...
    def expire(self, kind: int, before_us: int) -> int: ...
    def horizon(self, before_ms: int) -> None: ...
    def relay(self, rows_max: int) -> int: ...
    def digest(self) -> tuple[int, int]: ...
    @property
    def answers_evicted_early(self) -> int: ...
    def memory(self) -> dict[str, int]: ...
    def import_columns(
        self,
        kind: int,
        ids: Sequence[str | bytes],
        columns: Mapping[str, Sequence[object]],
        stamp_ms: int,
    ) -> ImportResult: ...

def canonical(kind: str, data: bytes) -> bytes: ...
def supports_patterns() -> bool:
    """Whether `matches` is available: the engine was built with RE2."""

class Expression:
    """A Code that can be evaluated from Python: for tests, tools and constant folding."""

    def __init__(self, code: Code, arena_max: int = ...) -> None:
        """Load `code`; `arena_max` bounds the bytes of one evaluation, inputs included.

        Raises ValueError when the code is not sound.
        """

    def evaluate(self, inputs: Sequence[object] = (), steps_max: int = ...) -> object:
        """The value for these inputs, by slot; None is an unset one.

        Raises EvaluationError when the result is an error, TypeError, OverflowError,
        MemoryError or ValueError for an input that is no value.
        """

    def measure(self, inputs: Sequence[object], times: int) -> int:
        """How many of `times` evaluations gave true, for benchmarks."""
