"""The configuration: one frozen dataclass for each part, read from file, environment and flags.

A key is `part.field` ("rpc.in_flight_max").  The file nests it, the environment spells it
NEXTBEST_PART_FIELD, a flag is `--set part.field=value`; flags win over the environment, which
wins over the file.  Nothing is reloaded while the server runs.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from nextbest.core.lane.settings import LaneBounds, OverloadBounds, number
from nextbest.server import address as addresses
from nextbest.server.errors import ConfigError
from nextbest.server.log import LogPlaceError
from nextbest.server.log.level import LEVELS
from nextbest.server.log.place import ALLOWED, REDIS, parse
from nextbest.server.log.settings import BackendSettings
from nextbest.server.playbook import scalars
from nextbest.server.telemetry.methods import METHODS
from nextbest.server.telemetry.slo.objective import parse_all as parse_objectives

PREFIX = "NEXTBEST_"
# Variables of the build and of the command line share the prefix.
OTHER_VARIABLES = {
    *("NEXTBEST_CFLAGS", "NEXTBEST_DEBUG"),
    *("NEXTBEST_TARGET", "NEXTBEST_CONFIG", "NEXTBEST_WAIT_S"),
}
ADDRESSES_MAX = 16
PEERS_MAX = 16
BAGGAGE_KEYS_MAX = 16
FILE_BYTES_MAX = 1 << 20

MEMBER_BYTES_MAX = 128
CPUS_MAX = 64
UIDS_MAX = 64
UID_MAX = 2**32 - 2
# The mode of a unix socket, and whose it is.
MODE = re.compile(r"0?[0-7]{3}")
OWNER = re.compile(r"[\w.-]+(:[\w.-]+)?|:[\w.-]+", re.ASCII)

Scalar = bool | int | float | str
Setting = Scalar | tuple[str, ...] | tuple[int, ...]


def _choice(default: bool, doc: str) -> Any:
    return field(default=default, metadata={"doc": doc})


def _text(default: str, doc: str) -> Any:
    return field(default=default, metadata={"doc": doc})


def _word(default: str, allowed: tuple[str, ...], doc: str) -> Any:
    return field(default=default, metadata={"doc": doc, "words": allowed})


def _texts(default: tuple[str, ...], most: int, doc: str) -> Any:
    return field(default=default, metadata={"doc": doc, "most": most})


def _numbers(most: int, largest: int, doc: str) -> Any:
    """No numbers by default; each from 0 to `largest`."""
    return field(default=(), metadata={"doc": doc, "most": most, "largest": largest})


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the server listens and how it stops."""

    addresses: tuple[str, ...] = _texts(
        ("127.0.0.1:7600",),
        ADDRESSES_MAX,
        "host:port, [ipv6]:port or unix:/path; a port of 0 takes a free one",
    )
    reflection: bool = _choice(False, "serve gRPC reflection")
    drain_delay_ms: int = number(
        0, 0, 600_000, "how long to report NOT_SERVING before refusing new calls"
    )
    drain_grace_ms: int = number(
        10_000, 0, 600_000, "how long calls in flight may still run while stopping"
    )


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much the engine holds."""

    profiles_max: int = number(1_000_000, 1, 1_000_000_000, "identities; a full store goes on")
    dedupe_max: int = number(
        10_000_000, 1_000, 4_000_000_000, "event ids remembered to recognise repeats"
    )
    tombstones_max: int = number(
        10_000_000,
        0,
        4_000_000_000,
        "erased identities remembered, each for good; beyond, only who is known can be erased",
    )
    generations_max: int = number(32, 2, 1_000, "published playbooks that can be activated again")
    decisions_max: int = number(
        65_536, 1, 10_000_000, "decisions remembered for 60 s, so that a repeat is the same"
    )


@dataclass(frozen=True, slots=True)
class Rpc:
    """How much callers may send, and how connections are kept."""

    request_bytes_max: int = number(262_144, 1_024, 4_194_304, "one request, a playbook aside")
    playbook_bytes_max: int = number(16_777_216, 1_024, 67_108_864, "all files of one playbook")
    in_flight_max: int = number(
        1_024, 1, 1_000_000, "streams, imports, queries and playbook calls at once"
    )
    streams_max: int = number(1_000, 1, 100_000, "calls at once on one connection")
    pending_max: int = number(
        1_000, 1, 100_000, "calls that gRPC has read and that wait; over it some are CANCELLED"
    )
    publishes_max: int = number(2, 1, 64, "playbooks validated or published at once")
    writes_max: int = number(
        10_000, 1, 1_000_000, "ids of publishes and activations remembered to recognise repeats"
    )
    compile_ms_max: int = number(
        60_000, 100, 3_600_000, "how long compiling a playbook or a query's condition may take"
    )
    query_slice: int = number(500, 1, 1_000_000, "people a query looks at before it yields")
    keepalive_ms: int = number(60_000, 1_000, 7_200_000, "idle time before a ping to the client")
    keepalive_timeout_ms: int = number(20_000, 1_000, 600_000, "how long a ping may go unanswered")
    ping_interval_ms: int = number(
        10_000, 0, 600_000, "clients that ping an idle connection more often are cut off"
    )


@dataclass(frozen=True, slots=True)
class Lane(LaneBounds):
    """The fast lane: decisions and events served natively; none without addresses."""

    addresses: tuple[str, ...] = _texts(
        (), ADDRESSES_MAX, "unix:/path, 127.0.0.1:port or [::1]:port; a port of 0 takes a free one"
    )
    insecure: bool = _choice(
        False, "take addresses that other hosts reach, without TLS: only behind a mesh that has it"
    )
    threads: int = number(0, 0, CPUS_MAX, "native threads; 0 takes one for each of `cpus`, or one")
    cpus: tuple[int, ...] = _numbers(
        CPUS_MAX, 4_095, "a cpu for each thread, kept free of the process's other threads"
    )
    mode: str = _text("0660", "of unix sockets, in octal")
    owner: str = _text("", "of unix sockets: user:group, user or :group; empty leaves the server's")
    peer_uids: tuple[int, ...] = _numbers(
        UIDS_MAX, UID_MAX, "user ids that may connect to unix sockets; empty takes all"
    )

    @property
    def thread_count(self) -> int:
        """How many threads there are."""
        return self.threads or len(self.cpus) or 1

    def cpus_of(self, thread: int) -> tuple[int, ...]:
        """The cpus that a thread is pinned to; none leaves it where the kernel puts it."""
        return self.cpus[thread % len(self.cpus) :][:1] if self.cpus else ()


@dataclass(frozen=True, slots=True)
class Overload(OverloadBounds):
    """Overload: how long calls may wait for their turn before the server sheds load."""

    degrade_on_burn: bool = _choice(
        False,
        "while Decide's objective burns as fast as pages somebody, and for 5 minutes after, "
        "answers are cheaper where a placement's degrade_to lets them; nobody is refused for it",
    )


@dataclass(frozen=True, slots=True)
class Retention:
    """How long identities are kept after their last event or write."""

    known_days: int = number(0, 0, 36_500, "known identities; 0 keeps them")
    anonymous_days: int = number(30, 0, 36_500, "anonymous identities; 0 keeps them")
    alias_days: int = number(0, 0, 36_500, "aliases; 0 keeps them")
    interval_ms: int = number(60_000, 100, 86_400_000, "how often expired ones are looked for")


@dataclass(frozen=True, slots=True)
class Log(BackendSettings):
    """The log: what makes memory safe, and what other nodes follow."""

    place: str = _text(
        "", "as for --log; empty: sqlite: in data.folder, or memory: (none) without one"
    )
    ack: str = _text("", "applied, logged or replicated; empty: logged, or applied without a log")
    member: str = _text("", "this node's name, unlike all others'; empty: host and chance")
    advertise: str = _text(
        "", "where other members reach this one, for its snapshots; empty: they cannot"
    )
    peers: tuple[str, ...] = _texts(
        (), PEERS_MAX, "members to ask for a snapshot before those that the log names"
    )
    answer_ms: int = number(
        0,
        0,
        60_000,
        "a write that the log does not have by then is answered as unknown; 0 is 80 with Redis and "
        "1,000 with SQLite, whose disk may pause",
    )
    waiting_max: int = number(
        10_000, 1, 1_000_000, "writes that wait for the log, of each of two queues"
    )
    retained_ms: int = number(
        600_000, 1_000, 86_400_000, "how long entries are kept in memory to append them again"
    )
    retained_bytes_max: int = number(
        268_435_456, 1_048_576, 1 << 40, "how much of them; what may be lost is kept always"
    )
    stale_ms_max: int = number(
        0, 0, 86_400_000, "health is NOT_SERVING when the log's end was last seen before; 0: never"
    )
    start_ms: int = number(
        30_000, 0, 3_600_000, "how long a start waits for the log before it serves without"
    )
    skew_ms_max: int = number(
        500, 10, 60_000, "how far the clock may be from the log's before writes are refused"
    )
    consent_lease_ms: int = number(
        3_000,
        1_000,
        60_000,
        "a node decides by consents for so long after it last had the log's end; a revocation "
        "waits as long for a node that is cut off, and callers' deadlines have to be longer",
    )
    member_ms: int = number(
        3_600_000, 1_000, 1_000_000_000, "a member not seen for so long does not keep entries"
    )
    snapshot_ms: int = number(
        300_000, 1_000, 86_400_000, "the longest time from one snapshot to the next"
    )
    aside_days: int = number(
        30, 0, 36_500, "how long a snapshot that was set aside is kept; 0: for good"
    )
    dedupe_span_ms: int = number(
        30 * 86_400_000,
        7_200_000,
        3_650 * 86_400_000,
        "how long event ids are recognised, where engine.dedupe_max suffices",
    )


ATTRIBUTION_S_MAX = 3_650 * 86_400


@dataclass(frozen=True, slots=True)
class Data:
    """What is kept on disk."""

    folder: str = _text(
        "", "where log and snapshots are kept; empty: nothing is kept but in log.place"
    )
    playbook: str = _text("", "a playbook's folder, published at the start when it differs")


@dataclass(frozen=True, slots=True)
class Records:
    """Decision records: what is needed to decide again, in files."""

    share: str = _text(
        "0",
        "of decisions to record, by their ids, such as 1%; all that fail or are degraded, too",
    )
    explored: bool = _choice(
        False, "record every decision that has explored, too: to look at, as estimates leave it out"
    )
    folder: str = _text("", "where; empty: records in data.folder")
    file_bytes_max: int = number(
        268_435_456, 1_048_576, 1_099_511_627_776, "when the next file begins"
    )
    files_max: int = number(16, 1, 100_000, "files that are kept, the newest")
    attribution: str = _text(
        "30d", "how long after its decision an outcome is expected: older ones count as expired"
    )
    stream: str = _text(
        "",
        "Redis that takes them as a stream besides, as log.place says where, by the user, password "
        "and TLS of log; empty: none",
    )
    stream_key: str = _text("nextbest.records", "the key of that stream")
    stream_entries_max: int = number(
        10_000, 1, 100_000_000, "about how many entries of 64 KiB it keeps, the newest"
    )
    buffer_bytes: int = number(
        16_777_216, 65_536, 4_294_967_296, "what may wait to be written, twice; more is dropped"
    )


@dataclass(frozen=True, slots=True)
class Shadow:
    """The shadow: a draft that decides beside the active playbook, of which nobody sees a thing."""

    core_percent_max: int = number(
        3, 1, 100, "CPU of its process, of one core; what it cannot decide within that is skipped"
    )
    buffer_bytes: int = number(
        1_048_576, 65_536, 1_073_741_824, "what may wait for it, twice; more is skipped"
    )


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What the server tells of itself."""

    address: str = _text(
        "",
        "host:port for /metrics, /livez and /readyz over HTTP; empty: none; port 0: a free one",
    )
    log_format: str = _word("console", ("console", "json"), "how lines of the log are written")
    log_level: str = _word(
        "info", ("debug", "info", "warning", "error"), "the least that is logged"
    )
    pseudonym_key_file: str = _text(
        "",
        "16 to 64 bytes that events hash decision ids with; empty: a key of this process alone",
    )
    captured: int = number(
        256, 0, 10_000, "calls remembered for `nextbest trace`, of all together 4 MiB"
    )
    baggage: tuple[str, ...] = _texts(
        (), BAGGAGE_KEYS_MAX, "keys of callers' W3C baggage that spans have; it may be user data"
    )


