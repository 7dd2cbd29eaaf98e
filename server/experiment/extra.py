"""The libraries that only reports need: asked for before anything imports them."""

from __future__ import annotations

from importlib import import_module

from nextbest.server.experiment.errors import MissingExtraError


def need(libraries: tuple[str, ...], extra: str) -> None:
    """Raise MissingExtraError, which says how to install it, unless all are there."""
    for library in libraries:
        try:
            import_module(library)
        except ImportError:
            raise MissingExtraError(library, extra) from None


def need_analysis() -> None:
    """Ask for the libraries of the statistics."""
    need(("scipy", "statsmodels"), "analysis")


def need_plots() -> None:
    """Ask for the library of the plots."""
    need(("matplotlib",), "report")
