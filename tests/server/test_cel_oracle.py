"""Our compiler and VM against cel-cpp's own evaluation, on generated expressions and profiles.

NEXTBEST_ORACLE_EXAMPLES sets how many; the default keeps the suite fast.
"""

from __future__ import annotations

import math
import os
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nextbest.core.engine import Expression
from nextbest.core.expression.operation import Part
from nextbest.core.expression.values import Duration, EvaluationError, Timestamp
from nextbest.core.playbook.plan import ValueType
from nextbest.server.playbook.cel import Compiled, Environment, ExpressionError, FieldType

EXAMPLES = int(os.environ.get("NEXTBEST_ORACLE_EXAMPLES", "300"))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 29, 0, 59, 59, 250_000, tzinfo=UTC)

FIELDS = {
    "vip": FieldType(ValueType.BOOL),
    "age": FieldType(ValueType.INT),
    "spend": FieldType(ValueType.DOUBLE),
    "country": FieldType(ValueType.STRING),
    "seen": FieldType(ValueType.TIMESTAMP),
    "tags": FieldType(ValueType.STRING_LIST),
    "taste": FieldType(ValueType.VECTOR),
    "plan": FieldType(ValueType.STRING, default=True),
    "visits": FieldType(ValueType.INT, default=True),
}
PATHS = [("profile", name) for name in FIELDS] + [("stage",), ("now",)]
ENVIRONMENT = Environment(
    {"profile": FIELDS, "stage": ValueType.STRING, "now": ValueType.TIMESTAMP},
    PATHS.index,
    strict=False,
)
MESSAGE = ENVIRONMENT.message_class("profile")

INTS = ("0", "1", "2", "-1", "7", "18", "1000", "9223372036854775807", "-9223372036854775807")
UINTS = ("0u", "1u", "3u", "18446744073709551615u")
DOUBLES = ("0.0", "-0.0", "1.0", "0.1", "2.5", "-1.5", "1e6", "123456.7", "1e-5", "1e300")
STRINGS = ('""', '"a"', '"PL"', '"free"', '"äö€"', '"12"', '"1.5"', '"true"', '"2026-01-01"')
BYTES = ('b""', 'b"a"', 'b"\\xff"', 'b"\\xc3\\xa4"')
SPANS = ('"0s"', '"90m"', '"-1.5s"', '"36h"', '"1ms"', '"720h0.000001s"')
MOMENTS = (
    '"1970-01-01T00:00:00Z"',
    '"2026-03-29T01:00:00Z"',
    '"1969-12-31T23:59:59.5Z"',
    '"2024-02-29T12:00:00.000123+02:00"',
    '"1901-07-04T10:00:00-05:30"',
)
ZONES = (
    "Europe/Warsaw",
    "America/New_York",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "+05:45",
    "-03:30",
    "UTC",
    "Nowhere/City",
)
PARTS = tuple(part.title().replace("_", "") for part in Part.__members__)
PATTERNS = ('"^a"', '"[a-z]+$"', '"P.?L"', '"\\\\d+"', '"("')
ORDERS = ("<", "<=", ">", ">=", "==", "!=")
ORDERED = ("int", "double", "string", "uint", "timestamp", "duration", "bool", "bytes")


