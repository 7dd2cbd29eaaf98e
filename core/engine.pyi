"""Types of the compiled engine; the meaning of each is in its docstring there."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from nextbest.core.errors import NextbestError
from nextbest.core.expression.code import Code
from nextbest.core.playbook.plan import Attribute, Counter, Plan

class GenerationInfo(NamedTuple):
    number: int
    hash: bytes
    published_at_us: int
    description: str
    active: bool

class QuerySlice(NamedTuple):
    profiles: list[bytes]
    scanned: int
    errors: int
    cursor: int

class ImportResult(NamedTuple):
    created: int
    updated: int
    refused: list[tuple[int, int | str, str, str]]

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
    def oldest_ms(self) -> int: ...
    def extend(
        self, attributes: Sequence[Attribute], counters: Sequence[Counter]
    ) -> tuple[list[int], list[int]]: ...
    def relay(self, rows_max: int) -> int: ...
    def horizon(self, before_ms: int) -> int: ...
    def expire(self, kind: int, before_us: int) -> int: ...
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
    ) -> None: ...
    @property
    def generation(self) -> int: ...
    @property
    def playbook_hash(self) -> bytes: ...
    @property
    def position(self) -> tuple[int, int, int]: ...
    def publish(
        self, plan: Plan, *, description: str = "", published_at_us: int = 0, number: int = 0
    ) -> int: ...
    def activate(self, generation: int) -> int: ...
    def generations(self) -> list[GenerationInfo]: ...
    def decide(self, request: bytes, now_us: int, deadline_us: int = 0) -> bytes: ...
    def decide_batch(
        self,
        request: bytes,
        now_us: int,
        deadline_us: int,
        status: Callable[[NextbestError], bytes],
    ) -> bytes: ...
    def track(self, request: bytes, now_us: int) -> bytes: ...
    def upsert(self, request: bytes, now_us: int) -> bytes: ...
    def link(self, request: bytes, now_us: int) -> bytes: ...
    def profile(self, request: bytes, now_us: int) -> bytes: ...
    def query(
        self, plan: Plan, now_us: int, profiles: bool, cursor: int, scan_max: int
    ) -> QuerySlice: ...
    def apply(self, mutation: bytes) -> None: ...
    def expire(self, kind: int, before_us: int) -> int: ...
    def horizon(self, before_ms: int) -> None: ...
    def relay(self, rows_max: int) -> int: ...
    def digest(self) -> tuple[int, int]: ...
    def memory(self) -> dict[str, int]: ...
    def import_columns(
        self,
        kind: int,
        ids: Sequence[str | bytes],
        columns: Mapping[str, Sequence[object]],
        stamp_ms: int,
    ) -> ImportResult: ...

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
