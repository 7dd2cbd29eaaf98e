"""`nextbest consent`: what a person allows, and where they are not to be contacted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console

from nextbest.client.limits import CONSENT_S
from nextbest.client.request import Consent
from nextbest.server.command.console import (
    ADDRESS,
    MOMENT,
    Ack,
    AsJson,
    Every,
    Kind,
    Timeout,
    To,
    ack_of,
    connect,
    identity,
    moment,
    out,
    show_json,
)
from nextbest.v1 import profile_pb2


def consent_command(
    id: Annotated[str, typer.Argument(help="The person's id.", metavar="ID")],
    subject: Annotated[
        str,
        typer.Argument(help="A purpose; with --reason a channel.", metavar="PURPOSE|CHANNEL"),
    ],
    status: Annotated[
        str,
        typer.Argument(
            help="granted, denied or revoked; with --reason granted ends the reason.",
            metavar="STATUS",
        ),
    ],
    kind: Kind = "known",
    basis: Annotated[
        str, typer.Option("--basis", help="The lawful basis of a grant.", metavar="BASIS")
    ] = "",
    reason: Annotated[
        str,
        typer.Option("--reason", help="Why not to contact them in a channel.", metavar="REASON"),
    ] = "",
    until: Annotated[
        str, typer.Option("--until", help="When a grant ends; never by default.", metavar=MOMENT)
    ] = "",
    at: Annotated[
        str, typer.Option("--at", help="When they said so; now by default.", metavar=MOMENT)
    ] = "",
    source: Annotated[
        str, typer.Option("--source", help="Where they said so.", metavar="TEXT")
    ] = "",
    ack: Ack = "",
    await_members: Every = None,
    timeout: Timeout = CONSENT_S,
    to: To = ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Record what a person allows, or where not to contact them.

    Examples:

      nextbest consent ann email_marketing granted --basis consent --until 2027-06-01T00:00:00Z

      nextbest consent ann email denied --reason unsubscribed

      nextbest consent ann email granted --reason unsubscribed
    """
    consent = Consent(
        identity(kind, id),
        subject,
        status,  # type: ignore[arg-type]
        reason=reason,
        basis=basis,
        occurred_at=moment(at, "--at"),
        expires_at=moment(until, "--until"),
        source=source,
        ack=ack_of(ack),
        await_members=await_members,
    )
    try:
        consent.message()
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    with connect(to) as client:
        response = client.write_consent(consent, timeout=timeout)
    if as_json:
        show_json(response)
    else:
        out().print(f"{subject} of {id}: {_said(status, reason)}")


def _said(status: str, reason: str) -> str:
    """What was recorded: a reason that is granted is over."""
    if reason and status == "granted":
        return f"{reason} is over"
    return f"{status}, {reason}" if reason else status


def show_consents(console: Console, person: profile_pb2.Profile) -> None:
    """What a person has said, a line each."""
    for consent in person.consents:
        console.print(f"consent {consent.purpose}: {_consent(consent)}")
    for channel in person.channel_consents:
        console.print(f"channel {channel.channel}, {channel.reason}: {_channel(channel)}")


def _consent(each: profile_pb2.Consent) -> str:
    ended = each.status == profile_pb2.CONSENT_STATUS_GRANTED and not each.holds
    status = "expired" if ended else _word(profile_pb2.ConsentStatus, each.status)
    basis = f" ({_word(profile_pb2.LawfulBasis, each.lawful_basis)})" if each.lawful_basis else ""
    until = f" until {_time(each.expires_at)}" if each.HasField("expires_at") else ""
    source = f", {each.source}" if each.source else ""
    return f"{status}{basis} since {_time(each.occurred_at)}{until}{source}"


def _channel(each: profile_pb2.ChannelConsent) -> str:
    """A reason that was granted is over."""
    over = each.status == profile_pb2.CONSENT_STATUS_GRANTED
    source = f", {each.source}" if each.source else ""
    return f"{'over' if over else 'do not contact'} since {_time(each.occurred_at)}{source}"


def _word(kind: Any, number: int) -> str:
    start = kind.keys()[0].removesuffix("UNSPECIFIED")
    name: str = kind.Name(number)
    return name.removeprefix(start).lower()


def _time(time: Timestamp) -> str:
    return datetime.fromtimestamp(time.seconds, UTC).isoformat().replace("+00:00", "Z")