class Generator:
    """Writes an expression of a wanted type."""

    def __init__(self, source: random.Random) -> None:
        self.source = source
        self.variables: list[tuple[str, str]] = []

    def pick(self, options: Any) -> Any:
        return options[self.source.randrange(len(options))]

    def make(self, kind: str, depth: int) -> str:
        named = [name for name, of in self.variables if of == kind]
        if named and self.source.randrange(2):
            return str(self.pick(named))
        choices = getattr(self, f"{kind}_choices")(max(depth, 0))
        leaves = 2 if depth <= 0 else len(choices)
        return str(self.pick(choices[:leaves])())

    def pair(self, kind: str, operators: tuple[str, ...], depth: int) -> str:
        one, other = self.make(kind, depth - 1), self.make(kind, depth - 1)
        return f"({one} {self.pick(operators)} {other})"

    def choice(self, kind: str, depth: int) -> str:
        parts = [self.make(of, depth - 1) for of in ("bool", kind, kind)]
        return f"({parts[0]} ? {parts[1]} : {parts[2]})"

    def call(self, function: str, kind: str, depth: int) -> str:
        return f"{function}({self.make(kind, depth - 1)})"

    def dynamic(self, depth: int) -> str:
        kinds = [self.pick(ORDERED[:4]) for _ in range(2)]
        one, other = (self.make(kind, depth - 1) for kind in kinds)
        return f"(dyn({one}) {self.pick(ORDERS)} dyn({other}))"

    def quantified(self, depth: int) -> str:
        kind, of = self.pick((("list_int", "int"), ("list_string", "string")))
        name = f"v{len(self.variables)}"
        items = self.make(kind, depth - 1)
        self.variables.append((name, of))
        inner = self.make("bool", depth - 1)
        self.variables.pop()
        macro = self.pick(("all", "exists", "exists_one"))
        return f"{items}.{macro}({name}, {inner})"

    def mapped(self, kind: str, depth: int) -> str:
        source, of = self.pick((("list_int", "int"), ("list_string", "string")))
        name = f"v{len(self.variables)}"
        items = self.make(source, depth - 1)
        self.variables.append((name, of))
        condition, value = self.make("bool", depth - 1), self.make(kind, depth - 1)
        self.variables.pop()
        return f"{items}.map({name}, {condition}, {value})"

    def filtered(self, kind: str, depth: int) -> str:
        items = self.make(kind, depth - 1)
        name = f"v{len(self.variables)}"
        self.variables.append((name, kind.removeprefix("list_")))
        inner = self.make("bool", depth - 1)
        self.variables.pop()
        return f"{items}.filter({name}, {inner})"

    def text_test(self, depth: int) -> str:
        one, other = self.make("string", depth - 1), self.make("string", depth - 1)
        name = self.pick(("contains", "startsWith", "endsWith", "matches"))
        return f"{one}.{name}({self.pick(PATTERNS) if name == 'matches' else other})"

    def unset_test(self) -> str:
        name = self.pick([n for n, f in FIELDS.items() if n != "seen" and not f.default])
        if name in ("tags", "taste") or self.source.randrange(2):
            return f"has(profile.{name})"
        return f"(profile.{name} {self.pick(('==', '!='))} null)"

    def part(self, depth: int) -> str:
        if self.source.randrange(4) == 0:
            span = self.make("duration", depth - 1)
            return f"{span}.get{self.pick(('Hours', 'Minutes', 'Seconds', 'Milliseconds'))}()"
        zone = self.pick((*(f"'{zone}'" for zone in ZONES), "", ""))
        return f"{self.make('timestamp', depth - 1)}.get{self.pick(PARTS)}({zone})"

    def bool_choices(self, depth: int) -> list[Any]:
        return [
            lambda: self.pick(("true", "false", "profile.vip")),
            self.unset_test,
            *[lambda: self.pair(self.pick(ORDERED), ORDERS, depth)] * 4,
            *[lambda: self.pair("bool", ("&&", "||"), depth)] * 3,
            lambda: f"!{self.make('bool', depth - 1)}",
            lambda: self.dynamic(depth),
            lambda: self.quantified(depth),
            lambda: self.text_test(depth),
            lambda: self.choice("bool", depth),
            lambda: f"({self.make('int', depth - 1)} in {self.make('list_int', depth - 1)})",
            lambda: f"({self.make('string', depth - 1)} in {self.make('list_string', depth - 1)})",
            lambda: f"({self.make('string', depth - 1)} in {self.make('map', depth - 1)})",
            lambda: self.pair(self.pick(("list_int", "list_string", "map")), ("==", "!="), depth),
            lambda: self.call("bool", "string", depth),
            lambda: f"({self.call('type', self.pick(ORDERED), depth)} == {self.pick(ORDERED[:4])})",
        ]

    def int_choices(self, depth: int) -> list[Any]:
        return [
            lambda: self.pick(INTS),
            lambda: self.pick(("profile.age", "profile.visits")),
            *[lambda: self.pair("int", ("+", "-", "*", "/", "%"), depth)] * 3,
            lambda: f"(-{self.make('int', depth - 1)})",
            lambda: self.call("int", self.pick(("double", "string", "uint", "timestamp")), depth),
            lambda: self.call(
                "size", self.pick(("string", "bytes", "list_int", "list_string", "map")), depth
            ),
            lambda: self.part(depth),
            lambda: self.choice("int", depth),
            lambda: f"{self.make('list_int', depth - 1)}[{self.make('int', depth - 1)}]",
            lambda: f"{self.make('map', depth - 1)}[{self.make('string', depth - 1)}]",
        ]

    def uint_choices(self, depth: int) -> list[Any]:
        return [
            lambda: self.pick(UINTS),
            lambda: self.pick(UINTS),
            lambda: self.pair("uint", ("+", "-", "*", "/", "%"), depth),
            lambda: self.call("uint", self.pick(("int", "double", "string")), depth),
        ]

    def double_choices(self, depth: int) -> list[Any]:
        return [
            lambda: self.pick(DOUBLES),
            lambda: self.pick(("profile.spend", "profile.taste[0]")),
            *[lambda: self.pair("double", ("+", "-", "*", "/"), depth)] * 3,
            lambda: f"(-{self.make('double', depth - 1)})",
            lambda: self.call("double", self.pick(("int", "uint", "string")), depth),
            lambda: self.choice("double", depth),
        ]

    def string_choices(self, depth: int) -> list[Any]:
        return [
            lambda: self.pick(STRINGS),
            lambda: self.pick(("profile.country", "profile.plan", "stage")),
            lambda: self.pair("string", ("+",), depth),
            lambda: self.call("string", self.pick(ORDERED), depth),
            lambda: self.choice("string", depth),
            lambda: f"{self.make('list_string', depth - 1)}[{self.make('int', depth - 1)}]",
        ]

    def bytes_choices(self, depth: int) -> list[Any]:
        return [
            lambda: self.pick(BYTES),
            lambda: self.pick(BYTES),
            lambda: self.call("bytes", "string", depth),
            lambda: self.pair("bytes", ("+",), depth),
        ]

    def timestamp_choices(self, depth: int) -> list[Any]:
        return [
            lambda: f"timestamp({self.pick(MOMENTS)})",
            lambda: self.pick(("profile.seen", "now")),
            lambda: (
                f"({self.make('timestamp', depth - 1)} {self.pick(('+', '-'))} "
                f"{self.make('duration', depth - 1)})"
            ),
            lambda: f"timestamp({self.pick(('0', '1', '-1', '1750000000'))})",
            lambda: self.choice("timestamp", depth),
        ]

    def duration_choices(self, depth: int) -> list[Any]:
        return [
            lambda: f"duration({self.pick(SPANS)})",
            lambda: f"duration({self.pick(SPANS)})",
            lambda: self.pair("duration", ("+", "-"), depth),
            lambda: self.pair("timestamp", ("-",), depth),
        ]

    def list_int_choices(self, depth: int) -> list[Any]:
        return [
            lambda: self.pick(("[]", "[1, 2, 3]", "[0]")),
            lambda: f"[{self.make('int', depth - 1)}]",
            lambda: f"[{self.make('int', depth - 1)}, {self.make('int', depth - 1)}]",
            lambda: self.pair("list_int", ("+",), depth),
            lambda: self.filtered("list_int", depth),
            lambda: self.mapped("int", depth),
        ]

    def list_string_choices(self, depth: int) -> list[Any]:
        return [
            lambda: self.pick(("profile.tags", '["a", "PL"]')),
            lambda: "profile.tags",
            lambda: f"[{self.make('string', depth - 1)}]",
            lambda: self.pair("list_string", ("+",), depth),
            lambda: self.filtered("list_string", depth),
            lambda: self.mapped("string", depth),
        ]

    def map_choices(self, depth: int) -> list[Any]:
        return [
            lambda: '{"a": 1, "PL": 2}',
            lambda: "{}",
            lambda: f"{{{self.make('string', depth - 1)}: {self.make('int', depth - 1)}}}",
        ]


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


