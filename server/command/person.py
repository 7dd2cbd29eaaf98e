"""`nextbest decide`, `track`, `profile`, `erase` and `query`: calls about people."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Final

import typer

from nextbest.client.limits import CONSENT_S
from nextbest.client.value import plain
from nextbest.server.command.consent import show_consents
from nextbest.server.command.console import (
    ADDRESS,
    MOMENT,
    PAIR,
    VALUE,
    Ack,
    AsJson,
    Every,
    Kind,
    Timeout,
    To,
    ack_of,
    before_now,
    complain,
    connect,
    identity,
    moment,
    out,
    show_json,
    table,
    values,
)
from nextbest.server.command.explain import show_decision, show_scores
from nextbest.v1 import common_pb2, event_pb2, profile_pb2

# At most so many people are listed by the server.
QUERY_MAX: Final = 1_000_000

Id = Annotated[str, typer.Argument(help="The person's id.", metavar="ID")]
Now = Annotated[
    str, typer.Option("--now", help="The moment of the answer; now by default.", metavar=MOMENT)
]
Attributes = Annotated[
    list[str] | None,
    typer.Option(
        "--attributes",
        "-a",
        help=f"For this decision only; repeatable. {VALUE}",
        metavar=PAIR,
    ),
]


def decide_command(
    id: Id,
    placements: Annotated[
        list[str] | None,
        typer.Argument(help="The placements to fill; none for scores alone.", metavar="PLACEMENT"),
    ] = None,
    kind: Kind = "known",
    scores: Annotated[
        list[str] | None,
        typer.Option(
            "--score", "-s", help="Only these; repeatable, all by default.", metavar="NAME"
        ),
    ] = None,
    attributes: Attributes = None,
    context: Annotated[
        list[str] | None,
        typer.Option("--context", "-c", help="What the request says; repeatable.", metavar=PAIR),
    ] = None,
    now: Now = "",
    seed: Annotated[
        int,
        typer.Option(
            min=0,
            max=2**64 - 1,
            help="Feeds random draws; 0: the server chooses.",
            metavar="NUMBER",
        ),
    ] = 0,
    decision_id: Annotated[
        str, typer.Option(help="The same id gets the same answer.", metavar="ID")
    ] = "",
    explain: Annotated[
        bool, typer.Option("--explain", "-e", help="Every candidate's fate.")
    ] = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="Without effect: exposes nobody to an experiment.")
    ] = False,
    to: To = ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Decide the next best action for a person.

    Examples:

      nextbest decide ann home_hero -c page=home --explain

      nextbest decide cookie-7 home_hero home_shelf --kind anonymous -a loyalty_points=50
    """
    with connect(to) as client:
        response = client.decide(
            identity(kind, id),
            placements or (),
            scores=scores or ("*",),
            context=values(context or (), "--context"),
            attributes=values(attributes or (), "--attributes"),
            now=moment(now, "--now"),
            seed=seed,
            explain=explain,
            segments=True,
            preview=preview,
            decision_id=decision_id,
        )
    if as_json:
        show_json(response)
    else:
        show_decision(out(), response)


