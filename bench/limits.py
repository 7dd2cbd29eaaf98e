"""Compares the figures of benchmarks with limits.json; ends with 1 when one is off.

    python -m bench.limits RESULT.json...

A result is what `--json` prints.  A limit of which no result has the figure is off too.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

LIMITS = Path(__file__).with_name("limits.json")


def faults(figures: dict[str, float], limits: dict[str, dict[str, float]]) -> list[str]:
    """A line for each limit that is not kept."""
    found = []
    for name, limit in limits.items():
        seen = figures.get(name)
        if seen is None:
            found.append(f"{name}: not measured")
        elif seen > limit.get("max", seen):
            found.append(f"{name}: {seen:.4g}, at most {limit['max']:g}")
        elif seen < limit.get("min", seen):
            found.append(f"{name}: {seen:.4g}, at least {limit['min']:g}")
    return found


def say(
    told: dict[str, str], found: dict[str, float], prefix: str, as_json: bool, digits: int = 2
) -> int:
    """Print figures, and compare them with their limits; gives the exit code."""
    if as_json:
        sys.stdout.write(json.dumps({"machine": told, "figures": found}, indent=2) + "\n")
    else:
        lines = [f"{name:<40} {text}" for name, text in told.items()]
        lines += [f"{name:<40} {value:,.{digits}f}" for name, value in found.items()]
        sys.stdout.write("\n".join(lines) + "\n")
    limits = json.loads(LIMITS.read_text(encoding="utf-8"))
    ours = {name: limit for name, limit in limits.items() if name.startswith(prefix)}
    off = faults(found, ours)
    sys.stderr.write("".join(f"{fault}\n" for fault in off))
    return 1 if off else 0


def main(paths: list[str]) -> int:
    """Run the command."""
    figures: dict[str, float] = {}
    for path in paths:
        figures.update(json.loads(Path(path).read_text(encoding="utf-8"))["figures"])
    found = faults(figures, json.loads(LIMITS.read_text(encoding="utf-8")))
    sys.stdout.write("".join(f"{fault}\n" for fault in found) or "all limits kept\n")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
