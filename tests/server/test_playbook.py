"""Playbooks: every fault with its place, one hash for one meaning, and bounds that hold."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nextbest.core.errors import InvalidRequestError
from nextbest.server import examples
from nextbest.server.playbook import folder, limits, model, schema, source
from nextbest.server.playbook.compile import Compiled, compile_playbook
from nextbest.server.playbook.faults import Faults, Severity, render
from nextbest.server.playbook.question import condition
from nextbest.server.playbook.run import run_cases
from nextbest.server.playbook.source import Kind, Node

CASES = Path(__file__).parents[1] / "cases"
SMALL = CASES / "small"
JUNK = [b"{}", b"[]", b"~", b": ", b"&a ", b"*a", b"''", b"-1", b"1e400", b"\n", b"- ", b"\t"]


def fault_cases() -> list[Any]:
    text = (CASES / "faults.yaml").read_text()
    return [pytest.param(case, id=case["name"]) for case in yaml.safe_load(text)]


def as_bytes(files: dict[str, Any]) -> dict[str, bytes]:
    return {
        path: content if isinstance(content, bytes) else content.encode()
        for path, content in files.items()
    }


def compiled(**parts: str) -> Compiled:
    """Compile parts given by name; the schema has one attribute when it is not given."""
    files = {f"{name}.yaml": text.encode() for name, text in parts.items()}
    return compile_playbook({"schema.yaml": b"attributes: {age: int}\n", **files})


def lines(found: Compiled) -> list[str]:
    return [str(fault) for fault in found.faults]


def small() -> dict[str, bytes]:
    return folder.read_folder(SMALL)


def plain(node: Node) -> Any:
    """A node as JSON has it."""
    if node.kind is Kind.LIST:
        return [plain(item) for item in node.items]
    if node.kind is Kind.MAP:
        return {key.text: plain(value) for key, value in node.entries}
    return node.scalar()


def instance(path: str, content: bytes) -> Any:
    node = source.parse(path, content, Faults())
    return None if node is None else plain(node)


@pytest.mark.parametrize("of", ["count", "sale", "when", "time", "nothing"])
def test_a_faulty_last_n_is_a_fault_and_no_more(of: str) -> None:
    found = compiled(
        schema=f"""
events: {{visit: {{count: int, sale: bool, when: timestamp}}}}
counters: {{latest: {{last_n: visit.{of}, n: 3, window: 7d}}}}
""",
        segments="segments: {any: size(profile.latest) > 0}\n",
    )
    assert found.plan is None
    assert lines(found)[0].startswith("schema.yaml:3:29: property of last_n")


@pytest.mark.parametrize("case", fault_cases())
def test_each_fault_has_its_place_and_says_what_to_do(case: dict[str, Any]) -> None:
    found = compile_playbook(as_bytes(case["files"]))
    errors = [str(fault) for fault in found.faults if fault.severity is Severity.ERROR]
    assert errors == case["faults"]
    assert found.plan is None


def calls_of(content: str) -> int:
    """How many calls, of generators too, it takes to compile a schema."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(note)
    try:
        compile_playbook({"schema.yaml": content.encode()})
    finally:
        sys.setprofile(None)
    return count


def test_misspelt_keys_take_time_by_their_number() -> None:
    """And not by its square."""
    few, many = (
        calls_of("".join(f"counter{n:03}: {{x: 1}}\n" for n in range(count)))
        for count in (300, 900)
    )
    assert many < 3.5 * few


def test_small_playbook_compiles_without_a_fault() -> None:
    found = compile_playbook(small())
    assert lines(found) == []
    assert found.plan is not None
    assert len(found.tests) == 2


def test_schema_alone_is_a_playbook() -> None:
    found = compiled()
    assert lines(found) == []
    assert found.plan is not None
    assert len(found.plan.hash) == 16


def test_render_points_at_the_column() -> None:
    files = {"schema.yaml": b"attributes:\n  plan: string\n  age: integer\n"}
    text = render(compile_playbook(files).faults, files)
    assert text.splitlines()[1:] == ["  3 |   age: integer", "    |        ^"]


