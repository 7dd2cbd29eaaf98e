"""The environment: reading the standard's OTEL_* variables, of which an empty one is not set."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from nextbest.server.errors import ConfigError

GRPC, HTTP = "grpc", "http/protobuf"
SIGNALS = ("TRACES", "METRICS", "LOGS")
EXPORTERS = ("otlp", "console", "none")
NUMBER_MAX = 1_000_000
SECONDS_MAX = 3_600

Environment = Mapping[str, str]

# A field name of RFC 9110, 5.1, and a value of W3C Baggage, 3.3.1, or with spaces: what the
# exporters take.  They write what they do not take to the log.
_HEADER = re.compile(
    r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\s*=[\x20\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*"
)

_log = logging.getLogger(__name__)


def word(
    environment: Environment, names: Sequence[str], default: str, allowed: Sequence[str]
) -> str:
    """The first variable that is set, in lower case."""
    name, given = _first(environment, names)
    text = given.lower()
    if text and text not in allowed:
        raise ConfigError([f"{name}: {text!r}, allowed: {', '.join(allowed)}"])
    return text or default


def count(environment: Environment, name: str, default: int) -> int:
    """A whole number from 1."""
    text = environment.get(name, "").strip() or str(default)
    if not text.isdecimal() or not text.isascii() or not 1 <= int(text[:10]) <= NUMBER_MAX:
        raise ConfigError([f"{name}: {text!r}, allowed: a whole number from 1 to {NUMBER_MAX}"])
    return int(text)


def check_seconds(environment: Environment, name: str) -> None:
    """Refuse what is no span of time; the exporters read it."""
    text = environment.get(name, "").strip()
    try:
        if text and not 0 < float(text) <= SECONDS_MAX:
            raise ValueError
    except ValueError:
        raise ConfigError([f"{name}: {text!r}, allowed: up to {SECONDS_MAX} seconds"]) from None


def check_endpoint(environment: Environment, name: str, protocol: str) -> None:
    """Refuse what is no address; the exporters read it."""
    text = environment.get(name, "").strip()
    # A password does not belong into an error.
    shown = re.sub("^([a-z]+://)?.*@", r"\1...@", text, flags=re.IGNORECASE | re.DOTALL)
    wrong = f"{name}: {shown!r}, allowed: http://host:port or https://host:port"
    try:
        parts = urlsplit(text)
        # gRPC takes an address without a scheme, and names of its own resolvers.
        if (
            text
            and parts.port != 0
            and (parts.scheme in {"http", "https"} or (protocol == GRPC and _is_target(text)))
        ):
            return
    except ValueError:
        raise ConfigError([wrong]) from None
    if text:
        raise ConfigError([wrong])


def _is_target(text: str) -> bool:
    """Whether it may be an address of gRPC's (grpc/doc/naming.md)."""
    scheme, separator, _ = text.partition("://")
    return not separator or scheme in {"dns", "unix"}


def check_headers(environment: Environment, name: str) -> None:
    """Refuse what is no list of headers, without its values: they are secrets mostly."""
    parts = [part for part in environment.get(name, "").split(",") if part.strip()]
    if wrong := sum(not _HEADER.fullmatch(part.strip()) for part in parts):
        allowed = "name=value,name=value with the values URL-encoded"
        raise ConfigError(
            [f"{name}: {wrong} of {len(parts)} parts are no header, allowed: {allowed}"]
        )


def exporter(environment: Environment, signal: str) -> str:
    """One of EXPORTERS; none without an endpoint: a server without a collector needs no errors.

    signal: one of SIGNALS.
    """
    disabled = word(environment, ("OTEL_SDK_DISABLED",), "false", ("true", "false"))
    name = word(environment, (f"OTEL_{signal}_EXPORTER",), "otlp", EXPORTERS)
    has_endpoint = any(map(environment.get, variables(signal, "ENDPOINT")))
    if disabled == "true" or (name == "otlp" and not has_endpoint):
        return "none"
    return name


def variables(signal: str, name: str) -> tuple[str, str]:
    """An exporter's variable for a signal, and the one for all of them."""
    return f"OTEL_EXPORTER_OTLP_{signal}_{name}", f"OTEL_EXPORTER_OTLP_{name}"


def protocol(environment: Environment, signal: str) -> str:
    """GRPC or HTTP, with its endpoints and timeouts checked."""
    found = word(environment, variables(signal, "PROTOCOL"), GRPC, (GRPC, HTTP))
    for name in variables(signal, "TIMEOUT"):
        check_seconds(environment, name)
    for name in variables(signal, "ENDPOINT"):
        check_endpoint(environment, name, found)
    for name in variables(signal, "HEADERS"):
        check_headers(environment, name)
    return found


def warn_of_tls(environment: Environment) -> None:
    """Say that an endpoint without a scheme has TLS: the errors of a receiver without do not."""
    for name in sorted({_tls_implied(environment, signal) for signal in SIGNALS} - {""}):
        _log.warning(
            "%s names neither http:// nor https://, so that TLS is used: where its receiver has "
            "none, write http:// before it, or set OTEL_EXPORTER_OTLP_INSECURE=true",
            name,
        )


def _tls_implied(environment: Environment, signal: str) -> str:
    """The variable of a signal's endpoint if it has TLS without saying so, else empty."""
    if exporter(environment, signal) != "otlp" or protocol(environment, signal) != GRPC:
        return ""
    name, endpoint = _first(environment, variables(signal, "ENDPOINT"))
    _, insecure = _first(environment, variables(signal, "INSECURE"))
    return "" if "://" in endpoint or insecure.lower() == "true" else name


def _first(environment: Environment, names: Sequence[str]) -> tuple[str, str]:
    """The first variable that is set, and what it says; both empty for none."""
    for name in names:
        if text := environment.get(name, "").strip():
            return name, text
    return "", ""
