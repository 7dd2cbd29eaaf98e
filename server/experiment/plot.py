"""The report as a picture: each metric's differences, with both intervals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from nextbest.server.experiment.errors import OptionError
from nextbest.server.experiment.extra import need_plots
from nextbest.server.experiment.report import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nextbest.server.experiment.comparison import Comparison

FORMATS: Final = (".png", ".svg", ".pdf")
# Okabe and Ito's colours, which the colour-blind can tell apart.
FIXED, ALWAYS = "#0072B2", "#D55E00"
INCHES_WIDE: Final = 8.0


def check_target(target: Path) -> None:
    """Raise OptionError or MissingExtraError when no picture could be written there."""
    need_plots()
    if target.suffix.lower() not in FORMATS:
        raise OptionError("--plot", repr(target.name), f"a name that ends in {', '.join(FORMATS)}")
    if not target.absolute().parent.is_dir():
        raise OptionError("--plot", f"no folder for {target.name!r}", "a folder that exists")


def draw(report: Report, target: Path) -> None:
    """Write the picture; a panel for each metric."""
    from matplotlib import rc_context

    # A name may hold what would be a formula.
    with rc_context({"text.parse_math": False}):
        _figure(report).savefig(target, dpi=150)


def _figure(report: Report) -> Figure:
    from matplotlib.figure import Figure

    metrics = list(dict.fromkeys(one.metric for one in report.comparisons))
    most = max(sum(one.metric == name for one in report.comparisons) for name in metrics)
    size = INCHES_WIDE, 1.0 + len(metrics) * (0.8 + 0.4 * most)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(metrics), 1, squeeze=False)[:, 0]
    for panel, name in zip(axes, metrics, strict=True):
        _panel(panel, name, [one for one in report.comparisons if one.metric == name])
    _legend(axes[0])
    if report.split.alarm:
        figure.suptitle("SAMPLE-RATIO MISMATCH: nothing here holds", color="red")
    axes[-1].set_xlabel(f"difference to {report.control}, {100 * report.level:g} % intervals")
    return figure


def _panel(panel: Axes, metric: str, pairs: list[Comparison]) -> None:
    for row, one in enumerate(pairs):
        if one.sequential:
            _line(panel, row + 0.15, one.sequential.interval, ALWAYS)
        _line(panel, row - 0.15, one.contrast.interval, FIXED)
        panel.plot([one.contrast.difference], [row - 0.15], "o", color=FIXED)
    panel.axvline(0.0, color="black", linewidth=0.8)
    panel.set_yticks(range(len(pairs)), [one.variant for one in pairs])
    panel.set_ylim(len(pairs) - 0.5, -0.5)
    panel.set_title(metric, loc="right", fontsize=10)
    panel.grid(axis="x", alpha=0.3)


def _line(panel: Axes, row: float, ends: tuple[float, float], colour: str) -> None:
    panel.plot(ends, [row, row], color=colour, linewidth=2.0)


def _legend(panel: Axes) -> None:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=colour, linewidth=2.0) for colour in (FIXED, ALWAYS)]
    names = ["at the planned end, once", "always valid"]
    panel.legend(lines, names, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
