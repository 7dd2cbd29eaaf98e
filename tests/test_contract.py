"""The contract: its style, and that the generated Python is of these files."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

PROTO = Path(__file__).resolve().parents[1] / "proto"
FILES = sorted((PROTO / "nextbest/v1").glob("*.proto"))
SERVICES = [path for path in FILES if "\nservice " in path.read_text()]


def protoc(*arguments: object) -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed")
    include = sysconfig.get_path("purelib")
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", f"-I{include}"]
    subprocess.run([*command, *map(str, arguments)], check=True)


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The files' descriptors, with comments."""
    target = tmp_path_factory.mktemp("proto") / "set"
    protoc(f"--descriptor_set_out={target}", "--include_source_info", *FILES)
    found = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes())
    return list(found.file)


def test_the_generated_code_is_current(tmp_path: Path) -> None:
    protoc(f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", *FILES)
    protoc(f"--grpc_python_out={tmp_path}", *SERVICES)
    made = {path.name: path.read_text() for path in (tmp_path / "nextbest/v1").iterdir()}
    kept = {path.name: path.read_text() for path in (PROTO / "nextbest/v1").glob("*_pb2*")}
    assert made.keys() == kept.keys()
    assert [name for name in made if made[name] != kept[name]] == []


def elements(file: Any) -> Iterator[tuple[tuple[int, ...], str]]:
    """The path and the name of whatever must be commented."""
    for index, message in enumerate(file.message_type):
        yield from inside(message, (4, index), message.name)
    for index, enum in enumerate(file.enum_type):
        yield from values(enum, (5, index), enum.name)
    for index, service in enumerate(file.service):
        yield (6, index), service.name
        for number, method in enumerate(service.method):
            yield (6, index, 2, number), f"{service.name}.{method.name}"


def inside(message: Any, path: tuple[int, ...], name: str) -> Iterator[tuple[tuple[int, ...], str]]:
    if message.options.map_entry:
        return
    yield path, name
    for index, field in enumerate(message.field):
        yield (*path, 2, index), f"{name}.{field.name}"
    for index, nested in enumerate(message.nested_type):
        yield from inside(nested, (*path, 3, index), f"{name}.{nested.name}")
    for index, enum in enumerate(message.enum_type):
        yield from values(enum, (*path, 4, index), f"{name}.{enum.name}")


def values(enum: Any, path: tuple[int, ...], name: str) -> Iterator[tuple[tuple[int, ...], str]]:
    yield path, name
    for index, value in enumerate(enum.value):
        yield (*path, 2, index), f"{name}.{value.name}"


def test_everything_is_commented(described: list[Any]) -> None:
    bare = []
    for file in described:
        commented = {
            tuple(place.path)
            for place in file.source_code_info.location
            if place.leading_comments.strip() or place.trailing_comments.strip()
        }
        bare += [f"{file.name}: {name}" for path, name in elements(file) if path not in commented]
    assert bare == []


def test_every_file_is_of_the_package(described: list[Any]) -> None:
    assert {file.package for file in described} == {"nextbest.v1"}


def test_the_first_value_of_an_enum_says_nothing(described: list[Any]) -> None:
    enums = [enum for file in described for enum in file.enum_type]
    enums += [e for f in described for message in f.message_type for e in message.enum_type]
    assert enums
    for enum in enums:
        assert enum.value[0].number == 0
        assert enum.value[0].name.endswith("_UNSPECIFIED")


def test_each_rpc_has_a_request_and_an_answer_of_its_own(described: list[Any]) -> None:
    methods = [m for file in described for service in file.service for m in service.method]
    used = Counter(kind for method in methods for kind in (method.input_type, method.output_type))
    assert methods
    assert [kind for kind, count in used.items() if count > 1] == []
    for method in methods:
        assert method.input_type == f".nextbest.v1.{method.name}Request"
        assert method.output_type == f".nextbest.v1.{method.name}Response"
