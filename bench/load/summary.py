"""A result as text for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .result import Result

BLOCKS = "▁▂▃▄▅▆▇█"
SHOWN = (50, 90, 99, 99.9, 99.99, 100)


def span(nanoseconds: float) -> str:
    """A latency with three digits; - for 0, which no call has."""
    if not nanoseconds:
        return "-"
    for unit, name in ((1e9, "s"), (1e6, "ms"), (1e3, "us")):
        if nanoseconds >= unit:
            value = nanoseconds / unit
            return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {name}"
    return f"{nanoseconds:.0f} ns"


def sparkline(values: list[int], width: int = 60) -> str:
    """The last values as bars, from 0 to the highest."""
    shown = values[-width:]
    most = max(shown, default=0)
    if not most:
        return BLOCKS[0] * len(shown)
    return "".join(BLOCKS[min(7, value * 8 // (most + 1))] for value in shown)


def summary(found: Result) -> Group:
    """What `nextbest bench` prints at the end."""
    parts: list[RenderableType] = [*refusals(found), verdict(found), headline(found), table(found)]
    parts += [Text(line, style=style) for line, style in lines(found)]
    return Group(*parts)


def refusals(found: Result) -> Iterator[Text]:
    """That most calls were not OK, and why: it comes first, since it explains all else."""
    failed = found["count"] - found["statusCodeDistribution"].get("OK", 0)
    if 2 * failed > found["count"]:
        told = f"{failed:,} of {found['count']:,} calls were not OK, most of them {failure(found)}"
        yield Text(told, style="bold red")


def failure(found: Result) -> str:
    """What most of the calls that were not OK ended with."""
    errors = found["errorDistribution"]
    return max(errors, key=errors.__getitem__, default="without a message")


def verdict(found: Result) -> Text:
    """Valid or not, and why not."""
    if found["valid"]:
        closed = found["options"]["load-schedule"] == "closed"
        told = "in a closed loop no call is late" if closed else "calls were sent on time"
        return Text(f"valid: {told}", style="green")
    text = Text("INVALID: not a measurement of the server", style="bold red")
    for line in found["advice"]:
        text.append(f"\n  {line}", style="red")
    return text


def headline(found: Result) -> Text:
    """How many calls, how fast."""
    options = found["options"]
    how = options["load-schedule"]
    if how != "closed":
        how += f" at {options['rps']:,.0f}/s"
    good = found["statusCodeDistribution"].get("OK", 0)
    return Text(
        f"{found['count']:,} calls in {found['total'] / 1e9:.1f} s, {found['rps']:,.0f}/s, "
        f"{found['count'] - good:,} not OK; {how}, {options['connections']} connections x "
        f"{options['concurrency'] // options['connections']} streams to {options['host']}"
    )


def table(found: Result) -> Table:
    """The percentiles of all, and of each part when there are several."""
    made = Table(title="latency, from when each call was due", title_justify="left")
    made.add_column("")
    columns = []
    for name, part in rows(found):
        made.add_column(name, justify="right")
        columns.append(cells(part))
    names = ["calls", "mean", *(f"p{one:g}" if one < 100 else "max" for one in SHOWN), "bytes"]
    for number, name in enumerate(names):
        made.add_row(name, *(column[number] for column in columns))
    return made


def cells(part: dict[str, Any]) -> list[str]:
    """A column of the table."""
    by = {one["percentage"]: one["latency"] for one in part["latencyDistribution"]}
    sizes = part.get("answerBytes")
    return [
        f"{part['count']:,}",
        span(part["average"]),
        *(span(by[one]) for one in SHOWN),
        f"{sizes['least']:,} to {sizes['most']:,}" if sizes else "",
    ]


def rows(found: Result) -> Iterator[tuple[str, dict[str, Any]]]:
    """The table's rows."""
    for part in found["parts"]:
        yield part["name"], part
    if len(found["parts"]) > 1:
        yield "all", found


def lines(found: Result) -> Iterator[tuple[str, str]]:
    """What else is worth a line, with its style."""
    late = found["late"]
    if found["options"]["load-schedule"] != "closed":
        yield (
            f"sent late by over 100 us: {late['count']:,} ({late['share']:.2%}), "
            f"{late['noStream']:,} of them for want of a stream; at most {span(late['longest'])}",
            "",
        )
    yield f"the generator was busy {late['busy']:.0%} of the time", ""
    yield from ((f"time lost by the machine {text}", "") for text in gap_lines(found["gaps"]))
    taken = ", ".join(f"core {one['cpu']} {one['share']:.3%}" for one in found["stolen"])
    yield f"taken by the hypervisor during the run: {taken}", ""
    yield from ((server_line(one), "") for one in found["servers"])
    for name, count in found["statusCodeDistribution"].items():
        if name != "OK":
            yield f"{name}: {count:,}", "yellow"
    for name, count in sorted(found["errorDistribution"].items(), key=lambda one: -one[1]):
        yield f"  {count:,} x {name}", "yellow"
    told = found["connections"]
    if told["goaway"] or told["lost"] or told["retriedCalls"]:
        yield (
            f"connections: {told['opened']} opened, {told['goaway']} ended by GOAWAY, "
            f"{told['lost']} lost; {told['retriedCalls']:,} calls sent again",
            "",
        )


def server_line(one: dict[str, Any]) -> str:
    """What the run cost a server."""
    if one["ended"]:
        return f"process {one['pid']}: has ended"
    rss = [one[name] / 2**20 for name in ("rssBefore", "rssAfter")]
    return (
        f"process {one['pid']}: {span(one['cpuPerCall'])} of CPU for each call, "
        f"memory {rss[0]:,.1f} to {rss[1]:,.1f} MiB, "
        f"{one['fdsBefore']} to {one['fdsAfter']} descriptors"
    )


def gap_lines(gaps: list[dict[str, Any]]) -> Iterator[str]:
    """The share of time that each core lost."""
    for when in ("before", "during", "after"):
        told = [
            f"{'generator' if gap['when'] == 'during' else 'core ' + str(gap['cpu'])} "
            f"{gap['lost']:.3%} (longest {span(gap['longest'])})"
            for gap in gaps
            if gap["when"] == when
        ]
        if told:
            yield f"{when}: {', '.join(told)}"
