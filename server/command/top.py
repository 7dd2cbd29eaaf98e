"""`nextbest top`: what nodes do, as it happens."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from nextbest.server.command.console import (
    ADDRESS,
    EXIT_UNAVAILABLE,
    AsJson,
    To,
    addresses_of,
    connect,
    out,
    show_json,
)
from nextbest.server.command.waiting import await_listening
from nextbest.server.top.interval import Interval
from nextbest.server.top.look import Look, look_of
from nextbest.server.top.screen import screen
from nextbest.server.top.summary import Summary, summary_of

if TYPE_CHECKING:
    from nextbest.client import Client

NODES_MAX = 16
# A node that does not answer must not hold the others up.
ANSWER_S = 2.0


def top_command(
    to: To = ADDRESS,
    interval: Annotated[
        float, typer.Option("--interval", "-i", help="Seconds between looks.", min=0.1, max=3_600)
    ] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Show one interval, and end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Watch one or several nodes: rates, latencies, steps, objectives, the log, actions.

    Rates are of the time between two looks.  Latencies are those of calls that ended in it,
    p50, p99 and p99.9 interpolated within the histogram's buckets (six a decade).  With several
    nodes calls and actions are those of all together.  A node that is away is shown as that,
    and asked again.  With --json each interval is one line.  Ctrl-C ends it.

    The exit code is 3 with --once where no node answered.

    Examples:

      nextbest top

      nextbest top --to 10.0.0.7:7600,10.0.0.8:7600 --interval 5

      nextbest top --once --json
    """
    addresses = addresses_of(to)
    if len(addresses) > NODES_MAX:
        allowed = f"{len(addresses)} nodes, allowed: at most {NODES_MAX}"
        raise typer.BadParameter(allowed, param_hint="--to")
    await_listening(addresses)
    with ExitStack() as stack:
        nodes = {one: stack.enter_context(connect(one, wait=False)) for one in addresses}
        watch = _Watch(nodes, stack.enter_context(ThreadPoolExecutor(len(nodes))))
        if once:
            _once(watch, interval, as_json)
        else:
            _on_and_on(watch, interval, as_json)


class _Watch:
    """Looks at nodes, and keeps the last look of each."""

    def __init__(self, nodes: dict[str, Client], threads: ThreadPoolExecutor) -> None:
        self._nodes = nodes
        self._threads = threads
        self._last: dict[str, Look] = {}

    def next(self) -> Summary:
        """What happened since the last look; a node's first one has no interval yet."""
        intervals, errors = {}, {}
        found = self._threads.map(self._look, self._nodes.values())
        for address, look in zip(self._nodes, found, strict=True):
            if isinstance(look, str):
                errors[address] = look
                continue
            intervals[address] = Interval(self._last.get(address, look), look)
            self._last[address] = look
        return summary_of(intervals, errors)

    def _look(self, client: Client) -> Look | str:
        from nextbest.client.errors import NextbestError

        try:
            return look_of(client.telemetry(timeout=ANSWER_S))
        except NextbestError as error:
            return type(error).__name__.removesuffix("Error")


def _once(watch: _Watch, interval: float, as_json: bool) -> None:
    watch.next()
    time.sleep(interval)
    summary = watch.next()
    _show(summary, as_json)
    if all(node.error for node in summary.nodes):
        raise typer.Exit(EXIT_UNAVAILABLE)


def _on_and_on(watch: _Watch, interval: float, as_json: bool) -> None:
    # Imported here: a pipe needs no terminal.
    from rich.live import Live

    try:
        if as_json or not out().is_terminal:
            watch.next()
            while True:
                time.sleep(interval)
                _show(watch.next(), as_json)
        with Live(screen(watch.next()), screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(interval)
                live.update(screen(watch.next()), refresh=True)
    except KeyboardInterrupt:
        return


def _show(summary: Summary, as_json: bool) -> None:
    if as_json:
        show_json(asdict(summary))
    else:
        out().print(screen(summary))
