"""What if: recorded decisions made by a draft playbook, and what that would change."""

from __future__ import annotations

from array import array
from collections import Counter as Multiset
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import starmap
from typing import Any, NamedTuple, Protocol, TypeVar

from nextbest.core.errors import NextbestError
from nextbest.core.playbook.plan import Attribute, Budget, Counter, Plan
from nextbest.server.record.engines import engine_of
from nextbest.server.record.errors import RecordError
from nextbest.server.record.frames import Frame
from nextbest.server.record.outcomes import Outcomes
from nextbest.v1 import decision_pb2

# A placement, an action, and the action's group.
Shown = tuple[str, str, str]
Key = TypeVar("Key")
# Whoever is in no segment, or whose decision was not asked for segments.
NO_SEGMENT = ""
# Of refusals, all but the first kinds.
OTHER_REASONS = "for other reasons"
# Inputs that are told of those that a draft reads and records do not have, the most frequent.
LACKING_TOLD_MAX = 100
# Below this share of what a draft was asked, the rest may well be others than those compared.
COMPARED_SHARE = 0.9
# What the compiler has named, as an author knows it; what follows is the author's name.
_HIDDEN = {
    "@stage": "stage",
    "@consent": "consent",
    "@channel": "channel",
    "@score": "score",
    "@contact": "contact rule",
    "@experiment": "experiment",
    "@reserved": "reservations",
    "@confirmed": "reservations",
}


class Readable(Protocol):
    """What decisions by a playbook can read: of a Plan, these three."""

    @property
    def attributes(self) -> Sequence[Attribute]: ...
    @property
    def counters(self) -> Sequence[Counter]: ...
    @property
    def budgets(self) -> Sequence[Budget]: ...


class Sources(Protocol):
    """Playbooks that decided, by their hashes.  Raises NoPlaybookFileError."""

    def plan(self, hash_bytes: bytes, /) -> Readable: ...


class Places(NamedTuple):
    """For each attribute, counter and budget of one playbook its index in another, or -1: int32."""

    attributes: bytes
    counters: bytes
    budgets: bytes


@dataclass(slots=True)
class Change:
    """How often something was proposed, and would be."""

    before: int = 0
    after: int = 0


@dataclass(slots=True)
class Effect:
    """What a draft would change.

    records: decided by both.  again: records of decisions made again under their ids, and copies,
    but for the one that counts.  refused: requests that had no answer.  incomplete: left out, since
    the draft reads what was not recorded; lacking: by what that is, of a decision the first 64.
    failed: those that the draft refuses, by why.  changed: with other actions, in another order
    too.  by_action, by_group, by_segment: propositions, and of segments the changed decisions.
    """

    records: int = 0
    changed: int = 0
    incomplete: int = 0
    again: int = 0
    refused: int = 0
    lacking: Multiset[str] = field(default_factory=Multiset)
    failed: Multiset[str] = field(default_factory=Multiset)
    by_action: dict[Shown, Change] = field(default_factory=dict)
    by_group: dict[str, Change] = field(default_factory=dict)
    by_segment: dict[str, Change] = field(default_factory=dict)

    def add(self, before: decision_pb2.DecideResponse, after: decision_pb2.DecideResponse) -> None:
        """Count one decision, as it was and as it would be."""
        self.records += 1
        changed = shown(before) != shown(after)
        self.changed += changed
        for side, answer in (("before", before), ("after", after)):
            for one in shown(answer):
                _count(self.by_action, one, side)
                _count(self.by_group, one[2], side)
        for segment in before.segments or (NO_SEGMENT,):
            _count(self.by_segment, segment, "before")
            if changed:
                _count(self.by_segment, segment, "after")

    @property
    def asked(self) -> int:
        """How many decisions the draft was asked for, whatever came of it."""
        return self.records + self.incomplete + self.failed.total()

    def lacks(self, names: Iterable[str]) -> None:
        """Count a decision for which the draft reads what was not recorded."""
        self.incomplete += 1
        self.lacking.update(set(names))

    def most_lacking(self) -> list[tuple[str, int]]:
        """What was not recorded, and of how many decisions; the most frequent first."""
        return sorted(self.lacking.items(), key=lambda one: (-one[1], one[0]))[:LACKING_TOLD_MAX]

    def merge(self, more: Effect, reasons_max: int) -> None:
        """Add what was counted elsewhere; reasons beyond so many are told together."""
        self.records += more.records
        self.changed += more.changed
        self.incomplete += more.incomplete
        self.again += more.again
        self.refused += more.refused
        self.lacking.update(more.lacking)
        for why, count in more.failed.items():
            known = why in self.failed or len(self.failed) < reasons_max
            self.failed[why if known else OTHER_REASONS] += count
        for name in ("by_action", "by_group", "by_segment"):
            ours = getattr(self, name)
            for key, change in getattr(more, name).items():
                one = ours.setdefault(key, Change())
                one.before += change.before
                one.after += change.after


