"""Purposes and channels: their hidden attributes, and what of the playbook needs them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Final

from nextbest.core.playbook.plan import Attribute, Channel, Plan, Purpose, ValueType
from nextbest.server.playbook.read import Playbook
from nextbest.server.playbook.scope import Scope
from nextbest.server.playbook.shapes import Text, unknown
from nextbest.server.playbook.tables import check_alike

_PURPOSE: Final = "@consent."
_CHANNEL: Final = "@channel."


def needed(
    consents: Sequence[Text], what: str, playbook: Playbook, scope: Scope
) -> tuple[int, ...]:
    """The conditions of the consents that an action needs."""
    known = []
    for name in consents:
        if name in playbook.purposes:
            known.append(_condition(name))
        else:
            unknown(name, f"consents of {what}", playbook.purposes, scope.faults)
    return scope.gate(known, f"consents of {what}")


def _condition(purpose: Text) -> Text:
    return Text.at(f"consent.{purpose}", purpose.node)


def with_consents(plan: Plan, playbook: Playbook, scope: Scope) -> Plan:
    """A plan with the playbook's purposes and channels, and the attributes they are kept in."""
    check_alike(playbook.purposes, "name of a purpose", scope.faults)
    _check_reasons(playbook, scope)
    start = len(plan.attributes)
    purposes = tuple(_purposes(playbook, scope, start))
    channels = tuple(_channels(playbook, start + len(purposes)))
    names = [f"{_PURPOSE}{one.name}" for one in purposes]
    names += [f"{_CHANNEL}{one.name}.{reason}" for one in channels for reason in one.reasons]
    # As with what identifies a person: each is their own, and not to be shared by others' rows.
    hidden = tuple(Attribute(name, ValueType.STRING, pii=True) for name in names)
    return dataclasses.replace(
        plan, attributes=plan.attributes + hidden, purposes=purposes, channels=channels
    )


def _purposes(playbook: Playbook, scope: Scope, start: int) -> Iterator[Purpose]:
    used = {name for action in playbook.actions.values() for name in action.consents}
    for number, (name, spec) in enumerate(sorted(playbook.purposes.items())):
        # One that an action needs is in the pool already.
        conditions = scope.gate([_condition(name)], f"purpose {name}") if name in used else ()
        yield Purpose(
            name=str(name),
            bases=tuple(sorted(set(spec.basis))),
            attribute=start + number,
            condition=conditions[0] if conditions else -1,
        )


def _channels(playbook: Playbook, start: int) -> Iterator[Channel]:
    """Those that somebody may leave."""
    for name, reasons in sorted(playbook.channels.items()):
        if not reasons:
            continue
        each = tuple(sorted(str(reason) for reason in reasons))
        yield Channel(str(name), each, tuple(range(start, start + len(each))))
        start += len(each)


def _check_reasons(playbook: Playbook, scope: Scope) -> None:
    for name, reasons in playbook.channels.items():
        for reason in reasons:
            if reasons.count(reason) > 1:
                what = f"reasons of channel {name}"
                scope.faults.add(reason.node.fault(what, "each reason once"))
