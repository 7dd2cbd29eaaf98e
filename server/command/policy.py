"""A draft as a policy, judged by decision records: for `nextbest ope` and `nextbest publish`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, NamedTuple, TypeAlias

import typer

from nextbest.core.playbook.plan import Plan
from nextbest.server.command.console import AGAIN, REPEATED, counted
from nextbest.server.command.decisions import period_of, progress, tell_damage
from nextbest.server.offpolicy import Analysis, Settings, analyse
from nextbest.server.offpolicy.recorded import LeftOut, gather
from nextbest.server.offpolicy.reward import NO_WINDOW_US, reward_of
from nextbest.server.playbook.scalars import SPAN_TEXT, span_s
from nextbest.server.record.files import Files, folder_of
from nextbest.server.record.playbooks import Playbooks
from nextbest.server.record.whatif import Draft

Window: TypeAlias = Annotated[
    str,
    typer.Option(
        help="How long an outcome counts for its decision; always by default.", metavar="SPAN"
    ),
]


Placements: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--placement", help="Only this one; repeatable.", metavar="NAME"),
]


@dataclass(frozen=True, slots=True)
class FromRecords:
    """Which records, and what counts as their reward, as the options have it."""

    places: Sequence[Path]
    reward: str
    window: str = ""
    since: str = ""
    until: str = ""
    placements: tuple[str, ...] = ()


class Judged(NamedTuple):
    """What records say of a draft."""

    analysis: Analysis
    left_out: LeftOut
    damaged: int

    def left_out_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self.left_out) | {"damaged": self.damaged}

    def notes(self) -> Iterator[str]:
        """What stands in no row, as sentences."""
        out = self.left_out
        for count, what in (
            (out.again, AGAIN),
            (out.failed, "decision|decisions had no answer"),
            (out.previews, "decision|decisions without effect (previews)"),
            (out.unsampled, "decision|decisions recorded whatever the share: left out"),
            (
                out.incomplete,
                "decision|decisions is|are left out, since the draft reads what was not recorded",
            ),
            (out.different, "decision|decisions could not be made again: see nextbest replay"),
            (out.young, "decision|decisions younger than the window, which --until leaves out"),
            (out.late, "outcome|outcomes came after the window"),
            (out.unplaced, "outcome|outcomes is|are of no proposition"),
            (out.shared, "outcome|outcomes of no named placement, counted for each"),
            (out.repeated, REPEATED),
            (out.unknown, "outcome|outcomes of decisions not among the records: not counted"),
            (out.slots, "proposition|propositions of later slots: rows are the first slots"),
            (out.columns, "column|columns of what was known: no room in the reward model"),
            (self.damaged, "record|records is|are damaged"),
        ):
            if count:
                yield counted(count, what)
        for why, count in out.refused.most_common():
            yield counted(count, "decision|decisions refused by the draft") + f": {why}"


def judge_draft(plan: Plan, records: FromRecords, settings: Settings) -> Judged:
    """Evaluate a draft from records.  Raises OffPolicyError, RecordError and OSError."""
    reward = reward_of(records.reward, _window_us(records.window))
    period = period_of(records.since, records.until)
    files = Files(*map(folder_of, records.places))
    playbooks = Playbooks(files.folder, {plan.hash: plan}, files.folders[1:])
    with progress("records") as report:
        found = gather(
            files,
            playbooks,
            Draft(plan, playbooks),
            reward,
            period,
            records.placements,
            report,
        )
    tell_damage(files)
    analysis = analyse(found.feedback, settings, lacking=found.lacking)
    return Judged(analysis, found.left_out, len(files.damaged))


def _window_us(text: str) -> int:
    if not text:
        return NO_WINDOW_US
    seconds = span_s(text)
    if seconds is None:
        raise typer.BadParameter(f"{text!r}, allowed: {SPAN_TEXT}", param_hint="--window")
    return int(seconds * 1_000_000)
