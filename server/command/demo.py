"""`nextbest demo`: two servers, a simulated day, decisions over gRPC, and what came of them."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from nextbest.client import Client, anonymous
from nextbest.server.command.child import Child, ChildError
from nextbest.server.command.day import VISITORS, Step, clicked, simulate
from nextbest.server.examples import LEADS, SHOP
from nextbest.v1 import common_pb2, decision_pb2

SEED: Final = 7
REFRESH_S: Final = 0.25
CANDIDATES_SHOWN: Final = 9
BECAUSE_MAX: Final = 42
QUANTILES: Final = ((50, "p50"), (90, "p90"), (99, "p99"), (99.9, "p99.9"))
# A lead of the school: what the form said, and what it did in the days before.
LEAD: Final[dict[str, str | int | float | bool]] = {
    "origin": "Lead Add Form",
    "source": "Reference",
    "occupation": "Working Professional",
    "specialization": "Finance Management",
    "country": "India",
    "motive": "Better Career Prospects",
    "visits": 5,
    "time_on_site": 1_420,
    "pages_per_visit": 2.5,
    "email": "lead@example.com",
}


@dataclass(slots=True)
class Day:
    """What has happened so far."""

    decisions: int = 0
    events: int = 0
    people: set[int] = field(default_factory=set)
    shown: Counter[tuple[str, str]] = field(default_factory=Counter)
    clicks: Counter[tuple[str, str]] = field(default_factory=Counter)
    decide_us: list[float] = field(default_factory=list)
    track_us: list[float] = field(default_factory=list)
    explained: tuple[Step, decision_pb2.DecideResponse] | None = None


def demo_command(
    visitors: Annotated[int, typer.Option(min=1, max=20_000, help="How many come.")] = VISITORS,
    seed: Annotated[int, typer.Option(help="Another seed is another day.")] = SEED,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what it does: a simulated day of a shop and a school's lead, over real gRPC.

    Needs no download, no other server and no terminal; takes less than a minute.
    """
    console = _console(as_json)
    start = time.perf_counter()
    try:
        figures = _shop(console, visitors, seed)
        figures |= _leads(console)
    except ChildError as error:
        Console(stderr=True).print(str(error), style="red", markup=False, highlight=False)
        raise typer.Exit(1) from error
    figures["seconds"] = round(time.perf_counter() - start, 1)
    if as_json:
        typer.echo(json.dumps(figures))
    else:
        console.print(f"\nDone in {figures['seconds']} s.  Next: nextbest --help")


def _console(quiet: bool) -> Console:
    """A file or pipe has no width of its own: 100 holds the tables."""
    console = Console(quiet=quiet)
    return console if console.is_terminal else Console(quiet=quiet, width=100)


def _shop(console: Console, visitors: int, seed: int) -> dict[str, Any]:
    console.print("[bold]A shop's day[/bold]: starting a server with the playbook `shop` ...")
    with Child(SHOP) as child, Client(child.address) as client:
        console.print(f"serving on {child.address}; {visitors:,} visitors come\n")
        # Yesterday: events must not lie ahead of the server's clock.
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        day = Day()
        _replay(console, client, day, seed, midnight - timedelta(days=1), visitors)
        if not console.is_terminal:
            console.print(_actions(day))
        if day.explained is not None:
            console.print(_explained(*day.explained))
        console.print(_latencies(day))
    return {
        "visitors": len(day.people),
        "decisions": day.decisions,
        "events": day.events,
        "decide_us": _quantiles(day.decide_us),
        "track_us": _quantiles(day.track_us),
    }


def _replay(
    console: Console, client: Client, day: Day, seed: int, start: datetime, visitors: int
) -> None:
    with Live(console=console, auto_refresh=False, transient=False) as live:
        shown_at = 0.0
        for step in simulate(seed, start, visitors):
            _do(client, day, seed, step)
            now = time.perf_counter()
            if console.is_terminal and now - shown_at > REFRESH_S:
                live.update(_actions(day, step.at), refresh=True)
                shown_at = now
        if console.is_terminal:
            live.update(_actions(day), refresh=True)


def _do(client: Client, day: Day, seed: int, step: Step) -> None:
    visitor = anonymous(f"device-{step.visitor}")
    known = f"customer-{step.visitor}"
    day.people.add(step.visitor)
    begin = time.perf_counter()
    if step.kind == "profile":
        client.upsert_profile(known, step.values, occurred_at=step.at)
    elif step.kind == "link":
        client.link_identity(known, visitor, occurred_at=step.at)
    elif step.kind == "event":
        client.track(visitor, step.name, step.values, occurred_at=step.at)
        day.track_us.append((time.perf_counter() - begin) * 1e6)
        day.events += 1
    else:
        seed_of_one = day.decisions + 1
        answer = client.decide(
            visitor, [step.name], context=step.values, now=step.at, seed=seed_of_one
        )
        day.decide_us.append((time.perf_counter() - begin) * 1e6)
        _look(day, seed, answer)
        if _worth_explaining(day, answer):
            day.explained = step, _explain(client, visitor, step, seed_of_one)


def _worth_explaining(day: Day, answer: decision_pb2.DecideResponse) -> bool:
    """The first cart that is brought back on the home page."""
    (placement,) = answer.placements
    actions = [one.action for one in placement.propositions]
    return (
        day.explained is None and placement.placement == "home_hero" and "finish_order" in actions
    )


def _explain(
    client: Client, visitor: common_pb2.Identity, step: Step, seed: int
) -> decision_pb2.DecideResponse:
    """Ask the same again, and why."""
    return client.decide(
        visitor,
        [step.name],
        scores=["*"],
        context=step.values,
        now=step.at,
        seed=seed,
        explain=True,
        segments=True,
    )