def test_render_keeps_the_caret_in_sight_on_a_long_line() -> None:
    files = {"schema.yaml": b"attributes: {" + b"a: int, " * 100 + b"b: integer}\n"}
    for line in render(compile_playbook(files).faults, files).splitlines():
        if line.startswith("  ") and "|" in line:
            assert len(line) < 140


def test_hash_is_of_the_meaning_not_of_the_text() -> None:
    files = small()
    first = compile_playbook(files).plan
    assert first is not None
    changed = {
        **files,
        "schema.yaml": b"# a comment\n"
        + files["schema.yaml"].replace(b"  age: int\n", b"")
        + b"\n",
    }
    changed["schema.yaml"] = changed["schema.yaml"].replace(
        b"attributes:\n", b'attributes:\n  "age":\n    type: int\n'
    )
    guide, rest = files["actions.yaml"].split(b"  read_guide:")
    changed["actions.yaml"] = guide
    changed["actions/content.yaml"] = b"actions:\n  read_guide:" + rest
    second = compile_playbook(changed).plan
    assert second is not None
    assert second.hash == first.hash
    assert second == first


def test_order_of_actions_and_every_value_have_a_meaning() -> None:
    hashes = set()
    for actions in (
        "actions: {a: {value: 1}, b: {value: 1}}",
        "actions: {b: {value: 1}, a: {value: 1}}",
        "actions: {a: {value: 1}, b: {value: 2}}",
        "actions: {a: {value: 1}, b: {lever: 1}}",
    ):
        plan = compiled(actions=actions).plan
        assert plan is not None
        hashes.add(plan.hash)
    assert len(hashes) == 4


def test_counter_key_outlives_other_changes_of_the_schema() -> None:
    counter = 'counters: {n: {count: view, window: 7d, where: event.path == "/a"}}\n'
    before = compiled(schema="events: {view: {path: string}}\n" + counter).plan
    after = compiled(schema="events: {view: {device: string, path: string}}\n" + counter).plan
    assert before is not None
    assert after is not None
    assert before.counters[0].key == after.counters[0].key
    assert before.hash != after.hash


@pytest.mark.parametrize(
    ("window", "seconds"),
    [("1h", 300), ("7d", 21_600), ("30d", 86_400), ("1d", 3_600), ("1s", 1), ("3650d", 10_368_000)],
)
def test_default_resolution_is_about_a_28th(window: str, seconds: int) -> None:
    text = f"events: {{view: {{}}}}\ncounters: {{n: {{count: view, window: {window}}}}}\n"
    plan = compiled(schema=text).plan
    assert plan is not None
    assert plan.counters[0].resolution_s == seconds


def test_rules_that_count_the_same_events_share_a_counter() -> None:
    found = compiled(
        schema="events: {view: {path: string}}",
        scores=(
            "scores:\n  a:\n    half_life: 7d\n    rules:\n"
            "      - {on: view, when: event.path == '/x', points: 5, reason: x}\n"
            "      - {on: view, when: event.path  ==  '/x', points: 9, reason: y}\n"
            "      - {on: view, points: 1, half_life: none, reason: z}\n"
        ),
    )
    assert lines(found) == []
    assert found.plan is not None
    rules = found.plan.scorecards[0].rules
    assert [rule.counter for rule in rules] == [0, 0, 1]
    assert found.plan.counters[0].name == "@score.a.0"
    assert found.plan.counters[0].window_s == 70 * limits.DAY_S
    assert found.plan.counters[0].resolution_s == limits.DAY_S
    assert (rules[0].half_life_s, rules[2].half_life_s) == (7 * limits.DAY_S, 0)
    assert (found.plan.counters[1].window_s, found.plan.counters[1].resolution_s) == (0, 0)


def test_conditions_are_shared_over_the_playbook() -> None:
    actions = "\n".join(
        f"  a{n}: {{eligibility: profile.age >= {n % 7} && profile.age < 90}}" for n in range(500)
    )
    found = compiled(actions=f"actions:\n{actions}\n")
    assert lines(found) == []
    assert found.plan is not None
    assert len(found.plan.conditions) == 8


