"""Feedback of decision records: what was shown and what came of it, and what a draft would do.

The rows are the first slots of placements: for them a decision's explanation has the probability
of every action, whoever earns it, so that neither side's policy is guessed.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from nextbest.core.errors import NextbestError
from nextbest.server.offpolicy.context import Context
from nextbest.server.offpolicy.errors import FeedbackError, NothingRecordedError
from nextbest.server.offpolicy.feedback import Feedback, Floats
from nextbest.server.offpolicy.reward import Earned, Reward, earned
from nextbest.server.offpolicy.support import Missing
from nextbest.server.playbook.faults import one_of
from nextbest.server.record.errors import RecordError
from nextbest.server.record.export import Period, Progress
from nextbest.server.record.features import Names
from nextbest.server.record.files import Files
from nextbest.server.record.frames import Frame
from nextbest.server.record.outcomes import Outcomes, decided_for_us
from nextbest.server.record.playbooks import Playbooks
from nextbest.server.record.whatif import Draft
from nextbest.v1 import decision_pb2

ROWS_MAX: Final = 5_000_000
# What a slot has in which nothing is shown: it is a choice, too.
NOTHING: Final = "(nothing)"

# By action, with what probability the first slot has it; they add up to 1.
Chances = Mapping[str, float]


@dataclass(slots=True)
class LeftOut:
    """What does not stand in the rows, or not in full.

    again: records of decisions made again under their ids, and copies, but for the one that counts.
    failed, previews: decisions without an answer, and without effect.  unsampled: kept for what
    they are, and not as a part of the recorded share.  incomplete: the draft reads what was not
    recorded.  different: deciding again gives another answer, or is not possible.
    refused: by the draft, by why.  young: decisions whose window is not over.  late: outcomes
    after the window.  unplaced: outcomes of no proposition.  shared: of one of several placements,
    which count for each of them.  slots: propositions of later slots than the first.
    columns: of what was known, for which the reward model has no room.
    """

    again: int = 0
    failed: int = 0
    previews: int = 0
    unsampled: int = 0
    incomplete: int = 0
    different: int = 0
    young: int = 0
    late: int = 0
    unplaced: int = 0
    shared: int = 0
    repeated: int = 0
    unknown: int = 0
    slots: int = 0
    columns: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class Recorded(NamedTuple):
    """Feedback, what of the draft the log could not have, and what is left out."""

    feedback: Feedback
    lacking: tuple[Missing, ...]
    left_out: LeftOut


def gather(
    files: Files,
    playbooks: Playbooks,
    draft: Draft,
    reward: Reward,
    period: Period,
    placements: Container[str] = (),
    report: Progress | None = None,
) -> Recorded:
    """What the records of a period say of a draft, in some placements or, with none, in all.

    Raises NothingRecordedError, FeedbackError, and what reading files does.
    """
    outcomes = Outcomes(files.frames())
    reward.check(outcomes)
    gathering = _Gathering(playbooks, draft, reward, placements)
    for frame in _decided(files, period, gathering.left_out, outcomes):
        gathering.add(frame, earned(frame.record, outcomes.of(frame.decision_id), reward))
        if report is not None:
            report(files.read_bytes, files.total_bytes)
    counts = outcomes.counts()
    gathering.left_out.repeated, gathering.left_out.unknown = counts.repeated, counts.unknown
    outcomes.close()
    return gathering.recorded()


def _decided(
    files: Files, period: Period, left_out: LeftOut, outcomes: Outcomes
) -> Iterator[Frame]:
    """The decisions of the sample that were answered and had an effect."""
    for frame in files.decisions():
        record = frame.record
        if not period.has(record.decided_at_us):
            # It is known all the same.
            outcomes.of(frame.decision_id)
        elif not outcomes.take_decision(frame):
            left_out.again += 1
        elif record.HasField("error"):
            left_out.failed += 1
        elif record.request.preview:
            left_out.previews += 1
        elif record.unsampled:
            left_out.unsampled += 1
        else:
            yield frame


class _Gathering:
    """Collects rows."""

    def __init__(
        self, playbooks: Playbooks, draft: Draft, reward: Reward, placements: Container[str]
    ) -> None:
        self._playbooks = playbooks
        self._placements = placements
        self._draft = draft
        self._reward = reward
        self._names: dict[bytes, Names] = {}
        self._actions: dict[str, int] = {}
        self._slots: dict[str, int] = {}
        self._people: dict[tuple[int, str], int] = {}
        self._distributions: dict[tuple[tuple[int, float], ...], int] = {}
        self._columns = {name: array("q") for name in ("action", "slot", "evaluated", "person")}
        self._numbers = {name: array("d") for name in ("reward", "propensity")}
        self._context = Context()
        self._lacking: dict[tuple[str, str], float] = {}
        self._ends = array("q")
        # The placements that were decided, asked for or not.
        self._seen: set[str] = set()
        self._newest_us = 0
        self.left_out = LeftOut()

    def add(self, frame: Frame, of: Earned) -> None:
        """Take a decision's rows, or count why it has none."""
        decided_us = decided_for_us(frame.record)
        self._newest_us = max(self._newest_us, decided_us)
        self.left_out.late += of.late
        self.left_out.unplaced += of.unplaced
        self.left_out.shared += of.shared
        logged, drafted = self._logged(frame), self._drafted(frame)
        if logged is None or drafted is None:
            return
        features = self._names_of(frame).features(frame.record)
        person = self._person(frame)
        self._ends.append(decided_us + self._reward.window_us)
        for part in frame.record.response.placements:
            self._seen.add(part.placement)
            if self._placements and part.placement not in self._placements:
                continue
            shown = _first(part)
            self._columns["action"].append(self._action(shown.action or NOTHING))
            self._columns["slot"].append(self._slots.setdefault(part.placement, len(self._slots)))
            self._columns["evaluated"].append(self._distribution(drafted[part.placement]))
            self._columns["person"].append(person)
            self._numbers["reward"].append(of.by_placement.get(part.placement, 0.0))
            self._numbers["propensity"].append(shown.propensity_logging)
            self._context.add(features)
            self.left_out.slots += sum(one.slot > 0 for one in part.propositions)
            self._note_lacking(part.placement, logged[part.placement], drafted[part.placement])
        if len(self._numbers["reward"]) > ROWS_MAX:
            raise FeedbackError("rows", "more", f"{ROWS_MAX:,}: --since and --until take a part")

    def _logged(self, frame: Frame) -> dict[str, Chances] | None:
        """What could have been shown, by the playbook that decided."""
        try:
            engine = self._playbooks.engine(frame.record.playbook)
            answer, _ = engine.replay(frame.data, explain=True)
        except NextbestError:
            self.left_out.different += 1
            return None
        again = decision_pb2.DecideResponse.FromString(answer)
        if again.placements != frame.record.response.placements:
            self.left_out.different += 1
            return None
        return chances(again)

    def _drafted(self, frame: Frame) -> dict[str, Chances] | None:
        """What the draft would show."""
        try:
            _, lacking = self._draft.decide(frame)
            answer, _ = self._draft.decide(frame, explain=True)
        except RecordError:
            self.left_out.different += 1
            return None
        except NextbestError as error:
            self.left_out.refused[str(error)] += 1
            return None
        if lacking:
            self.left_out.incomplete += 1
            return None
        return chances(answer)

    def _names_of(self, frame: Frame) -> Names:
        hash_bytes = frame.record.playbook
        if hash_bytes not in self._names:
            self._names[hash_bytes] = Names(self._playbooks.plan(hash_bytes))
        return self._names[hash_bytes]

    def _person(self, frame: Frame) -> int:
        who = frame.record.request.identity
        return self._people.setdefault((who.kind, who.id), len(self._people))

    def _action(self, name: str) -> int:
        return self._actions.setdefault(name, len(self._actions))

    def _distribution(self, of: Chances) -> int:
        """Its number; most decisions share one of few."""
        found = tuple((self._action(name), chance) for name, chance in sorted(of.items()))
        return self._distributions.setdefault(found, len(self._distributions))

    def _note_lacking(self, placement: str, logged: Chances, drafted: Chances) -> None:
        for action, chance in drafted.items():
            if not logged.get(action):
                key = placement, action
                self._lacking[key] = self._lacking.get(key, 0.0) + chance

    def recorded(self) -> Recorded:
        """All of it as arrays."""
        columns = {name: np.array(one, dtype=np.int64) for name, one in self._columns.items()}
        rows = len(columns["action"])
        if not rows:
            why = _why_none(self.left_out, self._seen)
            raise NothingRecordedError(f"nothing can be compared: {why}")
        if self._reward.bounded:
            self.left_out.young = sum(end > self._newest_us for end in self._ends)
        context, self.left_out.columns = self._context.table()
        feedback = Feedback(
            action=columns["action"],
            slot=columns["slot"],
            reward=np.array(self._numbers["reward"]),
            propensity_logging=np.array(self._numbers["propensity"]),
            context=context,
            evaluation=self._evaluation(),
            evaluation_row=columns["evaluated"],
            actions=tuple(self._actions),
            slots=tuple(self._slots),
            cluster=columns["person"],
        )
        lacking = [Missing(*key, mass / rows) for key, mass in self._lacking.items()]
        lacking.sort(key=lambda one: -one.mass)
        return Recorded(feedback, tuple(lacking), self.left_out)

    def _evaluation(self) -> Floats:
        """(distributions x actions) the draft's."""
        found = np.zeros((len(self._distributions), len(self._actions)))
        for row, distribution in enumerate(self._distributions):
            for action, chance in distribution:
                found[row, action] = chance
        return found


