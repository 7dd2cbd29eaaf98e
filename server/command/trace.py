"""`nextbest trace`: the calls that a server remembers, and where the time of one went."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer
from google.protobuf.duration_pb2 import Duration
from rich.table import Table

from nextbest.server.command.console import (
    ADDRESS,
    AsJson,
    To,
    addresses_of,
    connect,
    out,
    show_each,
    table,
)
from nextbest.server.command.units import seconds
from nextbest.server.telemetry.methods import CODES, METHODS, REASONS, short_name
from nextbest.v1 import trace_pb2

if TYPE_CHECKING:
    from nextbest.client import Client

Traced: TypeAlias = trace_pb2.GetTraceResponse | trace_pb2.ListTracesResponse
TRACE_ID = re.compile("[0-9a-f]{32}")
BAR_WIDTH = 32
BLOCK = "█"


def trace_command(
    id: Annotated[
        str, typer.Argument(help="A trace's id; without it the calls are listed.", metavar="ID")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1_000, help="Of a list.")] = 20,
    kept_for: Annotated[
        str, typer.Option(help=f"List those alone that were kept for it: {', '.join(REASONS)}.")
    ] = "",
    method: Annotated[
        str, typer.Option(help=f"List those of one method alone: {', '.join(METHODS)}.")
    ] = "",
    code: Annotated[
        str, typer.Option(help="List those with one gRPC status alone: OK, UNAVAILABLE ...")
    ] = "",
    to: To = ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Show a call that was slow, degraded, in error or sampled, step by step.

    A server remembers the last ones (`telemetry.captured`), whether or not it exports them.  Of
    several nodes each is asked, one after the other.

    Examples:

      nextbest trace

      nextbest trace --kept-for slow --method Decide

      nextbest trace 0af7651916cd43dd8448eb211c80319c
    """
    if id and not TRACE_ID.fullmatch(id.lower()):
        raise typer.BadParameter(f"{id!r}, allowed: 32 hexadecimal digits", param_hint="ID")
    if id and (kept_for or method or code):
        text = "give an id, or an option for a list of them, not both"
        raise typer.BadParameter(text, param_hint="ID")
    reason = _name(kept_for, REASONS, "--kept-for")
    name = _name(method, METHODS, "--method")
    status = _name(code, CODES, "--code")

    def ask(client: Client) -> Traced:
        if id:
            return client.trace(id.lower())
        return client.traces(limit=limit, kept_for=reason, method=name, code=status)

    show_each(to, _found(addresses_of(to), ask), as_json, _show if id else _show_list)


def _name(given: str, names: Iterable[str], option: str) -> str:
    """The name that is meant, however it is written; empty for none."""
    found = {name.lower(): name for name in names}
    if given and given.lower() not in found:
        allowed = ", ".join(found.values())
        raise typer.BadParameter(f"{given!r}, allowed: {allowed}", param_hint=option)
    return found.get(given.lower(), "")


def _found(addresses: Sequence[str], ask: Callable[[Client], Traced]) -> dict[str, Traced]:
    """What each node has; of one trace what those have that know it, NotFoundError if none does."""
    from nextbest.client.errors import NotFoundError

    found: dict[str, Traced] = {}
    for address in addresses:
        with connect(address) as client:
            try:
                found[address] = ask(client)
            except NotFoundError:
                if not found and address == addresses[-1]:
                    raise
    return found


def _show_list(answer: Traced) -> None:
    if not answer.calls:
        out().print(
            "no such call is remembered; those that were slow, degraded, in error or sampled are "
            "(OTEL_TRACES_SAMPLER=always_on for the server: all)"
        )
        return
    columns = ("trace", "began", "took#", "call", "kept for")
    rows = [
        (
            one.trace_id,
            f"{one.began.ToDatetime():%H:%M:%S}",
            seconds(_ns(one.took) / 1e9),
            f"{short_name(one.method)} {one.code} {one.lane}",
            ", ".join(one.kept_for),
        )
        for one in answer.calls
    ]
    shown = table("", columns, rows)
    # To be copied from here.
    shown.columns[0].no_wrap = True
    out().print(shown)


def _show(answer: Traced) -> None:
    for one in answer.calls:
        took = seconds(_ns(one.took) / 1e9)
        out().print(
            f"{short_name(one.method)} {one.code}, {took} on the {one.lane} lane at "
            f"{one.began.ToDatetime():%Y-%m-%d %H:%M:%S.%f} UTC, kept for: "
            f"{', '.join(one.kept_for)}"
        )
        out().print(_waterfall(one))
        for name, value in sorted(one.attributes.items()):
            out().print(f"  {name} {value}")


def _waterfall(call: trace_pb2.TracedCall) -> Table:
    whole = max(_ns(call.took), 1)
    rows = [
        (
            f"{step.name} (sum)" if step.summed else step.name,
            seconds(_ns(step.took) / 1e9),
            f"{_ns(step.took) / whole:.0%}",
            _bar(_ns(step.after) / whole, _ns(step.took) / whole),
        )
        for step in call.steps
    ]
    return table("", ("step", "took#", "share#", "when"), rows)


def _bar(begin: float, length: float) -> str:
    """Blocks where the step was, one at least."""
    start = min(int(begin * BAR_WIDTH), BAR_WIDTH - 1)
    return " " * start + BLOCK * max(round((begin + length) * BAR_WIDTH) - start, 1)


def _ns(span: Duration) -> int:
    return span.ToNanoseconds()
