"""Runs conformance cases of the Common Expression Language through our compiler and VM.

`python tests/core/cel_conformance.py FILE [--verbose]` prints one JSON line; FILE holds one
JSON object a line and may be gzipped.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cel_expr_python import cel

from nextbest.core.engine import Expression
from nextbest.core.expression.checked import Type, read_checked
from nextbest.core.expression.lower import Slot, UnsupportedError, lower
from nextbest.core.expression.values import (
    Duration,
    EvaluationError,
    TypeName,
    Uint,
)
from nextbest.server.playbook.cel import new_environment

Case = dict[str, Any]
Entries = list[tuple[object, object]]

SCALARS = {
    "bool": cel.Type.BOOL,
    "int": cel.Type.INT,
    "uint": cel.Type.UINT,
    "double": cel.Type.DOUBLE,
    "string": cel.Type.STRING,
    "bytes": cel.Type.BYTES,
    "null": cel.Type.NULL,
    "dyn": cel.Type.DYN,
    "timestamp": cel.Type.TIMESTAMP,
    "duration": cel.Type.DURATION,
}
# How FORMAT writes the types of CheckedExpr.
TYPE_TEXTS = {
    "null_type": "null",
    "google.protobuf.Timestamp": "timestamp",
    "google.protobuf.Duration": "duration",
}
SCALAR_READERS = {
    "null": lambda _: None,
    "bool": bool,
    "int": int,
    "uint": Uint,
    "double": float,
    "string": str,
    "bytes": base64.b64decode,
    "type": TypeName,
}


class RefusedError(Exception):
    """A case needs something that we do not support."""


@dataclass
class Tally:
    cases: int = 0
    passed: int = 0
    refused: int = 0
    wrong: int = 0


def split_arguments(text: str) -> list[str]:
    """The parts of "a, map(b, c)" at its outer commas."""
    parts, depth, start = [], 0, 0
    for at, char in enumerate(text):
        depth += (char in "(<") - (char in ")>")
        if char == "," and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
    return [*parts, text[start:].strip()]


def read_type(text: str) -> cel.Type:
    if text in SCALARS:
        return SCALARS[text]
    head, _, rest = text.partition("(")
    if not rest:
        return cel.Type(text)
    arguments = split_arguments(rest[:-1])
    if head == "param":
        return cel.Type(arguments[0])
    inner = [read_type(argument) for argument in arguments]
    makers = {"list": cel.Type.List, "map": cel.Type.Map, "type": cel.Type.Type}
    if head in makers:
        return makers[head](*inner)
    if head == "wrapper":
        names = {"int": "Int64", "uint": "UInt64"}
        name = names.get(arguments[0], arguments[0].capitalize())
        return cel.Type(f"google.protobuf.{name}Value")
    return cel.Type.AbstractType(head, inner)


def type_text(static: Type) -> str:
    name = TYPE_TEXTS.get(static.name, static.name)
    if name == "type":
        return "type"
    return f"{name}({', '.join(map(type_text, static.of))})" if static.of else name


def functions_of(case: Case) -> list[cel.FunctionDecl]:
    return [
        cel.FunctionDecl(
            entry["name"],
            [
                cel.Overload(
                    overload["overload_id"],
                    read_type(overload["result"]),
                    [read_type(p) for p in overload["params"]],
                    bool(overload.get("instance")),
                )
                for overload in entry["function"]
            ],
        )
        for entry in case["type_env"]
        if "function" in entry
    ]


def read_message(message: dict[str, Any]) -> object:
    content = message.get("json")
    if message["type"] == "google.protobuf.Duration" and isinstance(content, str):
        sign = -1 if content.startswith("-") else 1
        whole, _, fraction = content.lstrip("-").removesuffix("s").partition(".")
        nanos = sign * (int(whole) * 10**9 + int(fraction.ljust(9, "0") or 0))
        return Duration(nanos // 10**9, nanos % 10**9)
    if message["type"] == "google.protobuf.Timestamp" and isinstance(content, str):
        return evaluate_text(f"timestamp({json.dumps(content)})")
    raise RefusedError(f"message {message['type']}")


def evaluate_text(text: str) -> object:
    code = lower(new_environment({}).compile(text).serialize(), lambda _: None, text)
    return Expression(code).evaluate()


def read_value(value: dict[str, Any]) -> object:
    """A VALUE as the VM's Python form; a map is a list of entries in a tuple."""
    ((kind, content),) = value.items()
    if kind == "list":
        return [read_value(item) for item in content]
    if kind == "map":
        return {"map": [(read_value(k), read_value(v)) for k, v in content]}
    if kind == "message":
        return read_message(content)
    if kind not in SCALAR_READERS:
        raise RefusedError(kind)
    return SCALAR_READERS[kind](content)