def chances(explained: decision_pb2.DecideResponse) -> dict[str, Chances]:
    """By placement, with what probability its first slot has each action."""
    shown = {part.placement: _first(part).action or NOTHING for part in explained.placements}
    found: dict[str, Chances] = {name: {action: 1.0} for name, action in shown.items()}
    for part in explained.explanations:
        drawn = {
            one.action: one.propensity_logging for one in part.candidates if one.propensity_logging
        }
        # Where no candidate can have the slot, the fallback stands there, or nothing.
        found[part.placement] = drawn or found[part.placement]
    return found


def _first(part: decision_pb2.PlacementDecision) -> decision_pb2.Proposition:
    """What the first slot shows; an empty proposition, which is certain, for nothing."""
    for one in part.propositions:
        if one.slot == 0:
            return one
    return decision_pb2.Proposition(propensity_logging=1.0)


def _why_none(left_out: LeftOut, seen: Collection[str]) -> str:
    if seen:
        return f"no decision is of those placements, allowed: {one_of('', sorted(seen))}"
    if left_out.refused:
        return f"the draft refuses: {left_out.refused.most_common(1)[0][0]}"
    if left_out.incomplete:
        return "the draft reads what was not recorded, in every decision"
    if left_out.different:
        return "no decision could be made again: see nextbest replay"
    return "no decisions are recorded here: serve with --set records.share=1"