def test_candidates_are_chosen_when_compiling() -> None:
    plan = compile_playbook(small()).plan
    assert plan is not None
    names = {
        placement.name: [plan.actions[index].name for index in placement.candidates]
        for placement in plan.placements
    }
    assert names == {
        "home": ["book_demo", "call_back", "read_guide", "newsletter"],
        "inbox": ["book_demo"],
    }


# Bad input


@pytest.mark.parametrize(
    "path", ["../schema.yaml", "/etc/passwd", "a//b.yaml", "a\\b.yaml", "c:/a.yaml", "", "\n"]
)
def test_paths_that_leave_the_folder_are_refused(path: str) -> None:
    found = compile_playbook({path: b""})
    assert [fault.what for fault in found.faults] == ["path"]


def test_too_many_bytes_and_files_are_refused_unread() -> None:
    big = compile_playbook({"schema.yaml": b"#" * (limits.BYTES_MAX + 1)})
    assert [fault.what for fault in big.faults] == ["size of the playbook"]
    many = compile_playbook({f"tests/{n}.yaml": b"" for n in range(limits.FILES_MAX + 1)})
    assert [fault.what for fault in many.faults] == ["number of files"]


def test_aliases_that_multiply_are_refused() -> None:
    laughs = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    laughs += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    began = time.perf_counter()
    found = compile_playbook({"schema.yaml": "\n".join(laughs).encode()})
    assert time.perf_counter() - began < 2
    assert "aliases counted in full" in lines(found)[0]


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "a:\n"])
def test_deep_nesting_is_refused(opening: str) -> None:
    began = time.perf_counter()
    found = compile_playbook({"schema.yaml": (opening * 100_000).encode()})
    assert time.perf_counter() - began < 5
    assert found.plan is None


