"""Faults of a playbook: how they are collected, worded and shown."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from nextbest.server.playbook import limits

SEEN_MAX = 60
NAMES_SHOWN_MAX = 12
NAMES_COMPARED_MAX = 128
LINE_SHOWN_MAX = 120
# What an expression's checker says of a name that there is not.
UNKNOWN_FIELD = "unknown field"


class Severity(IntEnum):
    """How grave a fault is; the numbers are those of the contract."""

    ERROR = 1
    WARNING = 2


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, or the last, which stands for those left out: for `count` of them.

    `line` and `column` count characters from 1; `seen` may be empty.
    """

    file: str
    line: int
    column: int
    what: str
    seen: str
    allowed: str
    severity: Severity = Severity.ERROR
    count: int = 1

    def __str__(self) -> str:
        warning = "warning: " if self.severity is Severity.WARNING else ""
        seen = f", seen {self.seen}" if self.seen else ""
        allowed = f", allowed: {self.allowed}" if self.allowed else ""
        return f"{self.file}:{self.line}:{self.column}: {warning}{self.what}{seen}{allowed}"

    def order(self) -> tuple[str, int, int, int, str]:
        """Sorts by place, errors before warnings."""
        return self.file, self.line, self.column, int(self.severity), self.what


class Faults:
    """Collects faults, each once, at most FAULTS_MAX of them."""

    def __init__(self) -> None:
        # Names whose definition has a fault already: that they are not known is no second one.
        self.broken: set[str] = set()
        # Kinds, such as channel, one of which has a fault in its name: one not known may be it.
        self.unnamed: set[str] = set()
        # Counters of which it is not known what they are, since what they count has a fault.
        self.untyped: set[str] = set()
        self._faults: dict[Fault, None] = {}
        self._causes: set[Fault] = set()
        self._left_out = 0

    def add(self, fault: Fault, cause: bool = False) -> None:
        """Keep a fault, or count it when there are too many; a cause of others is told first."""
        if cause:
            self._causes.add(fault)
        if len(self._faults) < limits.FAULTS_MAX:
            self._faults[fault] = None
        elif fault not in self._faults:
            self._left_out += 1

    def errors(self) -> int:
        """How many errors there are; warnings do not count."""
        found = sum(fault.severity is Severity.ERROR for fault in self._faults)
        return found + self._left_out

    def sorted(self) -> tuple[Fault, ...]:
        """All faults by file and line, causes first; the last one says how many were left out."""
        faults = sorted(self._faults, key=lambda one: (one not in self._causes, one.order()))
        if self._left_out:
            allowed = "mend these first"
            more = self._left_out
            faults.append(Fault(".", 1, 1, "more faults", str(more), allowed, count=more))
        return tuple(faults)


def shown(value: object) -> str:
    """A value as a fault shows it: quoted, on one line, cut to a readable length."""
    text = str(value)
    if len(text) > SEEN_MAX:
        return f"{text[: SEEN_MAX - 3]!r}... ({len(text):,} characters)"
    return repr(text)


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that an author most likely meant, or an empty string."""
    if len(name) > 2 * limits.PATH_MAX:
        return ""
    names = list(known)
    lowered = name.lower().replace("-", "_")
    if lowered in names:
        return lowered
    if len(names) > NAMES_COMPARED_MAX:
        # Comparing costs some 30 us a name; most slips leave the first or the last letters.
        ends = lowered[:2], lowered[-2:]
        names = [other for other in names if other[:2] == ends[0] or other[-2:] == ends[1]]
        names.sort(key=lambda other: abs(len(other) - len(lowered)))
        names = names[:NAMES_COMPARED_MAX]
    found = difflib.get_close_matches(lowered, names, n=1, cutoff=0.6)
    if found:
        return found[0]
    starts = [other for other in names if other and lowered.startswith(other)]
    return max(starts, key=len, default="")


def one_of(name: str, known: Iterable[str], nothing: str = "none is defined") -> str:
    """The `allowed` text for a name: all that is known, and the nearest."""
    names = list(known)
    if not names:
        return nothing
    text = ", ".join(names[:NAMES_SHOWN_MAX])
    if len(names) > NAMES_SHOWN_MAX:
        text += f" and {len(names) - NAMES_SHOWN_MAX:,} more"
    near = nearest(name, names)
    return f"{text} (did you mean {near}?)" if near else text


def render(faults: Iterable[Fault], sources: Mapping[str, bytes]) -> str:
    """The faults for a terminal, each with the line it is on and a caret below the column."""
    lines: dict[str, list[str]] = {}
    blocks = []
    for fault in faults:
        if fault.file not in lines:
            text = sources.get(fault.file, b"").decode("utf-8", "replace")
            lines[fault.file] = text.split("\n")
        blocks.append(_block(fault, lines[fault.file]))
    return "\n".join(blocks)


def _block(fault: Fault, lines: list[str]) -> str:
    if not 1 <= fault.line <= len(lines) or not lines[fault.line - 1].strip():
        return f"{fault}\n"
    line = lines[fault.line - 1].rstrip("\r").replace("\t", " ")
    caret = fault.column - 1
    start = max(0, caret - LINE_SHOWN_MAX + 20) if len(line) > LINE_SHOWN_MAX else 0
    shown_line = line[start : start + LINE_SHOWN_MAX]
    number = str(fault.line)
    margin = " " * len(number)
    pointer = " " * (caret - start) + "^"
    return f"{fault}\n  {number} | {shown_line}\n  {margin} | {pointer}\n"
