"""A simulated day of a shop's visitors: who comes when, what they do, what they click.

Owns no clock and sends nothing: it yields steps in the order of time, and the same seed gives
the same day.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

VISITORS: Final = 900
PRODUCTS: Final = (
    ("lamp", "light", 39.0),
    ("bulb", "light", 6.5),
    ("chair", "furniture", 89.0),
    ("sofa", "furniture", 640.0),
    ("desk", "furniture", 249.0),
    ("rug", "textiles", 120.0),
    ("towel", "textiles", 14.0),
    ("pan", "kitchen", 45.0),
    ("knife", "kitchen", 79.0),
    ("oven", "kitchen", 520.0),
)
# How often a visitor clicks a proposition, beyond a base of 2%.
CLICKS: Final = {
    "finish_order": 0.22,
    "free_shipping": 0.26,
    "first_order": 0.10,
    "join_club": 0.06,
    "same_category": 0.07,
    "try_premium": 0.05,
}
CLICK_BASE: Final = 0.02

Kind = Literal["profile", "link", "event", "decide"]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do at a moment: set attributes, link, track an event, ask for a decision."""

    at: datetime
    kind: Kind
    visitor: int
    name: str = ""  # of the event or the placement
    values: dict[str, str | float | int | bool] = field(default_factory=dict)


@dataclass(slots=True)
class Visitor:
    """A visitor's habits."""

    number: int
    known: bool
    member: bool
    device: str
    keen: float  # how likely the next step towards a purchase is


def simulate(seed: int, start: datetime, visitors: int = VISITORS) -> Iterator[Step]:
    """The steps of a day that begins at `start`, by time."""
    source = random.Random(seed)
    people = [_visitor(source, number) for number in range(visitors)]
    visits = [_visit(source, person, _arrival(source, start)) for person in people]
    # Some come back in the evening: those whose cart was left are the interesting ones.
    back = [person for person in people if source.random() < 0.35]
    evening = start + timedelta(hours=18)
    visits += [
        _visit(source, one, evening + timedelta(seconds=source.random() * 18_000)) for one in back
    ]
    return heapq.merge(*visits, key=lambda step: (step.at, step.visitor))


def clicked(seed: int, action: str, number: int) -> bool:
    """Whether the visitor of proposition `number` of the day clicks it."""
    chance = CLICK_BASE + CLICKS.get(action, 0.0)
    return random.Random(f"{seed}/{number}").random() < chance


def _visitor(source: random.Random, number: int) -> Visitor:
    return Visitor(
        number=number,
        known=source.random() < 0.4,
        member=source.random() < 0.25,
        device=source.choice(("desktop", "phone", "phone")),
        keen=source.betavariate(2, 3),
    )


def _arrival(source: random.Random, start: datetime) -> datetime:
    """More come around noon than at night."""
    return start + timedelta(hours=min(17.0, max(0.0, source.gauss(11.0, 3.5))))


def _visit(source: random.Random, person: Visitor, at: datetime) -> list[Step]:
    steps: list[Step] = []
    context: dict[str, str | float | int | bool] = {"device": person.device}

    def add(kind: Kind, name: str = "", **values: str | float | int | bool) -> None:
        nonlocal at
        at += timedelta(seconds=source.expovariate(1 / 25.0))
        steps.append(Step(at, kind, person.number, name, values))

    def decide(placement: str, page: str) -> None:
        add("decide", placement, page=page, hour=at.hour, **context)

    if person.known:
        plan = "club" if person.member else "free"
        add("profile", email=f"visitor{person.number}@example.com", plan=plan, mail_consent=True)
        add("link")
    add("event", "page_view", path="/", category="", seconds=12.0)
    decide("home_hero", "home")
    decide("home_shelf", "home")
    for _ in range(source.randrange(1, 6)):
        product, category, price = source.choice(PRODUCTS)
        add("event", "view", product=product, category=category, price=price)
        decide("home_shelf", "product")
        if source.random() < person.keen:
            add("event", "cart", product=product, price=price)
            decide("cart_strip", "cart")
            if source.random() < person.keen:
                order = f"order-{person.number}-{len(steps)}"
                add("event", "purchase", product=product, amount=price, order=order)
    return steps
