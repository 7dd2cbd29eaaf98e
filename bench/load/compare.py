"""How two results differ."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .result import Result, percentile
from .summary import span

SHOWN = (50, 75, 90, 95, 99, 99.9, 99.99)
# What does not change what is measured.
IGNORED = {"to", "details", "probe", "seed", "cpu"}
NOISE = 0.03


def comparison(first: Result, second: Result, name: str, other: str) -> Group:
    """The table, then what makes the comparison doubtful."""
    table = Table(title=f"A: {name}\nB: {other}", title_justify="left")
    table.add_column("")
    for column in ("A", "B", "difference", "B / A"):
        table.add_column(column, justify="right")
    for row in [*rates(first, second), *times(first, second), *shares(first, second)]:
        table.add_row(*row)
    parts: list[RenderableType] = [table]
    parts += [Text(line, style="yellow") for line in doubts(first, second)]
    return Group(*parts)


def ratio(a: float, b: float) -> str:
    """B over A; nothing when A is nothing."""
    return f"{b / a:.3f}" if a else "-"


def rates(first: Result, second: Result) -> Iterator[list[str]]:
    """Calls, and calls a second."""
    for title, name in (("calls", "count"), ("calls/s", "rps")):
        a, b = first[name], second[name]
        yield [title, f"{a:,.0f}", f"{b:,.0f}", f"{b - a:+,.0f}", ratio(a, b)]


def times(first: Result, second: Result) -> Iterator[list[str]]:
    """Latencies."""
    pairs = [(name, first[name], second[name]) for name in ("fastest", "average")]
    pairs += [(f"p{one:g}", percentile(first, one), percentile(second, one)) for one in SHOWN]
    pairs.append(("slowest", first["slowest"], second["slowest"]))
    for title, a, b in pairs:
        sign = "-" if b < a else "+"
        yield [title, span(a), span(b), f"{sign}{span(abs(b - a))}", ratio(a, b)]


def shares(first: Result, second: Result) -> Iterator[list[str]]:
    """Failed, late, lost by the machine."""
    for title, of in (
        ("not OK", failed),
        ("sent late", lambda found: found["late"]["share"]),
        ("lost by the machine", lost),
    ):
        a, b = of(first), of(second)
        yield [title, f"{a:.3%}", f"{b:.3%}", f"{100 * (b - a):+.3f} points", ""]


def failed(found: Result) -> float:
    """The share of calls that were not OK."""
    good: int = found["statusCodeDistribution"].get("OK", 0)
    return 1 - good / found["count"] if found["count"] else 0.0


def lost(found: Result) -> float:
    """The share of time that the machine lost while the run went on."""
    return max((float(gap["lost"]) for gap in found["gaps"] if gap["when"] == "during"), default=0)


def doubts(first: Result, second: Result) -> Iterator[str]:
    """Why the difference may not be one of the servers."""
    for name, found in (("A", first), ("B", second)):
        if not found["valid"]:
            yield f"{name} is invalid: {'; '.join(found['advice'])}"
    a, b = (found["options"]["nextbest"] for found in (first, second))
    for key in sorted(a.keys() | b.keys()):
        if key not in IGNORED and a.get(key) != b.get(key):
            yield f"--{key.replace('_', '-')} differs: {a.get(key)} and {b.get(key)}"
    if first["machine"].get("cpu") != second["machine"].get("cpu"):
        yield "the machines differ"
    middles = percentile(first, 50), percentile(second, 50)
    if all(middles) and abs(middles[1] / middles[0] - 1) < NOISE:
        yield f"the medians differ by under {NOISE:.0%}: likely noise, repeat in changing order"
