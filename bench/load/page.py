"""The report: one HTML file that needs no network and no script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from .plots import over_percentile, over_time
from .result import Result
from .summary import SHOWN, gap_lines, headline, rows, span

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff;
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
svg { width: 100%; height: auto; }
.scroll { overflow-x: auto; }
.verdict { padding: .6rem 1rem; border-left: .4rem solid; margin: 1rem 0; }
.valid { border-color: #009e73; background: #eef8f4; }
.invalid { border-color: #d55e00; background: #fdf1ea; }
.cards { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0; }
.card { border: 1px solid #ddd; border-radius: .4rem; padding: .5rem .9rem; min-width: 7rem; }
.card b { display: block; font-size: 1.3rem; } .card span { color: #666; }
.note { color: #666; font-size: .9rem; }
"""
HOW = (
    "Latency counts from when a call was due, not from when it could be sent: a call that had to "
    "wait for a stalled server counts in full. It includes calls that ended OK, ran out of time "
    "or got no answer; refused calls are counted by status only. Percentiles come of buckets of "
    "at most 0.1%, those over time of buckets of at most 3%."
)
STOPS = "The machine's gaps are moments of over 20 us in which a core ran nothing of ours."


def page(found: Result) -> str:
    """The report of a result."""
    body = [
        f"<h1>Load on {escape(found['options']['host'])}</h1>",
        f'<p class="note">{escape(found["date"])}</p>',
        verdict(found),
        f"<p>{escape(str(headline(found)))}</p>",
        cards(found),
        section("Latency over percentile", over_percentile(found)),
        section("Latency over time", over_time(found)),
        section("Percentiles", percentiles(found)),
        section("Status of the calls", statuses(found)),
        section("Was it a good measurement?", quality(found)),
        section("How it was run", options(found)),
        section("The machine", table(("", ""), found["machine"].items())),
        f'<p class="note">{HOW} {STOPS}</p>',
    ]
    title = f"nextbest bench, {escape(found['options']['host'])}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def section(title: str, content: str) -> str:
    """A part of the page."""
    return f'<h2>{escape(title)}</h2>\n<div class="scroll">{content}</div>'


def verdict(found: Result) -> str:
    """Whether the figures may be used."""
    if found["valid"]:
        closed = found["options"]["load-schedule"] == "closed"
        told = "In a closed loop no call is late." if closed else "Calls were sent on time."
        return f'<div class="verdict valid"><b>Valid.</b> {told}</div>'
    advice = "<br>".join(escape(line) for line in found["advice"])
    return (
        '<div class="verdict invalid"><b>Invalid.</b> '
        f"These are not figures of the server.<br>{advice}</div>"
    )


def cards(found: Result) -> str:
    """The figures that most people look for."""
    by = {one["percentage"]: one["latency"] for one in found["latencyDistribution"]}
    shown = [
        ("calls/s", f"{found['rps']:,.0f}"),
        ("median", span(by[50])),
        ("p99", span(by[99])),
        ("p99.9", span(by[99.9])),
        ("slowest", span(found["slowest"])),
        ("not OK", f"{found['count'] - found['statusCodeDistribution'].get('OK', 0):,}"),
    ]
    made = (f'<div class="card"><b>{value}</b><span>{name}</span></div>' for name, value in shown)
    return f'<div class="cards">{"".join(made)}</div>'


def percentiles(found: Result) -> str:
    """Of all calls and of each part of the mix."""
    heads = ["calls of", "count", "mean", *(f"p{one:g}" if one < 100 else "max" for one in SHOWN)]
    lines = []
    for name, part in rows(found):
        by = {one["percentage"]: one["latency"] for one in part["latencyDistribution"]}
        values = (span(by[one]) for one in SHOWN)
        lines.append([name, f"{part['count']:,}", span(part["average"]), *values])
    return table(heads, lines)


def statuses(found: Result) -> str:
    """How the calls ended."""
    lines: list[Sequence[object]] = [
        (name, f"{count:,}", f"{count / found['count']:.3%}")
        for name, count in found["statusCodeDistribution"].items()
    ]
    made = table(("status", "calls", "share"), lines)
    told = sorted(found["errorDistribution"].items(), key=lambda one: -one[1])
    if told:
        made += table(("error", "calls"), ((name, f"{count:,}") for name, count in told))
    return made


def quality(found: Result) -> str:
    """What speaks for and against the figures."""
    late, told = found["late"], found["connections"]
    lines: list[Sequence[object]] = [
        ("sent over 100 us late", f"{late['count']:,} ({late['share']:.2%}; over 1% is invalid)"),
        ("of these, for want of a stream", f"{late['noStream']:,}"),
        ("latest send", span(late["longest"])),
        ("the generator was busy", f"{late['busy']:.0%} of the time"),
        *(("time lost by the machine", line) for line in gap_lines(found["gaps"])),
        *(
            (f"core {one['cpu']}, taken by the hypervisor during the run", f"{one['share']:.3%}")
            for one in found["stolen"]
        ),
        ("connections opened", f"{told['opened']:,}"),
        ("ended by GOAWAY, lost", f"{told['goaway']:,}, {told['lost']:,}"),
        ("calls sent again", f"{told['retriedCalls']:,}"),
        ("calls never sent", f"{told['unsentCalls']:,}"),
        ("answers that were no whole message", f"{told['malformedAnswers']:,}"),
    ]
    return table(("", ""), lines)


def options(found: Result) -> str:
    """Every option, as the command takes it."""
    given: dict[str, Any] = found["options"]["nextbest"]
    lines = ((f"--{name.replace('_', '-')}", text_of(value)) for name, value in given.items())
    return table(("option", "value"), lines)


def text_of(value: object) -> str:
    """An option's value."""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def table(heads: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """An HTML table."""
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in line) + "</tr>"
        for line in lines
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
