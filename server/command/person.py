"""`nextbest decide`, `track`, `profile` and `query`: calls about people."""

from __future__ import annotations

from typing import Annotated

import typer

from nextbest.client.value import plain
from nextbest.server.command.console import (
    ADDRESS,
    AsJson,
    Kind,
    To,
    connect,
    identity,
    moment,
    out,
    show_json,
    table,
    values,
)
from nextbest.server.command.explain import show_decision, show_scores
from nextbest.v1 import common_pb2, profile_pb2

Id = Annotated[str, typer.Argument(help="The person's id.", metavar="ID")]
Now = Annotated[
    str, typer.Option("--now", help="The moment, 2026-06-01T12:00:00Z; now by default.")
]


def decide_command(
    id: Id,
    placements: Annotated[
        list[str] | None, typer.Argument(help="The placements to fill; none for scores alone.")
    ] = None,
    kind: Kind = "known",
    scores: Annotated[list[str] | None, typer.Option("--score", "-s", help="Default: all.")] = None,
    attributes: Annotated[
        list[str] | None, typer.Option("--attributes", "-a", help="NAME=VALUE for this decision.")
    ] = None,
    context: Annotated[
        list[str] | None, typer.Option("--context", "-c", help="NAME=VALUE of the request.")
    ] = None,
    now: Now = "",
    seed: Annotated[int, typer.Option(min=0, max=2**64 - 1)] = 0,
    decision_id: Annotated[str, typer.Option(help="The same id gets the same answer.")] = "",
    explain: Annotated[
        bool, typer.Option("--explain", "-e", help="Every candidate's fate.")
    ] = False,
    to: To = ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Decide the next best action for a person.

    Examples:

      nextbest decide ann home -c page=home --explain

      nextbest decide visitor-7 home --kind anonymous -a plan=free -a age=34
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
            decision_id=decision_id,
        )
    if as_json:
        show_json(response)
    else:
        show_decision(out(), response)


def track_command(
    id: Id,
    event: Annotated[str, typer.Argument(help="The event's name in the schema.")],
    properties: Annotated[
        list[str] | None, typer.Argument(help="NAME=VALUE of the event.", metavar="[NAME=VALUE]...")
    ] = None,
    kind: Kind = "known",
    at: Annotated[str, typer.Option("--at", help="When it happened; now by default.")] = "",
    event_id: Annotated[str, typer.Option(help="The same id counts once.")] = "",
    decision_id: Annotated[str, typer.Option(help="For an outcome: the decision.")] = "",
    slot: Annotated[int, typer.Option(min=0, help="For an outcome: the slot.")] = 0,
    to: To = ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Record an event.

    Examples:

      nextbest track ann page_view path=/pricing seconds=12.5

      nextbest track ann purchase product=p1 amount=9.9 --at 2026-06-01T12:00:00Z
    """
    with connect(to) as client:
        response = client.track(
            identity(kind, id),
            event,
            values(properties or (), "NAME=VALUE"),
            occurred_at=moment(at, "--at"),
            event_id=event_id,
            decision_id=decision_id,
            slot=slot,
        )
    if as_json:
        show_json(response)
    else:
        counted = "counted before" if response.duplicate else "counted"
        out().print(f"{event} of {id} {counted} by generation {response.generation}")


def profile_command(
    id: Id,
    kind: Kind = "known",
    now: Now = "",
    set_: Annotated[
        list[str] | None, typer.Option("--set", "-s", help="NAME=VALUE to store first.")
    ] = None,
    link: Annotated[
        str, typer.Option("--link", help="An anonymous id to link to the person first.")
    ] = "",
    to: To = ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Show what is known of a person; store attributes or link a device first if asked.

    Examples:

      nextbest profile ann

      nextbest profile ann --set plan=pro --set age=34 --link cookie-7
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


def query_command(
    condition: Annotated[str, typer.Argument(help="A CEL condition.")],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1_000_000)] = 100,
    now: Now = "",
    profiles: Annotated[
        bool, typer.Option("--profiles", help="Whole profiles (with --json).")
    ] = False,
    to: To = ADDRESS,
    as_json: AsJson = False,
) -> None:
    """List the people for whom a condition holds.

    Examples:

      nextbest query "profile.age > 30 && segment.hot" --limit 20

      nextbest query 'stage == "mql"' --json --profiles
    """
    rows: list[tuple[int, str]] = []
    scanned = errors = 0
    with connect(to) as client:
        parts = client.query_profiles(
            condition, limit=limit, now=moment(now, "--now"), profiles=profiles
        )
        for part in parts:
            scanned, errors = part.scanned, part.errors
            for person in part.profiles:
                if as_json:
                    show_json(person)
                else:
                    rows.append((len(rows) + 1, _identities(person)))
    if not as_json:
        out().print(table(condition, ("#", "identities"), rows))
        out().print(f"{len(rows):,} found, {scanned:,} looked at, {errors:,} could not be told")


def _show_profile(id: str, response: profile_pb2.GetProfileResponse) -> None:
    console = out()
    person = response.profile
    known = _identities(person) if response.profile_known else "not stored: an empty profile"
    console.print(f"{id}: {known}")
    if person.attributes:
        rows = [(name, _text(person.attributes[name])) for name in sorted(person.attributes)]
        console.print(table("Attributes", ("name", "value"), rows))
    if person.counters:
        counters = [(name, _counter(person.counters[name])) for name in sorted(person.counters)]
        console.print(table("Counters", ("name", "value"), counters))
    show_scores(console, person.scores, person.grades, person.stage, person.segments)


def _counter(counter: profile_pb2.CounterValue) -> str:
    if counter.values:
        return ", ".join(_text(value) for value in counter.values)
    return ("about " if counter.approximate else "") + _text(counter.value)


def _text(value: common_pb2.Value) -> str:
    found = plain(value)
    return "unset" if found is None else str(found)


def _identities(person: profile_pb2.Profile) -> str:
    names = {2: "anonymous ", 3: "alias "}
    return ", ".join(names.get(each.kind, "") + each.id for each in person.identities)
