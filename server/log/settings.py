"""What the backends of the log can be told besides where the log is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nextbest.core.lane.settings import number


def _text(default: str, doc: str) -> Any:
    return field(default=default, metadata={"doc": doc})


def _choice(doc: str) -> Any:
    return field(default=False, metadata={"doc": doc})


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """How the log is reached, and what is asked of the Redis hosts around it."""

    file_bytes_max: int = number(
        64 << 30, 1 << 20, 1 << 46, "the log's file in SQLite; a full one refuses writes"
    )
    stream: str = _text("nextbest", "the key of the stream in Redis")
    connect_ms: int = number(1_000, 10, 60_000, "how long connecting to one Redis host may take")
    timeout_ms: int = number(1_000, 10, 60_000, "how long Redis may take to answer")
    wait_ms: int = number(500, 10, 60_000, "how long replicas may take, for REPLICATED")
    replicas: int = number(
        0, 0, 100, "replicas that REPLICATED waits for; 0: half of all Redis hosts, rounded down"
    )
    user: str = _text("", "the ACL user; a user in the log's URL goes before it")
    password_file: str = _text("", "a file with that user's password; one in the URL goes first")
    sentinel_user: str = _text("", "the ACL user of the Sentinels")
    sentinel_password_file: str = _text("", "a file with that user's password")
    tls_ca_file: str = _text("", "the authorities to trust; empty: the system's")
    tls_cert_file: str = _text("", "the certificate to show to Redis")
    tls_key_file: str = _text("", "its private key")
    trust_build: bool = _choice("the Redis build has a back-port of the fix of CVE-2025-49844")
    # Loopback addresses with other ports are one host, which a crash takes whole.  Tests and the
    # demonstration run a whole topology on one machine and must be able to look like a real one.
    hosts_by_port: bool = _choice("count each port of an address as a host, to try things out")