def _count(changes: dict[Any, Change], key: object, side: str) -> None:
    change = changes.setdefault(key, Change())
    setattr(change, side, getattr(change, side) + 1)


def shown(answer: decision_pb2.DecideResponse) -> list[Shown]:
    """What an answer proposes, placement by placement, best first."""
    return [
        (part.placement, one.action, one.group)
        for part in answer.placements
        for one in part.propositions
    ]


def places(old: Readable, new: Readable) -> Places:
    """Where what one playbook reads is in another: attributes by name and type, the rest by key."""
    attributes = {(one.name, one.type, one.size): i for i, one in enumerate(new.attributes)}
    counters = {one.key: i for i, one in enumerate(new.counters)}
    budgets = {one.key: i for i, one in enumerate(new.budgets)}
    return Places(
        _bytes(attributes.get((one.name, one.type, one.size), -1) for one in old.attributes),
        _bytes(counters.get(one.key, -1) for one in old.counters),
        _bytes(budgets.get(one.key, -1) for one in old.budgets),
    )


def _bytes(indexes: Iterable[int]) -> bytes:
    # An empty list would read as "the same": there is nothing to be found anywhere.
    return array("i", [*indexes, -1]).tobytes()


class Draft:
    """Decides records by a draft, whichever playbook decided them."""

    def __init__(self, plan: Plan, playbooks: Sources) -> None:
        self._plan = plan
        self._playbooks = playbooks
        self._engine = engine_of(plan)
        self._places: dict[bytes, Places] = {}

    def decide(
        self, frame: Frame, explain: bool = False
    ) -> tuple[decision_pb2.DecideResponse, list[str]]:
        """The draft's answer, and what it read that was not recorded, by its author's names.

        Raises what deciding does, and NoPlaybookFileError.
        """
        hash_bytes = frame.record.playbook
        if hash_bytes not in self._places:
            self._places[hash_bytes] = places(self._playbooks.plan(hash_bytes), self._plan)
        answer, lacking = self._engine.replay(frame.data, *self._places[hash_bytes], explain)
        return decision_pb2.DecideResponse.FromString(answer), [*starmap(self._name, lacking)]

    def _name(self, kind: str, index: int) -> str:
        if kind == "budget":
            return f"budget {self._plan.budgets[index].name}"
        named = self._plan.attributes if kind == "attribute" else self._plan.counters
        name = named[index].name
        if not name.startswith("@"):
            return f"profile.{name}"
        start, _, rest = name.partition(".")
        if start == "@score":
            # Behind it the number of the rule.
            rest = rest.rpartition(".")[0]
        return f"{_HIDDEN.get(start, start)} {rest}".rstrip()


def whatif(frames: Iterable[Frame], draft: Draft, outcomes: Outcomes) -> Effect:
    """Decide records again by a draft; those that had no answer are left out.

    outcomes: of all records, which say what counts of a decision that was made again.
    """
    effect = Effect()
    for frame in frames:
        if not outcomes.take_decision(frame):
            effect.again += 1
        elif frame.record.HasField("error"):
            effect.refused += 1
        else:
            try_one(frame, draft, effect)
    return effect


def try_one(frame: Frame, draft: Draft, effect: Effect) -> None:
    """Add what a draft would make of one record."""
    try:
        answer, lacking = draft.decide(frame)
    except RecordError:
        raise
    except NextbestError as error:
        effect.failed[str(error)] += 1
        return
    if lacking:
        effect.lacks(lacking)
    else:
        effect.add(frame.record.response, answer)


def largest(changes: Mapping[Key, Change], most: int) -> Sequence[tuple[Key, Change]]:
    """The largest changes first."""
    by_size = sorted(
        changes.items(), key=lambda one: (-abs(one[1].after - one[1].before), str(one[0]))
    )
    return by_size[:most]