def track_command(
    id: Id,
    event: Annotated[str, typer.Argument(help="The event's name in the schema.", metavar="EVENT")],
    properties: Annotated[
        list[str] | None,
        typer.Argument(help=f"The event's properties. {VALUE}", metavar=PAIR),
    ] = None,
    kind: Kind = "known",
    at: Annotated[
        str, typer.Option("--at", help="When it happened; now by default.", metavar=MOMENT)
    ] = "",
    ago: Annotated[
        str, typer.Option("--ago", help="How long ago it happened: 30m, 2h, 7d.", metavar="SPAN")
    ] = "",
    event_id: Annotated[str, typer.Option(help="The same id counts once.", metavar="ID")] = "",
    decision_id: Annotated[
        str, typer.Option(help="For an outcome: the decision.", metavar="ID")
    ] = "",
    slot: Annotated[int, typer.Option(min=0, help="For an outcome: the slot.", metavar="N")] = 0,
    ack: Ack = "",
    to: To = ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Record an event.

    Examples:

      nextbest track ann cart product=lamp price=39 --ago 2h

      nextbest track ann purchase product='"17"' amount=9.9 order=o1 --at 2026-06-01T12:00:00Z
    """
    if at and ago:
        raise typer.BadParameter("given with --at, allowed: one of them", param_hint="--ago")
    occurred_at = before_now(ago, "--ago") if ago else moment(at, "--at")
    with connect(to) as client:
        response = client.track(
            identity(kind, id),
            event,
            values(properties or (), "NAME=VALUE"),
            occurred_at=occurred_at,
            event_id=event_id,
            decision_id=decision_id,
            slot=slot,
            ack=ack_of(ack),
        )
    if as_json:
        show_json(response)
    else:
        counted = "counted before" if response.duplicate else "counted"
        out().print(f"{event} of {id} {counted} by generation {response.generation}")
        if response.decision_age == event_pb2.DECISION_AGE_EXPIRED:
            complain("its decision is older than records.attribution: it came late")


def profile_command(
    id: Id,
    kind: Kind = "known",
    now: Now = "",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", help=f"Attributes to store first. {VALUE}", metavar=PAIR),
    ] = None,
    link: Annotated[
        str, typer.Option("--link", help="An anonymous id to link to them first.", metavar="ID")
    ] = "",
    to: To = ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Show what is known of a person; store attributes or link a device first if asked.

    Examples:

      nextbest profile ann

      nextbest profile ann --set plan=club --set loyalty_points=50 --link cookie-7
    """
    who = identity(kind, id)
    with connect(to) as client:
        if set_:
            client.upsert_profile(who, values(set_, "--set"))
        if link:
            client.link_identity(who, identity("anonymous", link))
        response = client.get_profile(who, now=moment(now, "--now"))
    if as_json:
        show_json(response)
    else:
        _show_profile(id, response)


def erase_command(
    id: Id,
    kind: Kind = "known",
    ack: Ack = "",
    await_members: Every = None,
    timeout: Timeout = CONSENT_S,
    to: To = ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Forget a person, every identity of theirs, for good.

    Who writes of them later registers them anew.

    Example:

      nextbest erase ann
    """
    with connect(to) as client:
        response = client.erase_profile(
            identity(kind, id), ack=ack_of(ack), await_members=await_members, timeout=timeout
        )
    if as_json:
        show_json(response)
        return
    names = ", ".join(each.id for each in response.identities)
    out().print(f"forgotten: {names}" if names else f"{id}: not known, nothing to forget")


def query_command(
    condition: Annotated[str, typer.Argument(help="A CEL condition.", metavar="CONDITION")],
    limit: Annotated[
        int,
        typer.Option(
            "--limit", "-n", min=1, max=QUERY_MAX, help="List at most so many.", metavar="NUMBER"
        ),
    ] = 100,
    now: Now = "",
    profiles: Annotated[
        bool, typer.Option("--profiles", help="Whole profiles (with --json).")
    ] = False,
    to: To = ADDRESS,
    as_json: AsJson = False,
) -> None:
    """List the people for whom a condition holds; --json prints one object a line.

    Examples:

      nextbest query 'segment.abandoned_cart && profile.cart_value_7d > 100' --limit 20

      nextbest query 'score.engagement >= 20' --json --profiles
    """
    rows: list[tuple[int, str]] = []
    found = scanned = errors = 0
    with connect(to) as client:
        # One more than is listed says whether there are more.
        most = min(limit + 1, QUERY_MAX)
        parts = client.query_profiles(
            condition, limit=most, now=moment(now, "--now"), profiles=profiles
        )
        for part in parts:
            scanned, errors = part.scanned, part.errors
            for person in part.profiles[: max(limit - found, 0)]:
                if as_json:
                    show_json(person)
                else:
                    rows.append((len(rows) + 1, _identities(person)))
            found += len(part.profiles)
    if rows:
        out().print(table(condition, ("#", "identities"), rows))
    if cut := _cut(found, limit):
        # Of JSON every line is a person.
        complain(cut) if as_json else out().print(cut)
    elif not as_json:
        unknown = f"; for {errors:,} the condition is an error, as when what it reads is unset"
        told = f"{found:,} found, {scanned:,} looked at"
        out().print(told + (unknown if errors else ""))


def _cut(found: int, limit: int) -> str:
    """What is said of a list that ended at its limit; "" of a whole one."""
    if found > limit:
        return f"the first {limit:,} found; there are more: --limit"
    return f"the first {found:,} found, the most that are listed" if found == QUERY_MAX else ""


def _show_profile(id: str, response: profile_pb2.GetProfileResponse) -> None:
    console = out()
    person = response.profile
    if response.profile_known:
        console.print(f"identities: {_identities(person)}")
    else:
        console.print(f"{id}: not stored, so this is an empty profile")
    if person.attributes:
        rows = [(name, _text(person.attributes[name])) for name in sorted(person.attributes)]
        console.print(table("Attributes", ("name", "value"), rows))
    if person.counters:
        counters = [(name, _counter(person.counters[name])) for name in sorted(person.counters)]
        console.print(table("Counters", ("name", "value"), counters))
    show_consents(console, person)
    show_scores(console, person.scores, person.grades, person.stage, person.segments)


def _counter(counter: profile_pb2.CounterValue) -> str:
    if counter.values:
        return ", ".join(_text(value) for value in counter.values)
    return ("about " if counter.approximate else "") + _text(counter.value)


def _text(value: common_pb2.Value) -> str:
    found = plain(value)
    if found is None:
        return "unset"
    if isinstance(found, datetime):
        return found.isoformat().replace("+00:00", "Z")
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def _identities(person: profile_pb2.Profile) -> str:
    names = {2: "anonymous ", 3: "alias "}
    return ", ".join(names.get(each.kind, "") + each.id for each in person.identities)
