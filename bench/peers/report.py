"""What a run of the comparison looks like: tables, JSON, a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from .measure import Found
from .servers import Peer

COLOURS = ("#D55E00", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#999999", "#000000")


def number(value: float | None, digits: int = 0) -> str:
    """A figure for a cell."""
    return "" if value is None else f"{value:,.{digits}f}"


def times(value: float | None, base: float | None) -> str:
    """A ratio for a cell."""
    return f"{value / base:.2f}x" if value and base else ""


def closed_table(found: Found, peers: Sequence[Peer]) -> Table:
    """The most of each, its CPU, and one call at a time."""
    table = Table(title="Closed loop: medians over the rounds", title_justify="left")
    table.add_column("peer", no_wrap=True)
    names = ("calls/s", "of echo", "CPU us", "of echo", "one, us", "of echo")
    for name in (*names, "request", "answer"):
        table.add_column(name, justify="right", no_wrap=True)
    for peer in peers:
        row = [peer.name]
        for what, figure, digits in (
            ("closed", "rate", 0),
            ("closed", "cpu_us", 2),
            ("single", "p50_us", 1),
        ):
            value = found.median(what, peer.key, figure)
            row += [number(value, digits), times(value, found.median(what, "echo", figure))]
        table.add_row(*row, f"{peer.request_bytes} B", f"{peer.answer_bytes} B")
    return table


def open_table(found: Found) -> Table:
    """Latency at a rate."""
    table = Table(title="Open loop: medians over the rounds, us", title_justify="left")
    table.add_column("case", no_wrap=True)
    for name in ("calls/s", "p50", "p99", "of echo", "p99.9", "of echo", "max", "lost", "valid"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, runs in found.runs["open"].items():
        figures = {f: found.median("open", name, f) for f in runs[0] if f != "advice"}
        echo = {f: found.median("open", "echo", f) for f in ("p99_us", "p999_us")}
        valid = sum(one["valid"] for one in runs)
        table.add_row(
            name,
            number(found.wanted[name]),
            number(figures["p50_us"], 1),
            number(figures["p99_us"], 1),
            times(figures["p99_us"], echo["p99_us"]),
            number(figures["p999_us"], 1),
            times(figures["p999_us"], echo["p999_us"]),
            number(figures["max_us"]),
            f"{figures['lost_share']:.2%}",
            str(valid) if valid == len(runs) else f"{valid} of {len(runs)}",
        )
    return table


def figures(found: Found) -> dict[str, float]:
    """The medians and the ratios by name, as limits.json may bound them."""
    made: dict[str, float] = {}
    for what, names in found.runs.items():
        for name, runs in names.items():
            for figure in (f for f, v in runs[0].items() if isinstance(v, float)):
                value = found.median(what, name, figure)
                made[f"peers_{what}_{name.replace(' ', '_')}_{figure}"] = value or 0.0
    for what, figure, name in (
        ("closed", "rate", "peers_rate"),
        ("closed", "cpu_us", "peers_cpu"),
        ("single", "p50_us", "peers_single"),
        ("open", "p99_us", "peers_p99"),
        ("open", "p999_us", "peers_p999"),
    ):
        lane = found.median(what, "lane", figure)
        for base in ("echo", "aio"):
            other = found.median(what, base, figure)
            if lane and other:
                made[f"{name}_of_{base}"] = lane / other
    return made


def show(
    console: Console,
    told: dict[str, str],
    found: Found,
    peers: Sequence[Peer],
    missing: dict[str, str],
) -> None:
    """Everything, for people."""
    for name, text in told.items():
        console.print(f"{name:<16} {text}", highlight=False, soft_wrap=True)
    console.print(closed_table(found, peers))
    for what, unit in (("batch", "decisions"), ("track", "events")):
        if rate := found.median(what, "lane", "each_rate"):
            console.print(f"fast lane, {what}: {rate:,.0f} {unit}/s", highlight=False)
    if found.runs["open"]:
        console.print(open_table(found))
    for peer in peers:
        console.print(f"{peer.name}: {peer.setup}", highlight=False, soft_wrap=True)
    for name, why in missing.items():
        console.print(f"{name}: missing: {why}", highlight=False, soft_wrap=True)


def plain(
    told: dict[str, str], found: Found, peers: Sequence[Peer], missing: dict[str, str]
) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "machine": told,
        "figures": figures(found),
        "peers": {
            peer.key: {
                "name": peer.name,
                "setup": peer.setup,
                "address": peer.address.partition(":")[0],
                "request_bytes": peer.request_bytes,
                "answer_bytes": peer.answer_bytes,
            }
            for peer in peers
        },
        "missing": missing,
        "runs": found.runs,
        "wanted": found.wanted,
        "buckets": found.buckets,
    }


def plot(file: Path, found: Found, peers: Sequence[Peer]) -> None:
    """Rates and CPU as bars, and latency over percentile where an open loop ran."""
    from nextbest.bench.plots import svg

    file.write_text(svg(drawn(found, peers), "peers") + "\n", encoding="utf-8")


def drawn(found: Found, peers: Sequence[Peer]) -> Any:
    """The figure."""
    from matplotlib.figure import Figure

    rows = 2 if found.buckets else 1
    figure = Figure(
        figsize=(10.0, 1.2 + 0.35 * len(peers) + 3.6 * (rows - 1)), layout="constrained"
    )
    grid = figure.add_gridspec(rows, 2, height_ratios=[1 + 0.3 * len(peers), 3.6][:rows])
    colours = dict(zip((peer.key for peer in peers), COLOURS, strict=False))
    for place, (figure_name, label) in enumerate(
        (("rate", "calls/s, closed loop of 16 x 8"), ("cpu_us", "server CPU for each call, us"))
    ):
        axes = figure.add_subplot(grid[0, place])
        values = [found.median("closed", peer.key, figure_name) or 0.0 for peer in peers]
        names = [peer.name for peer in peers] if place == 0 else ["" for _ in peers]
        labels = [number(value, 1 if place else 0) for value in values]
        bars = axes.barh(range(len(peers)), values, color=[colours[peer.key] for peer in peers])
        axes.bar_label(bars, labels=labels, padding=3, fontsize=8)
        axes.set_yticks(range(len(peers)), names)
        axes.invert_yaxis()
        axes.set_xlim(right=max(values) * 1.2 or 1)
        axes.set_xlabel(label)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.locator_params(axis="x", nbins=4)
    if found.buckets:
        latencies(figure.add_subplot(grid[1, :]), found, colours)
    return figure


def latencies(axes: Any, found: Found, colours: dict[str, str]) -> None:
    """Latency over percentile; each nine takes the same width."""
    from nextbest.bench.plots import latency_axis
    from nextbest.bench.result import at

    places = [10 ** (i / 12) for i in range(49)]
    for name, buckets in found.buckets.items():
        values = [at(buckets, 100 * (1 - 1 / place)) / 1e6 for place in places]
        key = name.partition(" ")[0]
        style = "-" if name == key else "--"
        label = f"{name}, {found.wanted[name]:,.0f}/s"
        axes.step(places, values, where="post", label=label, color=colours[key], linestyle=style)
    axes.set_xscale("log")
    ticks = [1.0, 2.0, 10.0, 100.0, 1_000.0, 10_000.0]
    axes.set_xticks(ticks, [f"{100 * (1 - 1 / tick):.6g}%" for tick in ticks])
    axes.set_xlabel("calls that were at least as fast, open loop at half of the own maximum")
    axes.minorticks_off()
    latency_axis(axes)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