def _look(day: Day, seed: int, answer: decision_pb2.DecideResponse) -> None:
    """Count what was proposed and what the simulated visitor clicks."""
    day.decisions += 1
    for placement in answer.placements:
        for one in placement.propositions:
            what = placement.placement, one.action
            day.shown[what] += 1
            day.clicks[what] += clicked(seed, one.action, sum(day.shown.values()))


def _actions(day: Day, at: datetime | None = None) -> RenderableType:
    clock = f"{at:%H:%M}  " if at else ""
    title = f"{day.decisions:,} decisions, {day.events:,} events, {len(day.people):,} visitors"
    table = Table()
    table.add_column("placement")
    table.add_column("action")
    for name in ("proposed", "clicked", "rate"):
        table.add_column(name, justify="right")
    last = ""
    for (placement, action), count in sorted(
        day.shown.items(), key=lambda one: (one[0][0], -one[1])
    ):
        if last not in ("", placement):
            table.add_section()
        clicks = day.clicks[placement, action]
        name = placement if placement != last else ""
        table.add_row(name, action, f"{count:,}", f"{clicks:,}", f"{clicks / count:.1%}")
        last = placement
    return Group(Text(clock + title, style="italic"), table)


def _explained(step: Step, answer: decision_pb2.DecideResponse) -> RenderableType:
    table = Table(box=None, pad_edge=False)
    for name in ("candidate", "fate", "priority", "why"):
        table.add_column(name, justify="right" if name == "priority" else "left")
    for one in answer.explanations[0].candidates[:CANDIDATES_SHOWN]:
        fate = decision_pb2.Fate.Name(one.fate).removeprefix("FATE_").lower().replace("_", " ")
        priority = f"{one.priority:.2f}" if one.factors else ""
        table.add_row(one.action, fate, priority, _why(one))
    chosen = answer.placements[0].propositions[0]
    head = (
        f"visitor {step.visitor} at {step.at:%H:%M} on {step.name}: "
        f"{chosen.action} ({chosen.treatment})\n"
        f"because {'; '.join(chosen.reasons) or 'nothing else qualified'}\n"
        f"segments: {', '.join(answer.segments)}\n"
        f"generation {answer.generation}, playbook {answer.playbook_hash[:12]}\n"
    )
    return Panel(Group(Text(head), table), title="One decision, explained", title_align="left")


def _why(one: decision_pb2.CandidateExplanation) -> str:
    if one.condition:
        missing = f" ({one.missing} is unset)" if one.missing else ""
        return f"not: {one.condition}{missing}"
    factors = {name: value for name, value in one.factors.items() if value != 1.0}
    return ", ".join(f"{name} {value:g}" for name, value in sorted(factors.items()))


def _latencies(day: Day) -> RenderableType:
    title = "Latency seen by one caller over loopback gRPC, in microseconds"
    table = Table()
    table.add_column("call")
    table.add_column("calls", justify="right")
    for _, name in QUANTILES:
        table.add_column(name, justify="right")
    for call, taken in (("Decide", day.decide_us), ("Track", day.track_us)):
        quantiles = _quantiles(taken)
        cells = [f"{quantiles[name]:,.0f}" for _, name in QUANTILES]
        table.add_row(call, f"{len(taken):,}", *cells)
    return Group(Text(title, style="italic"), table)


def _quantiles(taken: list[float]) -> dict[str, float]:
    ordered = sorted(taken) or [0.0]
    last = len(ordered) - 1
    return {name: round(ordered[round(last * at / 100)], 1) for at, name in QUANTILES}


def _leads(console: Console) -> dict[str, Any]:
    console.print("\n[bold]A school's lead[/bold]: starting a server with the playbook `leads` ...")
    with Child(LEADS) as child, Client(child.address) as client:
        now = datetime.now(UTC)
        client.upsert_profile("lead-1", LEAD)
        for days, event, values in _history():
            client.track("lead-1", event, values, occurred_at=now - timedelta(days=days))
        answer = client.decide("lead-1", ["next_action"], scores=["*"], now=now, explain=True)
        console.print(_lead(answer))
    points = {score.name: score.points for score in answer.scores}
    return {"lead": points, "grade": answer.grades[0].value, "stage": answer.stage}


def _shortened(text: str) -> str:
    return text if len(text) <= BECAUSE_MAX else text[: BECAUSE_MAX - 1] + "\u2026"


def _history() -> list[tuple[float, str, dict[str, str]]]:
    return [
        (16.0, "page_view", {"path": "/courses/finance"}),
        (14.0, "email_click", {"campaign": "open-evening"}),
        (2.0, "page_view", {"path": "/pricing"}),
        (1.0, "webinar_joined", {"topic": "careers"}),
        (0.1, "page_view", {"path": "/pricing"}),
    ]


def _lead(answer: decision_pb2.DecideResponse) -> Panel:
    table = Table(box=None, pad_edge=False)
    table.add_column("score", no_wrap=True)
    table.add_column("points", no_wrap=True, justify="right")
    table.add_column("reason", no_wrap=True)
    table.add_column("because", no_wrap=True)
    for score in answer.scores:
        table.add_row(score.name, str(score.points), "", "", style="bold")
        for entry in score.ledger:
            if entry.points:
                counted = f" ({entry.count}x)" if entry.count else ""
                table.add_row(
                    "",
                    f"{entry.points:+d}",
                    entry.reason,
                    (_shortened(entry.condition) + counted).strip(),
                )
    chosen = answer.placements[0].propositions[0]
    content = dict(chosen.content)
    head = (
        f"grade {answer.grades[0].value}, stage {answer.stage}\n"
        f"next action for the sales team: {content.get('title', chosen.action)}: "
        f"{content.get('say', '')}\n"
    )
    return Panel(Group(Text(head), table), title="A scored lead", title_align="left")
