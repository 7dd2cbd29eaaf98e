"""What every command shares: output for people and programs, and values from arguments."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.table import Table

from nextbest.server.command.waiting import await_listening
from nextbest.server.playbook.scalars import SPAN_TEXT, span_s
from nextbest.v1 import common_pb2

if TYPE_CHECKING:
    from nextbest.client import Client
    from nextbest.client.value import Plain

Answer = TypeVar("Answer", bound=Message)
EXIT_REFUSED, EXIT_USAGE, EXIT_UNAVAILABLE = 1, 2, 3
ADDRESS = "127.0.0.1:7600"
PAIR = "NAME=VALUE"
MOMENT = "2026-06-01T12:00:00Z"
NO_SERVER = "start a server with `nextbest serve`, or name one with --to"
TOO_LATE = (
    "it did not answer in time: a write may have been done, so repeat it with the same id; "
    "--to names another server"
)
VALUE = "A value is JSON, a date and time, or else text: 1 is a number, '\"1\"' a text."

To: TypeAlias = Annotated[
    str,
    typer.Option(
        "--to",
        envvar="NEXTBEST_TARGET",
        help="host:port or unix:/path; a,b for several.",
        metavar="ADDRESS",
    ),
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Kind: TypeAlias = Annotated[
    str, typer.Option("--kind", "-k", help="known, anonymous or alias.", metavar="KIND")
]
Ack: TypeAlias = Annotated[
    str,
    typer.Option(
        "--ack",
        help="When to answer: applied, logged or replicated; the server's default.",
        metavar="LEVEL",
    ),
]
Every: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--await-members/--no-await-members",
        help="Whether to wait until no node decides without it; the server's default.",
        show_default=False,
    ),
]
Timeout: TypeAlias = Annotated[
    float,
    typer.Option(
        "--timeout", min=0.001, help="How long to wait for the answer.", metavar="SECONDS"
    ),
]
Pairs: TypeAlias = list[str]

# Of what is counted several times, in more places than one.
AGAIN = "record|records of decisions made again under their ids, or copied: each counts once"
REPEATED = "outcome|outcomes came again: each counts once"
_ONE_OR_MANY = re.compile(r"(\w+)\|(\w+)")
_KINDS = {
    "known": common_pb2.IDENTITY_KIND_KNOWN,
    "anonymous": common_pb2.IDENTITY_KIND_ANONYMOUS,
    "alias": common_pb2.IDENTITY_KIND_ALIAS,
}


def out() -> Console:
    """Where results go."""
    return Console(highlight=False, markup=False, soft_wrap=not sys.stdout.isatty())


def complain(text: str) -> None:
    """One clear line on standard error."""
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(text, style="red")


def counted(count: int, what: str) -> str:
    """A count and what it is of: of each "one|many" in `what` the word that goes with the count."""
    return f"{count:,} " + _ONE_OR_MANY.sub(r"\1" if count == 1 else r"\2", what)


def refuse_given(options: Mapping[str, object], needed: str) -> None:
    """Refuse options, by their names, that do nothing without another one."""
    given = [name for name, value in options.items() if value]
    if given:
        raise typer.BadParameter(f"without {needed}", param_hint=", ".join(given))


def connect(to: str, wait: bool = True) -> Client:
    """A client for `--to`; a server that has just been started is waited for."""
    # Imported here: half of the commands speak to no server and need no gRPC.
    from nextbest.client import Client

    target = listening(to) if wait else target_of(to)
    # One command makes few calls: looking for the fast lane would take longer than they do.
    return Client(target, fast_lane=False)


def addresses_of(to: str) -> list[str]:
    """What `--to` names, each by itself."""
    return [address.strip() for address in to.split(",")]


def listening(to: str) -> str:
    """The gRPC target of `--to`, once nobody refuses connections there any more."""
    target = target_of(to)
    await_listening(addresses_of(to))
    return target


def target_of(to: str) -> str:
    """The gRPC target of `--to`."""
    from nextbest.client.address import target

    try:
        return target(addresses_of(to))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--to") from None


def identity(kind: str, id: str) -> common_pb2.Identity:
    """The identity that a command is about."""
    if kind not in _KINDS:
        raise typer.BadParameter(f"{kind!r}, allowed: {', '.join(_KINDS)}", param_hint="--kind")
    return common_pb2.Identity(kind=_KINDS[kind], id=id)


def ack_of(level: str) -> Any:
    """The level of `--ack`; None for the server's default."""
    from nextbest.client.request import ack_level

    try:
        ack_level(level or None)  # type: ignore[arg-type]
    except ValueError:
        allowed = "applied, logged or replicated"
        raise typer.BadParameter(f"{level!r}, allowed: {allowed}", param_hint="--ack") from None
    return level or None


