"""Playbooks: an author's YAML, validated with every fault at its place, compiled to a plan.

`run` (a playbook's own tests) needs the native engine and is imported by its own name.
"""

from nextbest.server.playbook.cases import Case
from nextbest.server.playbook.compile import Compiled, compile_playbook
from nextbest.server.playbook.faults import Fault, Severity, render
from nextbest.server.playbook.schema import combined_schema, json_schema
from nextbest.server.playbook.source import read_folder

__all__ = [
    "Case",
    "Compiled",
    "Fault",
    "Severity",
    "combined_schema",
    "compile_playbook",
    "json_schema",
    "read_folder",
    "render",
]