PROFILES = st.fixed_dictionaries(
    {
        "vip": optional(st.booleans()),
        "age": optional(st.sampled_from([0, 1, 17, 18, -5, 2**63 - 1])),
        "spend": optional(st.sampled_from([0.0, 1.5, 100.0, -0.0, math.nan, math.inf, 1e18])),
        "country": optional(st.sampled_from(["", "PL", "a", "żółw", "12"])),
        "seen": st.sampled_from([0, -1_500_000, 1_774_746_000_000_000, 1_711_846_800_000_001]),
        "tags": st.lists(st.sampled_from(["a", "b", "PL"]), max_size=3),
        "taste": st.lists(st.sampled_from([0.0, 1.0, -2.5]), max_size=2),
        "plan": st.sampled_from(["free", "pro"]),
        "visits": st.sampled_from([0, 3, 18]),
    }
)
KINDS = ("bool", "bool", "bool", "int", "double", "string", "timestamp", "duration", "list_int")


def message_of(profile: dict[str, Any]) -> Any:
    message: Any = MESSAGE()
    for name, value in profile.items():
        kind = FIELDS[name]
        if name == "seen":
            message.seen.seconds, micros = divmod(value, 1_000_000)
            message.seen.nanos = micros * 1000
        elif isinstance(value, list):
            getattr(message, name).extend(value)
        elif kind.default:
            setattr(message, name, value)
        elif value is not None:
            getattr(message, name).value = value
    return message


