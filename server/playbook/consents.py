"""The author's language of purposes and channels in contact.yaml, as tables."""

from __future__ import annotations

from dataclasses import dataclass

from nextbest.server.playbook import limits
from nextbest.server.playbook.faults import Faults
from nextbest.server.playbook.grants import BASES
from nextbest.server.playbook.shapes import (
    Choice,
    Many,
    Mapping,
    Missing,
    Name,
    Record,
    Schema,
    Shape,
    Spec,
    Text,
    key,
)
from nextbest.server.playbook.source import Kind, Node
from nextbest.v1 import profile_pb2


@dataclass(slots=True, kw_only=True)
class PurposeSpec(Spec):
    """What a person may allow."""

    basis: tuple[int, ...] = key(
        Many(Choice(dict(BASES)), len(BASES), least=1, single=True),
        "the lawful bases on which it may be granted",
        default=(profile_pb2.LAWFUL_BASIS_CONSENT,),
    )


PURPOSES = Mapping(
    "purpose", Record("purpose", PurposeSpec), limits.PURPOSES_MAX, Name(reserved=True)
)
_REASONS = Mapping("channel", Many(Name(), limits.REASONS_MAX), limits.DECLARED_CHANNELS_MAX)


class Channels(Shape):
    """Names alone, which nobody can leave, or a mapping of each to its reasons."""

    def read(self, node: Node, what: str, faults: Faults) -> dict[Text, tuple[Text, ...]] | Missing:
        """See Shape."""
        alone = [node] if node.kind is Kind.SCALAR else []
        names = [name for name, _ in node.entries] or node.items or alone
        if not node.is_null() and not all(limits.NAME.fullmatch(one.text) for one in names):
            faults.unnamed.add("channel")
        if node.kind is Kind.MAP or node.is_null():
            return _REASONS.read(node, what, faults)
        found = self._names().read(node, what, faults)
        return found if isinstance(found, Missing) else dict.fromkeys(found, ())

    def schema(self) -> Schema:
        """See Shape."""
        return {"anyOf": [_REASONS.schema(), *self._names().schema()["anyOf"]]}

    def text(self) -> str:
        """See Shape."""
        return f"{self._names().text()}, or {_REASONS.text()}"

    def _names(self) -> Many:
        return Many(Name(), limits.PLACEMENTS_MAX, single=True)
