"""The VM's face: values, unset inputs, bounds; and CEL's own conformance cases."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import cel_conformance

from nextbest.core.engine import Expression
from nextbest.core.expression.code import Code
from nextbest.core.expression.lower import (
    Slot,
    UnsupportedError,
    lower,
    lower_conjuncts,
    split_text,
)
from nextbest.core.expression.operation import Op
from nextbest.core.expression.values import (
    Duration,
    EvaluationError,
    Timestamp,
    TypeName,
    Uint,
)
from nextbest.core.expression.zone import read_zone
from nextbest.core.playbook.plan import ValueType
from nextbest.server.playbook.cel import new_environment

CASES = Path(__file__).parents[2].parent / "shared/data/cel/cases_share.jsonl.gz"
VARIABLES = ("x", "y")


def code_of(text: str, kind: ValueType | None = None) -> Code:
    types = dict.fromkeys(VARIABLES, cel_conformance.SCALARS["dyn"])
    checked = new_environment(types).compile(text).serialize()
    return lower(checked, lambda path: resolve(path, kind), text)


def resolve(path: tuple[str, ...], kind: ValueType | None = None) -> Slot | None:
    return Slot(VARIABLES.index(path[0]), kind) if path in {(n,) for n in VARIABLES} else None


def evaluate(text: str, *inputs: object) -> object:
    return Expression(code_of(text)).evaluate([*inputs, None, None][:2])


def error_of(text: str, *inputs: object) -> EvaluationError:
    with pytest.raises(EvaluationError) as raised:
        evaluate(text, *inputs)
    return raised.value


VALUES = [
    None,
    True,
    -(2**63),
    Uint(2**64 - 1),
    0.1,
    "żółw",
    b"\xff\x00",
    Timestamp(-62135596800, 999_999_999),
    Duration(-2, 500_000_000),
    TypeName("int"),
    [1, [2.0, "a"], []],
    {"a": 1, 2: [None]},
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_keep_type_and_content_through_the_vm(value: object) -> None:
    seen = evaluate("x", value)
    assert seen == value
    assert type(seen) is type(value)


@pytest.mark.parametrize(
    ("value", "error"),
    [(object(), TypeError), (2**63, OverflowError), (Uint(2**64), OverflowError),
     ("\ud800", ValueError), ("a" * 2_000_000, MemoryError)],
    ids=["object", "int", "uint", "surrogate", "long"],
)  # fmt: skip
def test_inputs_that_are_no_values_are_refused(value: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        evaluate("x == 1", value)


def test_deeply_nested_inputs_are_refused() -> None:
    nested: object = []
    for _ in range(200):
        nested = [nested]
    with pytest.raises(ValueError, match="nested too deep"):
        evaluate("x == 1", nested)


def test_errors_name_the_input_that_is_unset() -> None:
    error = error_of("x + 1 < y", 1, None)
    assert (error.reason, error.slot) == ("no such overload", 1)
    assert error_of("x < 18", None).slot == 0


def test_unset_inputs_compare_equal_only_to_null() -> None:
    assert evaluate("x == null", None) is True
    assert evaluate("x != 'PL'", None) is True
    assert evaluate("!(x in ['PL'])", None) is True
    assert evaluate("x == 'PL'", None) is False


def test_and_and_or_absorb_errors_on_either_side() -> None:
    for text in ("x < 1 && false", "false && x < 1"):
        assert evaluate(text, None) is False
    for text in ("x < 1 || true", "true || x < 1"):
        assert evaluate(text, None) is True
    assert error_of("x < 1 || false", None).slot == 0


def test_an_unset_timestamp_is_an_error_even_for_equality() -> None:
    for text in ("x < timestamp(0)", "x == timestamp(0)", "int(x) > 0", "x in [timestamp(0)]"):
        expression = Expression(code_of(text, ValueType.TIMESTAMP))
        with pytest.raises(EvaluationError) as raised:
            expression.evaluate([None, None])
        assert (raised.value.reason, raised.value.slot) == ("unset timestamp", 0)
        expression.evaluate([Timestamp(0), None])


@pytest.mark.parametrize(
    ("text", "op"),
    [("x >= 18", Op.COMPARE_SLOT), ("'PL' == x", Op.COMPARE_SLOT), ("x == null", Op.COMPARE_SLOT),
     ("!(x in [1 + 2])", Op.IN_SLOT), ("x in ['a', 'b']", Op.IN_SLOT),
     ("!(x == 1)", Op.COMPARE_SLOT),
     ("x < timestamp('2026-01-01T00:00:00Z')", Op.COMPARE_SLOT), ("x", Op.LOAD)],
)  # fmt: skip
def test_predicates_on_one_input_are_one_instruction(text: str, op: Op) -> None:
    instructions = code_of(text).instructions
    assert len(instructions) == 8
    assert instructions[0] == op


def test_constants_are_folded_and_errors_are_kept_for_run_time() -> None:
    assert code_of("[1 + 1, 2].map(i, i * 2)[0] == 4").constants == (True,)
    assert error_of("1 / 0 > 0").reason == "division by zero"


def test_codes_with_constants_of_different_types_have_different_keys() -> None:
    texts = ["x in [1]", "x in [1.0]", "x in [true]", "x in [1u]", "x == 1", "x == 1.0"]
    assert len({code_of(text).key() for text in texts}) == len(texts)
    assert code_of("x==1").key() == code_of("x  ==  1").key()


def test_conjuncts_are_split_with_their_own_texts() -> None:
    text = 'x > 1 && (y == \'&&\' || x < 9) && y != "a\\" && b"'
    types = dict.fromkeys(VARIABLES, cel_conformance.SCALARS["dyn"])
    parts = lower_conjuncts(new_environment(types).compile(text).serialize(), resolve, text)
    assert [part.text for part in parts] == split_text(text)
    assert [part.slots for part in parts] == [(0,), (0, 1), (1,)]


def test_an_evaluation_stops_at_its_step_bound() -> None:
    numbers = "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"
    nested = f"{numbers}.all(a, {numbers}.all(b, {numbers}.all(c, a + b + c + x > 0)))"
    expression = Expression(code_of(nested))
    assert expression.evaluate([1, None]) is True
    with pytest.raises(EvaluationError, match="too many steps"):
        expression.evaluate([1, None], 5_000)


def test_long_lists_run_out_of_steps_and_not_of_time() -> None:
    items = list(range(20_000))
    with pytest.raises(EvaluationError, match="too many steps"):
        evaluate("x.all(a, x.exists(b, a == b + 100000) || true)", items)


def test_strings_that_grow_run_out_of_the_arena() -> None:
    text = "x" + "".join(f".map(i, {'i + i'})" for _ in range(14))
    with pytest.raises(EvaluationError, match="out of memory"):
        evaluate(text, ["a" * 1000])


def test_lists_built_by_map_and_filter_take_memory_in_proportion() -> None:
    items = list(range(4_000))
    assert evaluate("x.map(i, i + 1).filter(i, i % 2 == 0).size()", items) == 2_000


def test_unsound_code_is_refused_at_load() -> None:
    def code(*instruction: int) -> Code:
        return Code(struct.pack("<BBHi", *instruction), (), "", (), 1, 0)

    for bad in (code(Op.CONST, 0, 0, 0), code(Op.JUMP, 0, 0, 9), code(255, 0, 0, 0),
                code(Op.LOCAL, 0, 0, 0), code(Op.NEXT, 1, 0, 0), Code(b"abc", (), "")):  # fmt: skip
        with pytest.raises(ValueError, match="code: "):
            Expression(bad)


@pytest.mark.parametrize(
    ("text", "construct"),
    [("optional.of(1)", "optional.of()"), ("math.greatest(1, 2)", "math.@max()"),
     ("timestamp(0).getHours(x)", "a time zone that is not constant")],
)  # fmt: skip
def test_what_the_vm_lacks_is_refused_by_name(text: str, construct: str) -> None:
    with pytest.raises(UnsupportedError) as raised:
        code_of(text)
    assert construct in raised.value.construct


def test_zones_hold_across_transitions_and_centuries() -> None:
    warsaw = "x.getHours('Europe/Warsaw')"
    assert evaluate(warsaw, Timestamp(1_774_745_999)) == 1  # 2026-03-29T00:59:59Z
    assert evaluate(warsaw, Timestamp(1_774_746_000)) == 3  # one second later
    assert evaluate(warsaw, Timestamp(253_386_748_800)) == 2  # 9999-07-05T00:00:00Z
    assert evaluate("x.getFullYear('-12:00')", Timestamp(0)) == 1969
    with pytest.raises(ValueError, match="no such time zone"):
        read_zone("Nowhere/City")
    with pytest.raises(ValueError, match="no such time zone"):
        read_zone("../../etc/passwd")


def test_conformance_cases_are_never_wrong() -> None:
    if not CASES.exists():
        pytest.skip(f"conformance cases are absent: {CASES}")
    tally = cel_conformance.run_file(CASES)
    assert tally.wrong == 0
    assert tally.passed >= 700
