"""Random reservations and impressions, as nodes may have written them to the log."""

from __future__ import annotations

from hypothesis import strategies as st

from nextbest.v1 import mutation_pb2
from tests.contact.playbook import ACTIONS, NOW_US, PLACEMENTS, SECOND, identity, plan_of

CAP = {"count": "impression", "max": 9, "window": "1d", "reserve": "60s"}
# It keeps 32 reservations of a person.
PLAN = plan_of({"caps": {"each": CAP | {"of": "action", "max": 3}, "all": CAP}})
PEOPLE = ("ann", "bob")
# From before the oldest moment that counts to after the newest one.
ASKED_US = NOW_US + 900 * SECOND


@st.composite
def _events(draw: st.DrawFn, name: str) -> mutation_pb2.Mutation:
    entry = mutation_pb2.Mutation(
        stamp=draw(st.integers(1, 50)), playbook=PLAN.hash, incarnation=draw(st.integers(0, 1))
    )
    event = entry.event
    event.event = name
    # Few, so that some come again with another content, of another decision or slot.
    event.event_id = f"{name}-{draw(st.integers(0, 20))}"
    event.decision_id = f"decision-{draw(st.integers(0, 3))}"
    event.slot = draw(st.integers(0, 5)) if name == "impression" else 0
    event.identity.CopyFrom(identity(draw(st.sampled_from(PEOPLE))))
    event.occurred_at.seconds = ASKED_US // SECOND - draw(
        st.integers(0, 60) | st.integers(-10, 900)
    )
    return entry


@st.composite
def reservations(draw: st.DrawFn) -> mutation_pb2.Mutation:
    """What a decision reserves: up to more than is kept of a person, with an id as once or none."""
    entry = draw(_events("@reservation"))
    if draw(st.booleans()):
        entry.event.event_id = ""
    slots = st.tuples(
        st.integers(0, 63), st.sampled_from([*PLACEMENTS]), st.sampled_from([*ACTIONS, "gone"])
    )
    few, many = st.lists(slots, max_size=4), st.lists(slots, min_size=5, max_size=40)
    entry.event.properties["proposed"].string_list.values.extend(
        f"{slot} {placement} {action}" for slot, placement, action in draw(few | few | many)
    )
    return entry


@st.composite
def impressions(draw: st.DrawFn) -> mutation_pb2.Mutation:
    """What of a decision was shown, before or after it is known that it was reserved."""
    entry = draw(_events("impression"))
    for name, values in (("action", ACTIONS), ("placement", PLACEMENTS)):
        if draw(st.booleans()):
            entry.event.properties[name].string_value = draw(st.sampled_from([*values]))
    return entry


@st.composite
def erasures(draw: st.DrawFn) -> mutation_pb2.Mutation:
    """Somebody is forgotten, and may register again."""
    entry = mutation_pb2.Mutation(stamp=draw(st.integers(1, 50)), playbook=PLAN.hash)
    entry.erasure.identities.add(identity=identity(draw(st.sampled_from(PEOPLE))), incarnation=0)
    return entry


def proposed(mutation: mutation_pb2.Mutation) -> list[str]:
    """What a reservation lists; nothing for another mutation."""
    properties = mutation.event.properties
    return list(properties["proposed"].string_list.values) if "proposed" in properties else []


def one_by_one(before: int, mutation: mutation_pb2.Mutation) -> list[mutation_pb2.Mutation]:
    """A reservation, after so many others, in the form that it once had: an event for each slot."""
    found = []
    for number, item in enumerate(proposed(mutation)):
        slot, placement, action = item.split(" ")
        one = mutation_pb2.Mutation()
        one.CopyFrom(mutation)
        one.event.event_id += f"/{before}/{number}"
        one.event.slot = int(slot)
        del one.event.properties["proposed"]
        one.event.properties["action"].string_value = action
        one.event.properties["placement"].string_value = placement
        found.append(one)
    return found


HISTORIES = st.lists(reservations() | reservations() | impressions() | erasures(), max_size=20)