def plain(value: object) -> object:
    """A read value as an input of the VM."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {plain(k): plain(v) for k, v in value["map"]}
    return value


def same(wanted: object, seen: object) -> bool:
    """Equal in type and value; two NaN are the same."""
    if isinstance(wanted, dict):
        entries = wanted["map"]
        if not isinstance(seen, dict) or len(entries) != len(seen):
            return False
        return all(any(same(k, a) and same(v, b) for a, b in seen.items()) for k, v in entries)
    if type(wanted) is not type(seen):
        return False
    if isinstance(wanted, list) and isinstance(seen, list):
        return len(wanted) == len(seen) and all(map(same, wanted, seen))
    if isinstance(wanted, float) and math.isnan(wanted):
        return isinstance(seen, float) and math.isnan(seen)
    return wanted == seen


def environment_of(case: Case) -> cel.Env:
    variables = {e["name"]: read_type(e["ident"]) for e in case["type_env"] if "ident" in e}
    return new_environment(
        variables,
        container=case["container"],
        functions=functions_of(case),
        macros=not case["disable_macros"],
    )


def resolver(case: Case, names: list[str]) -> Any:
    """Slots of the case's variables, by the name or by the container's name before it."""
    container = case["container"].split(".") if case["container"] else []
    prefixes = [".".join(container[:n]) for n in range(len(container), -1, -1)]

    def resolve(path: tuple[str, ...]) -> Slot | None:
        absolute = path[0].startswith(".")
        for prefix in [""] if absolute else prefixes:
            name = ".".join(filter(None, [prefix, *path])).removeprefix(".")
            if name in names:
                return Slot(names.index(name))
        return None

    return resolve


def compute(case: Case, checked: bytes) -> object:
    names = list(case["bindings"])
    inputs = []
    for bound in case["bindings"].values():
        if "value" not in bound:
            raise RefusedError("a binding that is an error or unknown")
        inputs.append(plain(read_value(bound["value"])))
    code = lower(checked, resolver(case, names), case["expr"])
    return Expression(code).evaluate(inputs)


def run_case(case: Case) -> tuple[str, str]:
    """One of passed, refused, wrong; and why."""
    expect = case["expect"]
    wants_error = "error" in expect or "any_error" in expect
    try:
        expression = environment_of(case).compile(case["expr"], case["disable_check"])
        checked = expression.serialize()
    except RuntimeError as error:
        # The publisher's checker is the language's own: what it refuses of a case that has a
        # value are names and messages that no environment of ours declares.
        return ("passed" if wants_error else "refused"), str(error).partition("\n")[0]
    except RefusedError as error:
        return "refused", str(error)
    if "type" in expect:
        tree = read_checked(checked)
        seen_type = type_text(tree.types[tree.root.id])
        if seen_type != expect["type"]:
            return "wrong", f"type {seen_type}"
    if case["check_only"] or not (wants_error or "value" in expect):
        return ("passed", "") if "type" in expect else ("refused", "unknown values")
    return run_value(case, checked, wants_error)


def run_value(case: Case, checked: bytes, wants_error: bool) -> tuple[str, str]:
    try:
        seen = compute(case, checked)
    except EvaluationError as error:
        return ("passed" if wants_error else "wrong"), str(error)
    except (UnsupportedError, RefusedError) as error:
        return "refused", str(error)
    if wants_error:
        return "wrong", f"{seen!r} instead of an error"
    try:
        wanted = read_value(case["expect"]["value"])
    except RefusedError as error:
        return "refused", str(error)
    return ("passed", "") if same(wanted, seen) else ("wrong", f"{seen!r} instead of {wanted!r}")


GZIP_MAGIC = b"\x1f\x8b"


def read_cases(path: Path) -> Iterator[Case]:
    data = path.read_bytes()
    text = gzip.decompress(data) if data.startswith(GZIP_MAGIC) else data
    # Not splitlines(): a JSON string may hold U+2028 as it is.
    for line in text.decode().split("\n"):
        if line.strip():
            yield json.loads(line)


def run_file(path: Path, verbose: bool = False) -> Tally:
    tally = Tally()
    for case in read_cases(path):
        try:
            outcome, reason = run_case(case)
        except Exception as error:
            # One case must not hide the others, and what it broke is no pass.
            outcome, reason = "wrong", repr(error)
        tally.cases += 1
        setattr(tally, outcome, getattr(tally, outcome) + 1)
        if verbose and outcome != "passed":
            said = f"{outcome} {case['file']}/{case['section']}/{case['name']}: {case['expr']}"
            sys.stderr.write(f"{said}: {reason}\n")
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    if not arguments.file.is_file():
        parser.error(f"{arguments.file}: no such file; give one as make cel CASES=FILE")
    tally = run_file(arguments.file, arguments.verbose)
    sys.stdout.write(json.dumps(vars(tally)) + "\n")


if __name__ == "__main__":
    main()
