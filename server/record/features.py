"""Features: what a decision knew, by the names that the playbook's author uses.

Context fields ("context.page"), attributes and counters ("profile.country", "profile.orders"), as
they were when it was decided.  A score's counter and a cap's are no single value and are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from nextbest.core.playbook.plan import InputKind, Plan
from nextbest.v1 import common_pb2, record_pb2

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Feature(NamedTuple):
    """A value: a number and a moment (in seconds since 1970) are numbers, all others texts.

    A moment has a text, too; what was read and is unset has neither.
    """

    number: float | None = None
    text: str | None = None


UNSET = Feature()


class Names:
    """What a playbook's inputs are called, by the places that records have; `private`: pii too."""

    def __init__(self, plan: Plan, private: bool = False) -> None:
        hidden = {i for i, one in enumerate(plan.attributes) if one.pii and not private}
        self.attributes = {
            one.index: one.name
            for one in plan.inputs
            if one.kind is InputKind.ATTRIBUTE and one.index not in hidden
        }
        self.counters = {
            one.index: one.name for one in plan.inputs if one.kind is InputKind.COUNTER
        }
        self.given = {plan.attributes[i].name: name for i, name in self.attributes.items()}

    def features(self, record: record_pb2.DecisionRecord) -> dict[str, Feature]:
        """All that a decision has read and may be told."""
        found = dict(self._read(record))
        for name, value in record.request.attributes.items():
            if name in self.given:
                found[self.given[name]] = feature(value)
        for name, value in record.request.context.items():
            found[f"context.{name}"] = feature(value)
        return found

    def _read(self, record: record_pb2.DecisionRecord) -> Iterator[tuple[str, Feature]]:
        for place in record.unset_attributes:
            if name := self.attributes.get(place - 1):
                yield name, UNSET
        for place in record.empty_counters:
            if name := self.counters.get(place - 1):
                yield name, UNSET
        for one in record.inputs:
            names = self.attributes if one.attribute else self.counters
            name = names.get((one.attribute or one.counter) - 1)
            if name and one.HasField("value"):
                yield name, feature(one.value)


def feature(value: common_pb2.Value) -> Feature:
    """A value of the protocol as a feature."""
    kind = value.WhichOneof("kind")
    content = getattr(value, kind) if kind else None
    if isinstance(content, bool | int | float) and kind != "null_value":
        return Feature(float(content))
    if isinstance(content, str):
        return Feature(None, content)
    if kind == "timestamp_value":
        return _moment(value.timestamp_value.seconds, value.timestamp_value.nanos)
    if kind in ("string_list", "vector"):
        return Feature(None, json.dumps(list(getattr(value, kind).values), ensure_ascii=False))
    return UNSET


def _moment(seconds: int, nanos: int) -> Feature:
    # Not fromtimestamp: a profile's moments are from year 1 to 9999.
    at = _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1_000)
    return Feature(seconds + nanos / 1e9, at.isoformat())