@dataclass(frozen=True, slots=True)
class Slo:
    """What share of calls is to be answered how fast."""

    objectives: tuple[str, ...] = _texts(
        (
            "Decide 99.9% < 5ms over 30d",
            "DecideBatch 99.9% < 50ms over 30d",
            "Track 99.9% < 50ms over 30d",
        ),
        len(METHODS),
        "METHOD PERCENT% < TIME over DAYSd, one for a method; a slower call is kept for a trace",
    )


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be configured."""

    listen: Listen = field(default_factory=Listen)
    engine: Bounds = field(default_factory=Bounds)
    rpc: Rpc = field(default_factory=Rpc)
    lane: Lane = field(default_factory=Lane)
    overload: Overload = field(default_factory=Overload)
    retention: Retention = field(default_factory=Retention)
    log: Log = field(default_factory=Log)
    data: Data = field(default_factory=Data)
    records: Records = field(default_factory=Records)
    shadow: Shadow = field(default_factory=Shadow)
    telemetry: Telemetry = field(default_factory=Telemetry)
    slo: Slo = field(default_factory=Slo)

    def validate(self) -> None:
        """Raise ConfigError with every value that is out of bounds."""
        faults = [
            fault
            for key, part, known in _fields(self)
            if (fault := _bound_fault(key, getattr(part, known.name), known))
        ]
        if not self.listen.addresses:
            faults.append("listen.addresses: empty, allowed: at least one address")
        for address in self.listen.addresses:
            if fault := addresses.fault(address):
                faults.append(f"listen.addresses: {fault}")
        faults += _lane_faults(self.lane)
        faults += _overload_faults(self.overload)
        faults += _log_faults(self.log)
        faults += _record_faults(self.records, self.data)
        faults += _telemetry_faults(self.telemetry)
        faults += _slo_faults(self.slo)
        if faults:
            raise ConfigError(faults)


def _record_faults(records: Records, data: Data) -> list[str]:
    share = scalars.share(records.share)
    if share is None:
        return [f"records.share: {records.share!r}, allowed: {scalars.SHARE_TEXT}"]
    if not 0 < (scalars.span_s(records.attribution) or 0) <= ATTRIBUTION_S_MAX:
        allowed = f"{scalars.SPAN_TEXT}; over 0, at most 3650d"
        return [f"records.attribution: {records.attribution!r}, allowed: {allowed}"]
    if fault := _stream_fault(records):
        return [fault]
    for key, given in (("stream", records.stream), ("explored", records.explored)):
        if given and not share:
            return [f"records.share: {records.share!r}, allowed: over 0, where {key} is set"]
    if share and not records.folder and not data.folder:
        return ["records.folder: empty, allowed: a folder, or data.folder, where share is not 0"]
    return []


def _stream_fault(records: Records) -> str:
    if not records.stream:
        return ""
    if not records.stream_key:
        return "records.stream_key: empty, allowed: a key"
    kind, _, _ = records.stream.partition(":")
    if kind in ("memory", "sqlite"):
        return f"records.stream: {kind}:, allowed: {REDIS}"
    try:
        parse(records.stream)
    except LogPlaceError as error:
        allowed = REDIS if error.allowed == ALLOWED else error.allowed
        return f"records.stream: {error.seen}, allowed: {allowed}"
    return ""


def load(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, str | Sequence[str]] | None = None,
) -> Config:
    """Read the configuration; raise ConfigError with every fault of every source."""
    faults: list[str] = []
    settings: dict[str, Setting] = {}
    known = {key: f for key, _, f in _fields(Config())}
    for key, raw, source in [
        *_from_file(file, faults),
        *_from_environment(environment or {}, known),
        *((key, value, f"--set {key}") for key, value in (flags or {}).items()),
    ]:
        if key not in known:
            faults.append(f"{source}: unknown key{_nearest(key, known)}")
            continue
        try:
            settings[key] = _parse(raw, known[key])
        except ValueError as error:
            faults.append(f"{source}: {raw!r}, allowed: {error}")
    config = _build(settings)
    try:
        config.validate()
    except ConfigError as error:
        faults.extend(error.faults)
    if faults:
        raise ConfigError(faults)
    return config


def sample() -> str:
    """The sample file: every key with its default, bounds and meaning."""
    lines = ["# Every key with its default.  Written by `nextbest schema --config`."]
    for part in fields(Config):
        default = getattr(Config(), part.name)
        lines += ["", f"# {default.__doc__}", f"{part.name}:"]
        for known in fields(default):
            lines.append(f"  # {known.metadata['doc']}{_bounds_text(known)}")
            lines.append(f"  {known.name}: {_yaml(getattr(default, known.name))}")
    return "\n".join(lines) + "\n"


def _fields(config: Config) -> Iterator[tuple[str, Any, Field[Any]]]:
    for part in fields(config):
        value = getattr(config, part.name)
        for known in fields(value):
            yield f"{part.name}.{known.name}", value, known


def _build(settings: Mapping[str, Setting]) -> Config:
    parts: dict[str, dict[str, Any]] = {}
    for key, value in settings.items():
        part, name = key.split(".", 1)
        parts.setdefault(part, {})[name] = value
    default = Config()
    return Config(**{p: type(getattr(default, p))(**values) for p, values in parts.items()})


def _from_file(file: Path | None, faults: list[str]) -> list[tuple[str, Any, str]]:
    if file is None:
        return []
    # Imported here: serving needs no YAML, and a configuration may do without a file.
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            raise ValueError(f"larger than {FILE_BYTES_MAX} bytes")
        content = YAML(typ="safe", pure=True).load(file.read_text("utf-8"))
    except (OSError, ValueError, YAMLError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        faults.append(f"{file}: {reason}")
        return []
    return _flatten(file, {} if content is None else content, faults)


def _flatten(file: Path, content: object, faults: list[str]) -> list[tuple[str, Any, str]]:
    if not isinstance(content, dict):
        faults.append(f"{file}: {type(content).__name__}, allowed: parts with keys")
        return []
    found = []
    parts = [part.name for part in fields(Config)]
    for part, values in content.items():
        if part not in parts:
            faults.append(f"{file}: {part}: unknown part{_nearest(str(part), parts)}")
        elif not isinstance(values, dict):
            faults.append(f"{file}: {part}: {values!r}, allowed: keys with values")
        else:
            found += [(f"{part}.{k}", v, f"{file}: {part}.{k}") for k, v in values.items()]
    return found


def _from_environment(
    environment: Mapping[str, str], known: Mapping[str, Field[Any]]
) -> list[tuple[str, Any, str]]:
    names = {PREFIX + key.replace(".", "_").upper(): key for key in known}
    return [
        (names.get(name, name), value, name)
        for name, value in sorted(environment.items())
        if name.startswith(PREFIX) and name not in OTHER_VARIABLES
    ]


def _nearest(seen: str, names: Mapping[str, object] | Sequence[str]) -> str:
    spelled = {name: name for name in names}
    if seen.startswith(PREFIX):
        spelled = {PREFIX + name.replace(".", "_").upper(): name for name in names}
    close = difflib.get_close_matches(seen, spelled, n=1, cutoff=0.6)
    return f", nearest: {close[0]}" if close else ""


def _parse(raw: object, known: Field[Any]) -> Setting:
    kind: type = type(known.default)
    if kind is tuple:
        return _parse_numbers(raw) if "largest" in known.metadata else _parse_texts(raw)
    if kind is bool:
        return _parse_bool(raw)
    if kind is int:
        return _parse_int(raw)
    if not isinstance(raw, str):
        raise ValueError("a text")
    return raw


def _parse_texts(raw: object) -> tuple[str, ...]:
    items = [i.strip() for i in raw.split(",") if raw.strip()] if isinstance(raw, str) else raw
    if not isinstance(items, list | tuple) or not all(isinstance(i, str) and i for i in items):
        raise ValueError("a list of texts")
    return tuple(items)


def _parse_numbers(raw: object) -> tuple[int, ...]:
    items = raw.split(",") if isinstance(raw, str) else raw
    try:
        # A list comes of the file, or of a repeated flag.
        if not isinstance(items, list | tuple):
            raise ValueError
        return tuple(_parse_int(i.strip() if isinstance(i, str) else i) for i in items)
    except ValueError:
        raise ValueError("a list of whole numbers") from None


def _parse_bool(raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and raw.lower() in {"true", "false"}:
        return raw.lower() == "true"
    raise ValueError("true or false")


def _parse_int(raw: object) -> int:
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    if isinstance(raw, str):
        digits = raw.replace("_", "")
        if digits.lstrip("-").isdecimal() and digits.isascii() and len(digits) <= 19:
            return int(digits)
    raise ValueError("a whole number")


def _bound_fault(key: str, value: object, known: Field[Any]) -> str:
    least: Any = known.metadata.get("least")
    most: Any = known.metadata.get("most")
    if isinstance(value, tuple):
        return _entries_fault(key, value, known)
    words = known.metadata.get("words")
    if words and value not in words:
        return f"{key}: {value!r}, allowed: {', '.join(words)}"
    if isinstance(value, int) and least is not None and not least <= value <= most:
        return f"{key}: {value}, allowed: {least} to {most}"
    return ""


def _entries_fault(key: str, entries: tuple[Any, ...], known: Field[Any]) -> str:
    most: int = known.metadata["most"]
    largest: int | None = known.metadata.get("largest")
    if len(entries) > most:
        return f"{key}: {len(entries)} entries, allowed: at most {most}"
    if largest is not None and not all(0 <= entry <= largest for entry in entries):
        return f"{key}: {_yaml(entries)}, allowed: each from 0 to {largest}"
    return ""


def _lane_faults(lane: Lane) -> list[str]:
    faults = [f"lane.addresses: {f}" for a in lane.addresses if (f := _lane_fault(a, lane))]
    if not MODE.fullmatch(lane.mode):
        faults.append(f'lane.mode: {lane.mode!r}, allowed: three octal digits such as "0660"')
    if lane.owner and not OWNER.fullmatch(lane.owner):
        faults.append(f"lane.owner: {lane.owner!r}, allowed: user:group, user or :group")
    if len(set(lane.cpus)) < len(lane.cpus):
        faults.append(f"lane.cpus: {_yaml(lane.cpus)}, allowed: each once")
    if len(lane.cpus) > lane.thread_count > 0:
        seen = f"{len(lane.cpus)} for {lane.thread_count} threads"
        faults.append(f"lane.cpus: {seen}, allowed: at most one for each thread")
    return faults


def _lane_fault(address: str, lane: Lane) -> str:
    if (fault := addresses.fault(address)) or lane.insecure or addresses.is_private(address):
        return fault
    return (
        f"{address}: other hosts reach it and the lane has no TLS yet; allowed: unix:/path or a "
        "loopback address, or behind a mesh that encrypts say --fast-lane-insecure (lane.insecure)"
    )


def _overload_faults(overload: Overload) -> list[str]:
    """Each wait is at least as long as the one whose means are milder."""
    names = ("target_ms", "no_scoring_ms", "fallback_ms", "refuse_ms")
    return [
        f"overload.{name}: {getattr(overload, name)}, allowed: at least overload.{milder} "
        f"({getattr(overload, milder)})"
        for milder, name in pairwise(names)
        # What is out of its own range is told of already.
        if 0 < getattr(overload, name) < getattr(overload, milder)
    ]


def _log_faults(log: Log) -> list[str]:
    faults = []
    kind = ""
    try:
        kind = parse(log.place).kind if log.place else ""
    except LogPlaceError as error:
        faults.append(f"log.place: {str(error).removeprefix('log: ')}")
    if log.ack and log.ack not in LEVELS:
        faults.append(f"log.ack: {log.ack!r}, allowed: {', '.join(LEVELS)}")
    elif kind == "memory" and log.ack in {"logged", "replicated"}:
        faults.append(f"log.ack: {log.ack}, allowed: applied: memory: keeps no log")
    if len(log.member.encode()) > MEMBER_BYTES_MAX:
        faults.append(f"log.member: too long, allowed: at most {MEMBER_BYTES_MAX} bytes")
    for key, given in (("advertise", (log.advertise,)), ("peers", log.peers)):
        wrong = [why for address in given if address and (why := addresses.fault(address))]
        faults += [f"log.{key}: {why}" for why in wrong]
    return faults


def _telemetry_faults(telemetry: Telemetry) -> list[str]:
    address = telemetry.address
    if address and (addresses.unix_path(address) or addresses.fault(address)):
        return [f"telemetry.address: {address!r}, allowed: host:port or [ipv6]:port"]
    return []


def _slo_faults(slo: Slo) -> list[str]:
    try:
        parse_objectives(slo.objectives)
    except ValueError as error:
        return [f"slo.objectives: {error}"]
    return []


def _bounds_text(known: Field[Any]) -> str:
    least, most = known.metadata.get("least"), known.metadata.get("most")
    if words := known.metadata.get("words"):
        return f" ({', '.join(words)})"
    if least is not None:
        return f" ({least} to {most})"
    return f" (at most {most})" if most is not None else ""


def _yaml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(_yaml(item) for item in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)
