"""The sixty predicates of shop-100, each as CEL and as a cell of a decision table."""

from __future__ import annotations

from typing import NamedTuple

HOUR_S = 3600
DAY_S = 24 * HOUR_S


class Predicate(NamedTuple):
    """One condition, written twice.

    `cel` is the playbook's text.  `field` and `cell` are the input and the test of a ZEN
    decision table, where moments are seconds since 1970 and `$` is the field's value.
    """

    cel: str
    field: str
    cell: str


def compare(field: str, operator: str, literal: object) -> Predicate:
    """A field against a constant."""
    text = f'"{literal}"' if isinstance(literal, str) else str(literal)
    return Predicate(f"{field} {operator} {text}", field, f"$ {operator} {text}")


def member(field: str, *literals: object) -> Predicate:
    """A field in a list of constants."""
    items = ", ".join(f'"{item}"' if isinstance(item, str) else str(item) for item in literals)
    return Predicate(f"{field} in [{items}]", field, f"$ in [{items}]")


def given(field: str) -> Predicate:
    """A field that is set."""
    return Predicate(f"has({field})", field, "$ != null")


def truth(field: str, wanted: bool) -> Predicate:
    """A truth value as it is, or negated."""
    return Predicate(field if wanted else f"!{field}", field, f"$ == {str(wanted).lower()}")


def within(field: str, seconds: int) -> Predicate:
    """A moment that lies at most so long ago."""
    cel = f'now - {field} < duration("{seconds}s")'
    return Predicate(cel, field, f"now - $ < {seconds}")


def older(field: str, seconds: int) -> Predicate:
    """A moment that lies longer ago."""
    cel = f'now - {field} > duration("{seconds}s")'
    return Predicate(cel, field, f"now - $ > {seconds}")


def since(field: str, text: str, seconds: int) -> Predicate:
    """A moment after a fixed one."""
    return Predicate(f'{field} > timestamp("{text}")', field, f"$ > {seconds}")


def call(field: str, name: str, argument: str) -> Predicate:
    """A string function of a field."""
    return Predicate(f'{field}.{name}("{argument}")', field, f'{name}($, "{argument}")')


BOOLEANS = (
    truth("profile.newsletter", True),
    truth("profile.newsletter", False),
    truth("profile.app_installed", True),
    truth("profile.app_installed", False),
    truth("profile.marketing_ok", True),
    truth("profile.returning", True),
)
STRINGS = (
    member("profile.country", "PL", "DE", "FR"),
    member("profile.country", "US", "GB", "PL", "ES", "IT"),
    compare("profile.country", "!=", "US"),
    compare("profile.language", "==", "en"),
    member("profile.language", "en", "de", "pl"),
    compare("profile.plan", "==", "free"),
    compare("profile.plan", "!=", "free"),
    member("profile.tier", "silver", "gold"),
    compare("profile.tier", "!=", "bronze"),
    compare("profile.device", "==", "mobile"),
    member("profile.device", "desktop", "tablet"),
    given("profile.city"),
    call("profile.city", "startsWith", "L"),
    call("profile.category", "contains", "o"),
    member("profile.category", "shoes", "coats", "shirts", "books"),
    Predicate("size(profile.category) > 5", "profile.category", "len($) > 5"),
)
NUMBERS = (
    compare("profile.age", ">=", 35),
    compare("profile.age", "<", 45),
    given("profile.age"),
    compare("profile.orders_total", ">", 2),
    compare("profile.orders_total", "<=", 3),
    compare("profile.loyalty_points", ">=", 400),
    compare("profile.loyalty_points", "<", 600),
    compare("profile.household", ">", 2),
    member("profile.household", 1, 2, 5),
    compare("profile.basket_value", ">", 40.0),
    compare("profile.basket_value", "<=", 60.5),
    compare("profile.discount_rate", ">=", 0.1),
    compare("profile.discount_rate", "<", 0.15),
    given("profile.discount_rate"),
    compare("profile.churn_risk", "<", 0.5),
    compare("profile.churn_risk", ">", 0.35),
)
MOMENTS = (
    older("profile.registered_at", 400 * DAY_S),
    within("profile.registered_at", 700 * DAY_S),
    since("profile.registered_at", "2025-01-01T00:00:00Z", 1735689600),
    within("profile.last_order_at", 60 * DAY_S),
    since("profile.last_order_at", "2026-03-01T00:00:00Z", 1772323200),
    given("profile.last_order_at"),
)
COUNTERS = (
    compare("profile.views_1h", ">", 0),
    compare("profile.views_7d", ">=", 3),
    compare("profile.views_7d", "<", 5),
    compare("profile.views_30d", ">", 5),
    compare("profile.carts_7d", ">=", 1),
    compare("profile.purchases_30d", "==", 0),
    compare("profile.purchases_all", ">=", 1),
    compare("profile.opens_30d", ">", 0),
    compare("profile.spend_7d", "<=", 20.0),
    compare("profile.spend_all", ">", 60.0),
    compare("profile.seconds_7d", ">", 120.0),
)
CONTEXT = (
    member("context.page", "home", "product", "cart"),
    compare("context.page", "!=", "checkout"),
    compare("context.hour", ">=", 12),
    compare("context.hour", "<", 18),
    compare("context.campaign", "==", "summer"),
)

PREDICATES = (*BOOLEANS, *STRINGS, *NUMBERS, *MOMENTS, *COUNTERS, *CONTEXT)