def inputs_of(profile: dict[str, Any]) -> list[object]:
    values = dict(profile)
    seconds, micros = divmod(values["seen"], 1_000_000)
    values["seen"] = Timestamp(seconds, micros * 1000)
    now = Timestamp(int((NOW - EPOCH).total_seconds()), NOW.microsecond * 1000)
    return [*(values[name] for name in FIELDS), "lead", now]


def normal(value: object) -> object:
    """A form in which equal results of the two are equal Python values of one type."""
    if isinstance(value, Timestamp):
        return ("timestamp", value.seconds, value.nanos // 1000)
    if isinstance(value, Duration):
        return ("duration", value.seconds * 10**6 + value.nanos // 1000)
    if isinstance(value, datetime):
        micros = (value.astimezone(UTC) - EPOCH) // timedelta(microseconds=1)
        return ("timestamp", micros // 10**6, micros % 10**6)
    if isinstance(value, timedelta):
        return ("duration", value // timedelta(microseconds=1))
    if isinstance(value, (list, tuple)):
        return ("list", tuple(map(normal, value)))
    return (type(value).__name__, repr(value))


def ours(compiled: Compiled, profile: dict[str, Any]) -> object:
    try:
        whole = normal(Expression(compiled.code).evaluate(inputs_of(profile)))
    except EvaluationError:
        whole = "error"
    if len(compiled.conjuncts) > 1:
        found = [Expression(code) for code in compiled.conjuncts]
        holds = all(is_true(part, inputs_of(profile)) for part in found)
        assert holds == (whole == ("bool", "True")), compiled.code.text
    return whole


def is_true(part: Expression, inputs: list[object]) -> bool:
    try:
        return part.evaluate(inputs) is True
    except EvaluationError:
        return False


def theirs(compiled: Compiled, profile: dict[str, Any]) -> object:
    data = {"profile": message_of(profile), "stage": "lead", "now": NOW}
    value = ENVIRONMENT.env.deserialize(compiled.checked).eval(data=data)
    if value.type().name() == "ERROR":
        return "error"
    return normal(value.plain_value())


@given(source=st.randoms(use_true_random=False), kind=st.sampled_from(KINDS), profile=PROFILES)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_vm_gives_what_cel_gives(source: random.Random, kind: str, profile: dict[str, Any]) -> None:
    text = Generator(source).make(kind, 4)
    try:
        compiled = ENVIRONMENT.compile(text)
    except ExpressionError:
        return
    assert ours(compiled, profile) == theirs(compiled, profile), text
