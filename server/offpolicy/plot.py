"""The plot of an analysis: each estimate with its interval, beside the logged mean."""

from __future__ import annotations

from pathlib import Path

from nextbest.server.offpolicy.analysis import Analysis
from nextbest.server.offpolicy.errors import MissingLibraryError

INCHES_WIDE = 8.0
# Okabe and Ito's colours, which the colour-blind can tell apart.
BLUE, RED = "#0072B2", "#D55E00"


def require() -> None:
    """MissingLibraryError when there is no matplotlib."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise MissingLibraryError("matplotlib", "report") from None


def draw(analysis: Analysis, path: Path) -> None:
    """Write a PNG; MissingLibraryError without matplotlib, OSError when it cannot be written."""
    require()
    from matplotlib.figure import Figure

    # A difference lies about 0, elsewhere than the means.
    means = {name: one for name, one in analysis.estimates.items() if name != "gain"}
    names, estimates = zip(*means.items(), strict=True)
    places = range(len(names))
    figure = Figure(figsize=(INCHES_WIDE, 1.2 + 0.4 * len(names)), layout="constrained")
    axes = figure.subplots()
    # As lines, not as bars about the mean: an interval by percentiles may lie beside it.
    axes.hlines(places, [e.lower for e in estimates], [e.upper for e in estimates], BLUE)
    axes.plot([e.mean for e in estimates], places, "o", color=BLUE)
    axes.axvline(analysis.estimates["logged"].mean, color=RED, linestyle="--", label="logged mean")
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlabel(f"mean reward, {100 * analysis.settings.trust.level:.4g} % intervals")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    figure.savefig(path, format="png", dpi=150)
