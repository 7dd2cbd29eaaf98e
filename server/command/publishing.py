"""Publishing: what is told of a playbook that was published, or would be."""

from __future__ import annotations

from collections.abc import Iterable

from nextbest.server.budget_changes import change_text
from nextbest.server.command.console import out
from nextbest.v1 import playbook_pb2


def show_faults(faults: Iterable[playbook_pb2.PlaybookFault]) -> None:
    """A line for each, as a compiler has them."""
    for fault in faults:
        grave = "warning" if fault.severity == playbook_pb2.SEVERITY_WARNING else "error"
        out().print(f"{fault.file}:{fault.line}:{fault.column}: {grave}: {fault.what}")


def show_changes(changes: Iterable[playbook_pb2.BudgetChange]) -> None:
    """A warning for each budget that begins anew, is gone, or has less than is claimed of it."""
    for change in changes:
        out().print(f"warning: {change_text(change)}")
