"""`nextbest replay` and `nextbest whatif`: recorded decisions made again."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from nextbest.core.playbook.plan import Plan
from nextbest.server.command.console import (
    EXIT_REFUSED,
    AsJson,
    complain,
    counted,
    out,
    show_json,
)
from nextbest.server.command.effect import SHOWN_MAX, effect_json, show_effect, warn_of_few
from nextbest.server.playbook.compile import compile_playbook
from nextbest.server.playbook.folder import read_folder
from nextbest.server.record.errors import RecordError
from nextbest.server.record.files import Files, folder_of
from nextbest.server.record.outcomes import Outcomes
from nextbest.server.record.playbooks import Playbooks
from nextbest.server.record.replay import Replayed, replay
from nextbest.server.record.whatif import Draft, Effect, whatif

RecordFiles = Annotated[
    Path,
    typer.Argument(
        help="A file of records, their folder, or a data folder.", metavar="FILE", exists=True
    ),
]


def replay_command(
    file: RecordFiles,
    id: Annotated[
        str, typer.Option("--id", help="Only the decision of this id.", metavar="ID")
    ] = "",
    playbook: Annotated[
        list[Path] | None,
        typer.Option(
            help="A playbook's folder, where it does not stand beside the records; repeatable.",
            metavar="FOLDER",
            exists=True,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Decide recorded decisions again, and compare the answers to the byte.

    The server records where records.share is set; the playbooks stand beside the records. A
    record that was changed, and one that gives another answer, is named with the first
    difference; the exit code is 1 then, and where there is no decision, or none of that id. One
    that a crash has cut off at the end of a file is named, and no fault.

    Examples:

      nextbest serve -p server/examples/shop --data /tmp/shop --set records.share=1

      nextbest replay /tmp/shop/records

      nextbest replay /tmp/shop/records --id 01a212fa-c1b5-7c2e-b25a-379038acb9ab
    """
    files = Files(folder_of(file))
    given = dict(map(plan_of, playbook or ()))
    found = _Found()
    for one in replay(files.decisions(id), Playbooks(files.folder, given)):
        found.add(one)
    _tell(files, found, as_json)
    if not found.count:
        complain(_nothing(files, id))
    if found.not_replayed and given:
        complain(f"--playbook gives {', '.join(one.hex() for one in given)}")
    if files.damaged or not found.equal or found.equal < found.count:
        raise typer.Exit(EXIT_REFUSED)


def whatif_command(
    file: RecordFiles,
    playbook: Annotated[
        Path,
        typer.Option(help="The draft's folder.", metavar="FOLDER", exists=True, show_default=False),
    ],
    as_json: AsJson = False,
) -> None:
    """Decide recorded decisions by a draft playbook, and show what would change.

    Each decision is made by what was read when it was made. Where the draft reads what was not
    read then, the decision is left out, and counted by what that is: record with it, or try it on
    live traffic. Where under 90 % are compared, a warning says so. Requests that were refused are
    left out, and a decision that was made again under its id counts once.
    The exit code is 1 when nothing could be compared, or a record is damaged.

    Examples:

      nextbest whatif /tmp/shop/records --playbook my/draft

      nextbest whatif /tmp/shop/records/20261126T193556.705154.records --playbook my/draft --json
    """
    files = Files(folder_of(file))
    hash_bytes, plan = plan_of(playbook)
    draft = Draft(plan, Playbooks(files.folder, {hash_bytes: plan}))
    # All records first: which one counts of a decision made again may stand far behind.
    with closing(Outcomes(files.frames())) as outcomes:
        effect = whatif(files.decisions(), draft, outcomes)
    for error in [*files.damaged, *files.cut][:SHOWN_MAX]:
        complain(str(error))
    if as_json:
        told = {"again": effect.again, "refused": effect.refused, "damaged": len(files.damaged)}
        show_json(effect_json(effect) | told)
    else:
        show_effect(effect)
    warn_of_few(effect)
    if not effect.records:
        complain("nothing was compared: " + _why_nothing(files, effect))
    if files.damaged or not effect.records:
        raise typer.Exit(EXIT_REFUSED)


def _why_nothing(files: Files, effect: Effect) -> str:
    if effect.failed:
        return "the draft refuses every decision"
    if effect.incomplete:
        return "the draft reads what was not recorded, in every decision"
    return _nothing(files, "")


def _nothing(files: Files, id: str) -> str:
    """Why there is no decision, and what to do."""
    if id:
        return f"no decision of the id {id!r} is recorded here"
    if files.damaged or files.cut:
        return f"{files.folder}: no decision is whole"
    return f"{files.folder}: no decisions are recorded here; serve with --set records.share=1"


def plan_of(folder: Path) -> tuple[bytes, Plan]:
    """A draft's hash and plan.  Raises RecordError with its first fault."""
    compiled = compile_playbook(read_folder(folder))
    if compiled.plan is None:
        raise RecordError(f"{folder}: {compiled.faults[0]}; see nextbest check {folder}")
    return compiled.plan.hash, compiled.plan


@dataclass(slots=True)
class _Found:
    """What came of deciding again; of those that were not decided again, how many for which why."""

    count: int = 0
    different: list[Replayed] = field(default_factory=list)
    not_replayed: Counter[str] = field(default_factory=Counter)

    def add(self, one: Replayed) -> None:
        """Take a decision."""
        self.count += 1
        if one.why_not:
            self.not_replayed[one.why_not] += 1
        elif one.difference:
            self.different.append(one)

    @property
    def equal(self) -> int:
        """How many gave the same bytes."""
        return self.count - len(self.different) - self.not_replayed.total()


def _tell(files: Files, found: _Found, as_json: bool) -> None:
    damaged, different = files.damaged, found.different
    if as_json:
        named = [_named(one) for one in different]
        told = {"records": found.count, "equal": found.equal, "different": named}
        told["not_replayed"] = dict(found.not_replayed)
        damage = {"damaged": list(map(str, damaged)), "cut": list(map(str, files.cut))}
        show_json(told | damage)
        return
    lines = [
        *map(str, damaged),
        *map(str, files.cut),
        *(
            counted(count, "decision|decisions was|were not replayed") + f": {why}"
            for why, count in found.not_replayed.most_common()
        ),
        *(" ".join(("decision", *_named(one).values())) for one in different),
    ]
    for line in lines[:SHOWN_MAX]:
        complain(line)
    more = f", {len(lines) - SHOWN_MAX:,} more than shown" if len(lines) > SHOWN_MAX else ""
    decisions = counted(found.count, "decision|decisions")
    out().print(
        f"{decisions} of {counted(len(files.paths), 'file|files')}: "
        f"{found.equal:,} equal, {len(different):,} different, "
        f"{found.not_replayed.total():,} not replayed, {len(damaged):,} damaged{more}"
    )


def _named(one: Replayed) -> dict[str, str]:
    return {"decision_id": one.frame.decision_id, "difference": one.difference}