def test_sixteen_megabytes_of_values_are_refused_early() -> None:
    content = b"attributes: [" + b"a," * (limits.BYTES_MAX // 2 - 10) + b"]"
    found = compile_playbook({"schema.yaml": content})
    allowed = "at most 1,000,000 in all files, aliases counted in full"
    assert [fault.allowed for fault in found.faults] == [allowed]


def test_megabyte_strings_are_refused_with_a_short_message() -> None:
    text = "x" * 1_000_000
    for files in (
        {"schema": f"attributes: {{a: {{type: string, default: {text}}}}}"},
        {"schema": f"attributes: {{{text}: int}}"},
        {"schema": f"attributes: {{a: {text}}}"},
        {"segments": f"segments: {{a: {text}}}"},
        {"segments": f'segments: {{a: \'"{text}" == "a"\'}}'},
        {"actions": f"actions: {{a: {{group: {text}}}}}"},
        {"actions": f"actions: {{a: {{treatments: [{{name: a, content: {{t: {text}}}}}]}}}}"},
        {"schema": f"attributes: {{a: {{type: int, default: {'9' * 1_000_000}}}}}"},
    ):
        found = compiled(**files)
        assert found.plan is None
        assert max(map(len, lines(found))) < 600


def test_lists_of_100_000_are_refused() -> None:
    many = "[" + ", ".join(["a"] * 100_000) + "]"
    for files in (
        {"schema": f"attributes: {{a: {{type: list(string), default: {many}}}}}"},
        {"schema": f"attributes: {many}"},
        {"segments": f"segments: {{a: {many}}}"},
        {"scores": f"scores: {{a: {{rules: {many}}}}}"},
        {"scores": f"stages: {{names: {many}}}"},
        {"actions": f"actions: {{a: {{treatments: {many}}}}}"},
        {"placements": f"placements: {{a: {{candidates: {{groups: {many}}}}}}}"},
    ):
        found = compiled(**files)
        assert found.plan is None
        assert "seen a list of 100,000" in lines(found)[0]


def test_faults_are_bounded_and_counted() -> None:
    many = "\n".join(f"  a{n}: integer" for n in range(1_020))
    found = compiled(schema=f"attributes:\n{many}\n")
    assert len(found.faults) == limits.FAULTS_MAX + 1
    assert str(found.faults[-1]) == ".:1:1: more faults, seen 20, allowed: mend these first"


def test_ten_thousand_actions_compile_in_reasonable_time() -> None:
    actions = "\n".join(
        f"  a{n}:\n    group: g{n % 50}\n    value: {n}\n"
        f"    eligibility: [profile.age >= {n % 60}, profile.age < {90 + n % 40}]\n"
        f"    attributes: {{topic: t{n % 9}, cost: {n % 11}}}"
        for n in range(10_000)
    )
    began = time.perf_counter()
    found = compiled(
        actions=f"actions:\n{actions}\n", placements="placements: {home: {slots: 3}}\n"
    )
    assert time.perf_counter() - began < 20
    assert lines(found) == []
    assert found.plan is not None
    assert len(found.plan.actions) == 10_000
    assert len(found.plan.placements[0].candidates) == 10_000


# JSON Schema


def test_schemas_are_sound_and_the_small_playbook_passes() -> None:
    combined = jsonschema.Draft202012Validator(schema.combined_schema())
    for name in schema.names():
        jsonschema.Draft202012Validator.check_schema(schema.json_schema(name))
    for path, content in small().items():
        name = "tests" if path.startswith("tests/") else path
        jsonschema.Draft202012Validator(schema.json_schema(name)).validate(instance(path, content))
        combined.validate(instance(path, content))


def sound(path: str, content: bytes) -> bool:
    """True for YAML without a fault of its own."""
    faults = Faults()
    source.parse(path, content, faults)
    return not faults.errors()


def refused_by_shape(path: str, content: bytes) -> bool:
    faults = Faults()
    root = source.parse(path, content, faults)
    name = path.removesuffix(".yaml")
    if root is not None:
        model.FILES[name].read(root, "file", faults)
    return faults.errors() > 0


def mutations() -> list[tuple[str, bytes]]:
    """The small playbook with each scalar of each file replaced by things that do not belong."""
    found = []
    for path, content in small().items():
        if path.startswith("tests/"):
            continue
        text = content.decode()
        root = source.parse(path, content, Faults())
        assert root is not None
        for node in scalars(root):
            for bad in ("[[1]]", "{zzz: 1}", "'!?'", "-1.5", "~"):
                changed = text[: node.start] + bad + text[node.end :]
                found.append((path, changed.encode()))
    return found


def scalars(node: Node) -> list[Node]:
    if node.kind is Kind.SCALAR:
        return [node]
    inner = node.items or [part for entry in node.entries for part in entry]
    return [one for part in inner for one in scalars(part)]


def test_editor_and_compiler_refuse_the_same_broken_files() -> None:
    validators = {
        name: jsonschema.Draft202012Validator(schema.json_schema(name)) for name in model.FILES
    }
    refused = 0
    for path, content in mutations():
        value = instance(path, content)
        if value is None or not sound(path, content):
            continue
        by_schema = not validators[path.removesuffix(".yaml")].is_valid(value)
        by_shape = refused_by_shape(path, content)
        assert by_schema == by_shape, content.decode()
        refused += by_schema
    assert refused > 500


# Places inside expressions


@pytest.mark.parametrize(
    ("text", "word", "place"),
    [
        ("a: one two three", "three", (1, 12)),
        ("a: 'it''s two'", "two", (1, 11)),
        (r'a: "x\ty \u00e9 two"', "two", (1, 17)),
        (r'a: "\"q\" two"', "two", (1, 11)),
        (r"a: '\d+ two'", "two", (1, 9)),
        ("a: |\n  one\n  two &&\n    three\n", "three", (4, 5)),
        ("a: >-\n  one\n  two\n\n  three\n", "three", (5, 3)),
        ("a:\n  one\n  two three", "three", (3, 7)),
        ("a: {b: x == 1, c: 'y  == 2'}", "2", (1, 26)),
    ],
)
def test_place_in_an_expression_is_the_place_in_the_file(
    text: str, word: str, place: tuple[int, int]
) -> None:
    root = source.parse("x.yaml", text.encode(), Faults())
    assert root is not None
    node = next(one for one in scalars(root) if word in one.text)
    assert source.place(node, node.text.index(word)) == place


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_no_bytes_make_the_compiler_raise(data: st.DataObject) -> None:
    files = small()
    path = data.draw(st.sampled_from(sorted(files)))
    content = files[path]
    start = data.draw(st.integers(0, len(content)))
    end = start + data.draw(st.integers(0, 40))
    junk = data.draw(st.binary(max_size=20) | st.sampled_from(JUNK))
    changed = {**files, path: content[:start] + junk + content[end:]}
    found = compile_playbook(changed)
    render(found.faults, changed)
    assert (found.plan is None) == any(fault.severity is Severity.ERROR for fault in found.faults)


# A playbook's own tests


def test_small_playbook_passes_its_own_tests() -> None:
    found = compile_playbook(small())
    assert found.plan is not None
    results = run_cases(found.plan, found.tests)
    assert [result.differences for result in results] == [()] * 2
    assert [result.line for result in results] == [1, 12]
    assert all(result.passed for result in results)


def test_each_difference_is_told() -> None:
    files = {
        **small(),
        "tests/home.yaml": b"""
- name: all wrong
  now: 2026-06-01
  attributes: {signed_up_at: 2020-01-01, interests: [a], taste: [1, 2, 3, 4], income: 3}
  expect:
    placements: {home: [book_demo]}
    scores: {fit: 1}
    grades: {lead: A1}
    stage: customer
    segments: {in: [hot]}
    dropped: {call_back: diversity}
""",
    }
    found = compile_playbook(files)
    assert lines(found) == []
    assert found.plan is not None
    (result,) = run_cases(found.plan, found.tests)
    assert not result.passed
    assert result.differences == (
        "placement home: got [read_guide, newsletter], expected [book_demo]",
        'placement home: book_demo is not_applicable (stage in ["lead", "mql"])',
        "score fit: got 0, expected 1",
        "grade lead: got D4, expected A1",
        "stage: got subscriber, expected customer",
        "segment hot: not in it",
        "action call_back: got not_eligible (segment.hot), expected diversity",
    )


@pytest.mark.parametrize("name", ["leads", "shop"])
def test_shipped_playbooks_have_no_error(name: str) -> None:
    files = folder.read_folder(Path(examples.__file__).parent / name)
    found = compile_playbook(files)
    assert [line for line in lines(found) if "warning: " not in line] == []
    assert found.tests


# Expressions


def test_warnings_do_not_stop_a_plan() -> None:
    found = compiled(
        schema="attributes: {country: string}", segments='segments: {a: profile.country != "PL"}'
    )
    assert lines(found) == [
        "segments.yaml:1:31: warning: segment a: is true when profile.country is unset, "
        "allowed: write has(profile.country) && ... if that is not meant"
    ]
    assert found.plan is not None


def test_a_selection_of_nothing_is_a_warning() -> None:
    found = compiled(
        actions="actions: {a: {attributes: {cost: 2}}}",
        placements="placements: {home: {candidates: {where: action.cost > 3}}}",
    )
    assert lines(found) == [
        "placements.yaml:1:33: warning: candidates of home, seen no action, allowed: "
        "at least one action, or the placement only ever shows its fallback"
    ]


def test_a_query_is_compiled_against_a_published_plan() -> None:
    found = compile_playbook(small())
    assert found.plan is not None
    assert found.checker is not None
    code = condition(found.checker, "segment.hot && profile.age >= 18 && score.fit > 3")
    assert code.text == "segment.hot && profile.age >= 18 && score.fit > 3"
    assert {found.plan.inputs[slot].name for slot in code.slots} == {
        "segment.hot",
        "profile.age",
        "score.fit",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "condition: blank, allowed: a CEL condition of 1 to 16,384 bytes"),
        ("profile.agee > 1", "unknown field, profile.agee at character 9, allowed: profile.age"),
        ("profile.age", "gives int"),
        ("context.page == 'x'", "name out of place, context.page at character 1"),
        ("x" * 20_000, "allowed: a CEL condition of 1 to 16,384 bytes"),
    ],
)
def test_a_query_that_is_no_condition_is_refused(text: str, message: str) -> None:
    found = compile_playbook(small())
    assert found.checker is not None
    with pytest.raises(InvalidRequestError, match=re.escape(message)):
        condition(found.checker, text)
