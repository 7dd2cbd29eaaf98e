"""Expressions against a schema: what is refused and how it is said, warned of, re-written."""

from __future__ import annotations

import pytest

from nextbest.core.engine import Expression
from nextbest.core.expression.values import EvaluationError, Timestamp
from nextbest.core.playbook.plan import ValueType
from nextbest.server.playbook.cel import (
    RESERVED_WORDS,
    Compiled,
    Environment,
    ExpressionError,
    FieldType,
    Want,
)

FIELDS = {
    "age": FieldType(ValueType.INT),
    "spend": FieldType(ValueType.DOUBLE),
    "country": FieldType(ValueType.STRING),
    "seen": FieldType(ValueType.TIMESTAMP),
    "tags": FieldType(ValueType.STRING_LIST),
    "plan": FieldType(ValueType.STRING, default=True),
}
PATHS = [("profile", name) for name in FIELDS] + [("stage",), ("now",)]


def environment() -> Environment:
    variables = {"profile": FIELDS, "stage": ValueType.STRING, "now": ValueType.TIMESTAMP}
    return Environment(variables, PATHS.index)


def compiled(text: str, want: Want = "any") -> Compiled:
    return environment().compile(text, want)


def evaluate(text: str, **inputs: object) -> object:
    values = [inputs.get(path[-1], [] if path[-1] == "tags" else None) for path in PATHS]
    return Expression(compiled(text).code).evaluate(values)


FAULTS = [
    ("profile.agee > 1", "1:9: unknown field, profile.agee, allowed: profile.age"),
    ("prof.age > 1", "1:1: unknown name, prof.age, allowed: profile.age"),
    ("profile.age > 'a'", "1:13: `>` does not take int and string"),
    ("true &&\n  profile.agee > 1", "2:11: unknown field, profile.agee, allowed: profile.age"),
    ("profile.age >", "1:14: syntax error, unexpected end"),
    ("profile.spend > profile.age",
     "1:15: `>` does not take double and int, write double(...) around the int"),
    ("profile.spend * 2 > profile.age",
     "1:19: `>` does not take double and int, write double(...) around the int"),
    ("profile.seen == null",
     "1:14: profile.seen is a timestamp and never null, write !has(profile.seen)"),
    ("null != profile.seen",
     "1:6: profile.seen is a timestamp and never null, write has(profile.seen)"),
    ("profile == profile", "1:1: `profile` as a value is not supported"),
    ("stage.x", "1:6: string has no fields"),
    ("profile.country.startswith('a')", "1:17: unknown name, startswith, allowed: startsWith"),
    ("now.getHours(stage)", "1:13: a time zone that is not constant is not supported"),
    ("now.getHours('Nowhere/City')", "1:13: is always an error, no such time zone: Nowhere/City"),
    ("profile.country.matches('(')", "1:24: is always an error, invalid pattern"),
    ("now > timestamp('2026-02-30T00:00:00Z')", "1:16: is always an error, invalid conversion"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), FAULTS, ids=[text for text, _ in FAULTS])
def test_faults_speak_the_authors_language(text: str, said: str) -> None:
    with pytest.raises(ExpressionError) as raised:
        compiled(text)
    assert str(raised.value.faults[0]) == said


def test_all_faults_of_a_text_are_reported_at_once() -> None:
    with pytest.raises(ExpressionError) as raised:
        compiled("profile.spend > 100 && profile.agee > 1 && profile.plam == 'x'")
    assert [fault.column for fault in raised.value.faults] == [32, 52]


def test_a_result_of_another_type_is_refused() -> None:
    with pytest.raises(ExpressionError, match="gives string, allowed: bool"):
        compiled("profile.plan", "bool")
    with pytest.raises(ExpressionError, match="write double"):
        compiled("profile.age", "double")
    assert compiled("profile.age", "number").type == "int"


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(ExpressionError, match="allowed: at most"):
        compiled("true" + " " * 20_000)


@pytest.mark.parametrize(
    "text",
    ["profile.spend > 100", "100 < profile.spend", "profile.spend * 2 + 1 == 403",
     "profile.spend in [5, 201]", "(true ? profile.spend : 1) > 100.0", "profile.spend > -5 * 2",
     "profile.spend - 1\n == 200 && profile.spend > 0"],
)  # fmt: skip
def test_whole_literals_that_meet_a_double_become_doubles(text: str) -> None:
    assert evaluate(text, spend=201.0) is True
    assert compiled(text).code.text == text


def test_a_whole_literal_becomes_a_double_where_one_is_wanted() -> None:
    assert compiled("120", "double").code.constants == (120.0,)


WARNED = ["profile.country != 'PL'", "!(profile.country in ['PL'])", "!(profile.age == 1)",
          "!(profile.age == 1 || false)"]  # fmt: skip
SILENT = ["profile.country == 'PL'", "has(profile.country) && profile.country != 'PL'",
          "!has(profile.country) || profile.country != 'PL'", "profile.plan != 'free'",
          "profile.country != null && !(profile.country in ['PL'])", "profile.country != null",
          "has(profile.age) ? profile.age != 1 : false"]  # fmt: skip


def test_unguarded_inequality_on_what_may_be_unset_is_warned_of() -> None:
    for text in WARNED:
        assert len(compiled(text).warnings) == 1, text
        assert evaluate(text) is True
    for text in SILENT:
        assert compiled(text).warnings == (), text


def test_an_unset_attribute_is_an_error_that_names_it() -> None:
    with pytest.raises(EvaluationError) as raised:
        evaluate("profile.age < 18")
    assert PATHS[raised.value.slot or 0] == ("profile", "age")
    with pytest.raises(EvaluationError, match="unset timestamp"):
        evaluate("now - profile.seen < duration('168h')", now=Timestamp(0))


def test_conditions_are_split_into_predicates() -> None:
    parts = compiled("profile.age > 1 && (stage == 'x' || has(profile.tags))", "bool").conjuncts
    assert [part.text for part in parts] == [
        "profile.age > 1",
        "(stage == 'x' || has(profile.tags))",
    ]


def test_reserved_words_cannot_be_read_as_names() -> None:
    assert {"in", "if", "package", "true"} <= RESERVED_WORDS
