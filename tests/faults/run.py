"""`python -m tests.faults.run SCENARIO --times 20`: progress, a table at the end, or JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.faults.processes import FaultError
from tests.faults.scenarios import SCENARIOS
from tests.faults.stage import Options, Result, UnavailableError

EXIT_BROKEN, EXIT_USAGE = 1, 2


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.run", description=__doc__)
    parser.add_argument("scenario", nargs="+", choices=[*SCENARIOS, "all"], metavar="SCENARIO")
    parser.add_argument("--times", type=int, default=1, help="rounds of one scenario")
    parser.add_argument("--decides", type=int, default=2_000, help="decisions a second")
    parser.add_argument("--writes", type=int, default=200, help="writes a second")
    parser.add_argument("--minutes", type=float, default=5.0, help="of the soak")
    parser.add_argument("--keep", type=Path, help="a folder for the logs of all processes")
    parser.add_argument("--json", action="store_true", help="print one JSON document at the end")
    parser.epilog = f"Scenarios: {', '.join(SCENARIOS)}, or all but the soak by `all`."
    return parser.parse_args(given)


async def run(names: Sequence[str], options: Options) -> list[Result]:
    """Run scenarios one after another; each has a folder of its own."""
    results = []
    for name in names:
        folder = options.folder / name
        folder.mkdir(parents=True)
        options.say(f"{name}: {(SCENARIOS[name].__doc__ or '').splitlines()[0]}")
        try:
            results.append(await SCENARIOS[name](replace(options, folder=folder)))
        except UnavailableError as error:
            options.say(f"{name}: skipped: {error}")
        except FaultError as error:
            results.append(Result(name, faults=[str(error)]))
        for fault in results[-1].broken if results else ():
            options.say(f"  broken: {fault}")
    return results


def table(result: Result) -> Table:
    """The rows of a scenario; a figure that a row lacks stays empty."""
    columns = list(dict.fromkeys(name for row in result.rows for name in row))
    made = Table(*columns, title=result.name)
    for row in result.rows:
        made.add_row(*(_cell(row.get(name, "")) for name in columns))
    return made


def _cell(value: float | int | str) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def as_json(results: Sequence[Result]) -> str:
    """All rows and findings."""
    document = [{"scenario": r.name, "rows": r.rows, "broken": r.broken} for r in results]
    return json.dumps(_finite(document), indent=2)


def _finite(value: object) -> object:
    """JSON has no NaN and no infinity: they become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value


def main() -> int:
    """Run what the command line names; 1 when a promise was broken."""
    wanted = arguments()
    every = [name for name in SCENARIOS if name != "soak"]
    names = every if "all" in wanted.scenario else wanted.scenario
    # What holds namespaces and mounts lets go of them when it is asked to end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(stderr=wanted.json, soft_wrap=True, highlight=False)
    with tempfile.TemporaryDirectory(prefix="nextbest-", ignore_cleanup_errors=True) as temporary:
        options = Options(
            folder=wanted.keep or Path(temporary),
            times=wanted.times,
            decides_per_s=wanted.decides,
            writes_per_s=wanted.writes,
            minutes=wanted.minutes,
            say=console.print,
        )
        results = asyncio.run(run(names, options))
    if wanted.json:
        sys.stdout.write(as_json(results) + "\n")
    else:
        for result in results:
            console.print(table(result))
    return EXIT_BROKEN if any(result.broken for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
