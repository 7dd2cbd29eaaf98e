"""The small playbook, with a placement that cannot be decided within its bound."""

from __future__ import annotations

import shutil
from pathlib import Path

from nextbest.v1 import common_pb2, decision_pb2
from tests.lane.target import PLAYBOOK

HEAVY = "heavy"
ACTION = f"""
  {HEAVY}:
    group: {HEAVY}
    value: 1
    eligibility: >-
      profile.interests.all(a, profile.interests.all(b, profile.interests.all(c,
      a + b + c != "-")))
"""
PLACEMENT = f"""
  {HEAVY}:
    candidates: {{groups: {HEAVY}}}
    fallback: newsletter
"""


def with_heavy(folder: Path) -> Path:
    """Write it into the folder."""
    made = folder / "playbook"
    shutil.copytree(PLAYBOOK, made, ignore=shutil.ignore_patterns("tests"))
    for name, more in (("actions.yaml", ACTION), ("placements.yaml", PLACEMENT)):
        with (made / name).open("a") as file:
            file.write(more)
    return made


def heavy() -> bytes:
    """A DecideRequest whose condition has more to do than it may."""
    identity = common_pb2.Identity(kind=common_pb2.IDENTITY_KIND_KNOWN, id="ann")
    made = decision_pb2.DecideRequest(identity=identity, placements=[HEAVY])
    made.attributes["interests"].string_list.values.extend(map(str, range(100)))
    return made.SerializeToString()
