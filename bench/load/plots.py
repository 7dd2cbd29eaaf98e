"""The plots of the report, as SVG; the only part that needs matplotlib."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

from .errors import MissingError
from .result import Result, at

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MISSING = "--html needs matplotlib: pip install 'nextbest[report]'"
INCHES = (9.0, 3.6)
# Okabe and Ito's colours, which the colour-blind can tell apart.
COLOURS = {"p50": "#0072B2", "p90": "#009E73", "p99": "#D55E00", "slowest": "#999999"}
POINTS_EACH = 24


def require() -> None:
    """Raise MissingError when there is no matplotlib."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise MissingError(MISSING) from None


def over_percentile(found: Result) -> str:
    """Latency over percentile; each nine takes the same width."""
    figure, axes = new(1)
    number = sum(bucket[2] for bucket in found["buckets"])
    nines = max(1.0, math.log10(max(number, 10)))
    shares = [1 - 10 ** -(i / POINTS_EACH) for i in range(int(nines * POINTS_EACH) + 1)]
    values = [at(found["buckets"], 100 * share) / 1e6 for share in shares]
    places = [1 / (1 - share) for share in shares]
    axes[0].step(places, values, where="post", color=COLOURS["p99"], linewidth=1.8)
    axes[0].set_xscale("log")
    ticks = [1.0, 2.0, *(10.0**i for i in range(1, int(nines) + 1))]
    axes[0].set_xticks(ticks, [f"{100 * (1 - 1 / tick):.6g}%" for tick in ticks])
    axes[0].set_xlabel("calls that were at least as fast")
    axes[0].minorticks_off()
    latency_axis(axes[0])
    return svg(figure, "latency over percentile")


def over_time(found: Result) -> str:
    """Latency and answered calls over time."""
    figure, axes = new(2)
    slices = found["intervals"]
    seconds = [(one["start"] + one["width"] / 2) / 1e9 for one in slices]
    for name, colour in COLOURS.items():
        # Slices without a call have no latency, and leave a hole in the line.
        values = [one[name] / 1e6 if one[name] else math.nan for one in slices]
        marker = "." if len(slices) < 40 else ""
        label = "max" if name == "slowest" else name
        axes[0].plot(seconds, values, color=colour, label=label, linewidth=1.2, marker=marker)
    axes[0].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    latency_axis(axes[0])
    rates = [one["count"] / (one["width"] / 1e9) for one in slices]
    failed = [one["failed"] / (one["width"] / 1e9) for one in slices]
    axes[1].plot(seconds, rates, color=COLOURS["p50"], label="all", linewidth=1.2)
    axes[1].plot(seconds, failed, color=COLOURS["p99"], label="not OK", linewidth=1.2)
    axes[1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    axes[1].set_ylim(bottom=0)
    axes[1].yaxis.set_major_formatter("{x:,.0f}")
    axes[1].set_ylabel("calls/s due")
    axes[1].set_xlabel("seconds since the start, by when calls were due")
    axes[1].grid(alpha=0.3)
    return svg(figure, "latency over time")


def new(rows: int) -> tuple[Figure, list[Axes]]:
    """A figure and its axes, one above the other."""
    require()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(INCHES[0], INCHES[1] * (1 + 0.5 * (rows - 1))), layout="constrained")
    ratios = [2] + [1] * (rows - 1)
    made = figure.subplots(rows, 1, sharex=rows > 1, squeeze=False, height_ratios=ratios)
    return figure, [row[0] for row in made]


def latency_axis(axes: Axes) -> None:
    """Milliseconds, by powers of ten, with plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.set_ylabel("latency, ms")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)


def svg(figure: Figure, title: str) -> str:
    """The figure as an element for a page; the same figure gives the same text."""
    from matplotlib import rc_context

    out = io.StringIO()
    # Text stays text: it can be searched, and needs no outlines of letters.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": title, "font.family": "sans-serif"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Title": title})
    text = out.getvalue()
    return text[text.index("<svg") :]