def values(pairs: Sequence[str], hint: str) -> dict[str, Plain]:
    """NAME=VALUE arguments; a value is JSON, a date and time, or else text."""
    found: dict[str, Plain] = {}
    for number, pair in enumerate(pairs, 1):
        name, equals, text = pair.partition("=")
        if not equals or not name:
            # Not quoted: it may be a person's value, and what is printed may be kept.
            seen = f"number {number} has no {'name' if equals else '='}"
            raise typer.BadParameter(f"{seen}, allowed: NAME=VALUE", param_hint=hint)
        found[name] = _value(text)
    return found


def moment(text: str, hint: str) -> datetime | None:
    """A date and time of an option; None when it is not given."""
    return _moment(text, hint, f"a date and time such as {MOMENT}") if text else None


def _moment(text: str, hint: str, allowed: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r}, allowed: {allowed}", param_hint=hint) from None


def before_now(text: str, hint: str) -> datetime:
    """The moment that a span such as 2h is before now."""
    seconds = span_s(text)
    if seconds is None:
        raise typer.BadParameter(f"{text!r}, allowed: {SPAN_TEXT}", param_hint=hint)
    try:
        return datetime.now(UTC) - timedelta(seconds=seconds)
    except OverflowError:
        allowed = "a span that began after the year 1"
        raise typer.BadParameter(f"{text!r}, allowed: {allowed}", param_hint=hint) from None


def moment_us(text: str, hint: str, otherwise: int) -> int:
    """A date and time, or a span before now such as 7d, in microseconds since 1970."""
    if not text:
        return otherwise
    if span_s(text) is not None:
        found = before_now(text, hint)
    else:
        given = _moment(text, hint, f"{MOMENT}, or a span before now such as 7d")
        # Without a zone it is UTC: a server's records are the same wherever they are read.
        found = given if given.tzinfo else given.replace(tzinfo=UTC)
    return round(found.timestamp() * 1_000_000)


def show_json(content: Message | object) -> None:
    """Print a message, or anything JSON has and messages in it, on one line."""
    sys.stdout.write(json.dumps(content, ensure_ascii=False, default=_plain) + "\n")


def _plain(message: Message) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True)


def show_each(
    to: str, answers: Mapping[str, Answer], as_json: bool, show: Callable[[Answer], None]
) -> None:
    """Show what nodes answer, by their addresses, which are named where `--to` has several."""
    several = len(addresses_of(to)) > 1
    if as_json:
        show_json(answers if several else next(iter(answers.values())))
        return
    for address, answer in answers.items():
        if several:
            out().print(f"{address}:")
        show(answer)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """A table for people; columns whose name ends with # are numbers."""
    made = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        justify: Any = "right" if column.endswith("#") else "left"
        made.add_column(column.removesuffix("#"), justify=justify, overflow="fold")
    for row in rows:
        made.add_row(*(str(cell) for cell in row))
    return made


def _value(text: str) -> Plain:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = text
    if isinstance(found, dict):
        return text
    if isinstance(found, str) and found == text and "T" in text:
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            return text
    plain: Plain = found
    return plain
