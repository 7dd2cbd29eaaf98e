"""The people of shop-100 and what they did, the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from typing import NamedTuple

from .predicates import DAY_S, HOUR_S

# Everything has happened by this moment; decisions are asked for in the hour after it.
BASE_S = int(datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp())
PROFILES = 100_000
REQUESTS = 10_000
SEED = 100
HISTORY_S = 45 * DAY_S
KNOWN, ANONYMOUS = 1, 2

TYPES = {
    "newsletter": "bool",
    "app_installed": "bool",
    "marketing_ok": "bool",
    "returning": "bool",
    "country": "string",
    "language": "string",
    "plan": "string",
    "tier": "string",
    "device": "string",
    "city": "string",
    "category": "string",
    "age": "int",
    "orders_total": "int",
    "loyalty_points": "int",
    "household": "int",
    "basket_value": "double",
    "discount_rate": "double",
    "churn_risk": "double",
    "registered_at": "timestamp",
    "last_order_at": "timestamp",
}
EVENTS = {
    "page_view": {"path": "string", "category": "string", "seconds": "double"},
    "add_to_cart": {"product": "string", "amount": "double"},
    "purchase": {"product": "string", "amount": "double"},
    "email_open": {"campaign": "string"},
}


class Counter(NamedTuple):
    """A counter: of an event, over a window (0: all time) with a resolution, both in seconds."""

    event: str
    window_s: int
    resolution_s: int
    summed: str = ""


MINUTE_S = 60
COUNTERS = {
    "views_1h": Counter("page_view", HOUR_S, 5 * MINUTE_S),
    "views_7d": Counter("page_view", 7 * DAY_S, 6 * HOUR_S),
    "views_30d": Counter("page_view", 30 * DAY_S, DAY_S),
    "carts_7d": Counter("add_to_cart", 7 * DAY_S, 6 * HOUR_S),
    "purchases_30d": Counter("purchase", 30 * DAY_S, DAY_S),
    "purchases_all": Counter("purchase", 0, 0),
    "opens_30d": Counter("email_open", 30 * DAY_S, DAY_S),
    "spend_7d": Counter("purchase", 7 * DAY_S, 6 * HOUR_S, "amount"),
    "spend_all": Counter("purchase", 0, 0, "amount"),
    "seconds_7d": Counter("page_view", 7 * DAY_S, 6 * HOUR_S, "seconds"),
}
CONTEXT = {"page": "string", "hour": "int", "campaign": "string"}

COUNTRIES = ["PL", "US", "DE", "GB", "FR", "ES", "IT"]
COUNTRY_WEIGHTS = [26, 46, 61, 73, 84, 93, 100]
LANGUAGES = ["en", "pl", "de", "fr", "es"]
LANGUAGE_WEIGHTS = [42, 62, 76, 88, 100]
CITIES = [
    *("London", "Lodz", "Lublin", "Lyon", "Leipzig", "Lille"),
    *("Warsaw", "Berlin", "Paris", "Madrid", "Boston", "Rome"),
]
CATEGORIES = ["shoes", "coats", "shirts", "books", "garden", "phones", "gifts", "art"]
PAGES = ["home", "product", "cart", "checkout", "search"]
CAMPAIGNS = ["summer", "outlet", "welcome"]
EVENT_NAMES = list(EVENTS)
EVENT_WEIGHTS = [62, 76, 86, 100]

Scalar = bool | int | float | str


class Event(NamedTuple):
    """An event of one person; the moment is in seconds since 1970."""

    id: str
    event: str
    at_s: int
    properties: dict[str, Scalar]


class Person(NamedTuple):
    """A person; an attribute that is not named is unset, moments are seconds since 1970."""

    kind: int
    id: str
    attributes: dict[str, Scalar]
    events: list[Event]


class Request(NamedTuple):
    """A decision to ask for; `person` is the number of the person, -1 for an unknown one."""

    person: int
    kind: int
    id: str
    now_s: int
    seed: int
    context: dict[str, Scalar]


def person_id(number: int) -> tuple[int, str]:
    """The kind and the id of a person: one in four is anonymous."""
    if number % 4 == 3:
        return ANONYMOUS, f"cookie-{number * 2654435761 % 2**32:08x}-{number:06d}"
    return KNOWN, f"customer-{number:06d}"


def person(number: int) -> Person:
    """One person, whatever people were made before."""
    random = Random(SEED * 1_000_003 + number)
    kind, id = person_id(number)
    attributes = certain(random)
    attributes.update(uncertain(random))
    return Person(kind, id, attributes, history(random, number))


def certain(random: Random) -> dict[str, Scalar]:
    """The attributes that everybody has."""
    below, chance = random.choices, random.random
    return {
        "newsletter": chance() < 0.5,
        "app_installed": chance() < 0.4,
        "marketing_ok": chance() < 0.6,
        "returning": chance() < 0.55,
        "country": below(COUNTRIES, cum_weights=COUNTRY_WEIGHTS)[0],
        "language": below(LANGUAGES, cum_weights=LANGUAGE_WEIGHTS)[0],
        "plan": "free" if chance() < 0.5 else "plus" if chance() < 0.6 else "pro",
        "tier": "bronze" if chance() < 0.5 else "silver" if chance() < 0.6 else "gold",
        "device": "mobile" if chance() < 0.5 else "desktop" if chance() < 0.7 else "tablet",
        "category": CATEGORIES[int(chance() * 8)],
        "orders_total": int(chance() * chance() * 14),
        "loyalty_points": int(chance() * 1001),
        "basket_value": int(chance() * 10_000) / 100,
        "registered_at": BASE_S - int((1 + 1_000 * chance()) * DAY_S),
    }


def uncertain(random: Random) -> Iterator[tuple[str, Scalar]]:
    """The attributes that only some people have."""
    chance = random.random
    if chance() < 0.7:
        yield "city", CITIES[int(chance() * 12)]
    if chance() < 0.8:
        yield "age", 18 + int(chance() * 50)
    if chance() < 0.9:
        yield "household", 1 + int(chance() * 5)
    if chance() < 0.75:
        yield "discount_rate", int(chance() * 300) / 1000
    if chance() < 0.9:
        yield "churn_risk", int(chance() * 1000) / 1000
    if chance() < 0.7:
        yield "last_order_at", BASE_S - int(150 * chance() * DAY_S)


def history(random: Random, number: int) -> list[Event]:
    """What a person did: nothing for one in ten, else 9 events at the mean, most of them new."""
    chance = random.random
    if chance() < 0.1:
        return []
    count = min(60, 1 + int(random.expovariate(1 / 8.5)))
    ages = (min(random.expovariate(1 / (8 * DAY_S)), HISTORY_S) for _ in range(count))
    times = sorted(BASE_S - int(age if chance() < 0.95 else age / 300) for age in ages)
    return [event(random, f"e-{number}-{i}", at_s) for i, at_s in enumerate(times)]


def event(random: Random, id: str, at_s: int) -> Event:
    """One event, with all its properties."""
    chance = random.random
    name = random.choices(EVENT_NAMES, cum_weights=EVENT_WEIGHTS)[0]
    if name == "page_view":
        category = CATEGORIES[int(chance() * 8)]
        seconds = int(chance() * 12_000) / 100
        return Event(
            id, name, at_s, {"path": f"/{category}", "category": category, "seconds": seconds}
        )
    if name == "email_open":
        return Event(id, name, at_s, {"campaign": CAMPAIGNS[int(chance() * 3)]})
    amount = int(chance() * chance() * 20_000) / 100
    return Event(id, name, at_s, {"product": f"p-{int(chance() * 500)}", "amount": amount})


def requests(count: int = REQUESTS, profiles: int = PROFILES) -> Iterator[Request]:
    """Decisions to ask for, one in fifty of them for somebody unknown."""
    random = Random(SEED)
    chance = random.random
    for i in range(count):
        number = int(chance() * profiles) if chance() < 0.98 else -1
        kind, id = person_id(number) if number >= 0 else (KNOWN, f"stranger-{i:06d}")
        context: dict[str, Scalar] = {
            "page": PAGES[int(chance() * 5)],
            "hour": int(chance() * 24),
            "campaign": CAMPAIGNS[0 if chance() < 0.5 else int(chance() * 3)],
        }
        yield Request(number, kind, id, BASE_S + int(chance() * HOUR_S), i + 1, context)


def counters(events: list[Event], now_s: int) -> dict[str, Scalar]:
    """What every counter holds at a moment, computed the plain way for comparison."""
    return {name: counted(counter, events, now_s) for name, counter in COUNTERS.items()}


def counted(counter: Counter, events: list[Event], now_s: int) -> Scalar:
    """One counter; a window starts at an edge of its resolution, sums are exact to 1e-6."""
    start_s = 0
    if counter.window_s:
        start_s = (now_s - counter.window_s) // counter.resolution_s * counter.resolution_s
    inside = [e for e in events if e.event == counter.event and start_s <= e.at_s <= now_s]
    if not counter.summed:
        return len(inside)
    return sum(round(float(e.properties[counter.summed]) * 1e6) for e in inside) / 1e6
