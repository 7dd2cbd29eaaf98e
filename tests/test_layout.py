"""The structure: who may import whom, and how long lines and functions may be."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINE_MAX = 100
FUNCTION_LINES_MAX = 70
# Folder -> the packages of ours that it may import.
MAY_IMPORT = {
    "proto/nextbest/v1": {"nextbest.v1"},
    "core": {"nextbest.core"},
    "clients/python": {"nextbest.client", "nextbest.v1"},
    "server": {"nextbest.core", "nextbest.client", "nextbest.server", "nextbest.v1"},
    # It ships, and is a client like any other: nobody imports it but the command line, by name.
    "bench/load": {"nextbest.bench", "nextbest.client", "nextbest.v1"},
}
# Besides the command line, which is a caller like any other, no part of the server is a client.
MAY_BE_CLIENT = {"server/command", "server/load", "server/examples"}
NEVER_SHIPPED = {"bench", "deploy", "tests"}
CYTHON_FUNCTION = re.compile(r"^(\s*)(?:cpdef|cdef|def|async def)\b[^=]*\(")


def files(*folders: str, suffixes: tuple[str, ...] = (".py", ".pyx", ".pxd", ".pyi", ".h")):
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in suffixes and "_pb2" not in path.name:
                yield path


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> Iterator[str]:
    """Every absolute name that a Python or Cython file imports, at any depth of nesting."""
    if path.suffix in {".py", ".pyi"}:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Import):
                yield from (name.name for name in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                yield node.module or ""
                yield from (f"{node.module}.{name.name}" for name in node.names)
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        match = re.match(r"\s*(?:from|import|cimport)\s+([\w.]+)", line)
        if match:
            yield match[1]


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Each function's first line and length."""
    if path.suffix in {".py", ".pyi"}:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    for start, line in enumerate(lines):
        match = CYTHON_FUNCTION.match(line)
        if match:
            yield line.strip(), length_of_block(lines, start, len(match[1]))


def length_of_block(lines: list[str], start: int, indent: int) -> int:
    end = start
    for number in range(start + 1, len(lines)):
        line = lines[number]
        # The closing line of a signature stands at the function's own indentation.
        if line.strip() and len(line) - len(line.lstrip()) <= indent and line.strip()[0] != ")":
            break
        end = number if line.strip() else end
    return end - start + 1


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_imports_go_one_way(folder: str) -> None:
    wrong = []
    for path in files(folder):
        where = path.relative_to(ROOT).as_posix()
        allowed = MAY_IMPORT[folder]
        if folder == "server" and not any(where.startswith(one) for one in MAY_BE_CLIENT):
            allowed = allowed - {"nextbest.client"}
        for name in imports(path):
            ours = ".".join(name.split(".")[:2])
            if name.startswith("nextbest.") and ours not in allowed:
                wrong.append(f"{where}: {name}")
    assert not wrong


def test_nothing_that_ships_knows_what_does_not() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in files(*MAY_IMPORT)
        for name in imports(path)
        if name.split(".")[0] in NEVER_SHIPPED
    ]
    assert not wrong


def test_the_core_does_no_io_and_knows_no_runtime() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in files("core")
        for name in imports(path)
        if name.split(".")[0] in {"google", "grpc", "asyncio", "opentelemetry", "redis"}
    ]
    assert not wrong


def test_no_import_reaches_another_folder_by_dots() -> None:
    """`from ..server` would load a second copy of a module under another name."""
    wrong = [
        str(path.relative_to(ROOT))
        for path in files(*MAY_IMPORT, suffixes=(".py",))
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ImportFrom) and node.level > 1
    ]
    assert not wrong


def test_lines_are_at_most_100_characters() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files("core", "server", "clients", "bench", "tests")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > LINE_MAX
    ]
    assert not wrong


def test_functions_are_at_most_70_lines() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {name}: {length} lines"
        for path in files("core", "server", "clients", "bench", "tests")
        for name, length in functions(path)
        if length > FUNCTION_LINES_MAX
    ]
    assert not wrong


def test_shipped_code_does_not_print() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files("core", "server", "clients", "bench/load")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.match(r"\s*print\(", line)
    ]
    assert not wrong


def test_every_compiled_module_has_its_types() -> None:
    units = [*(ROOT / "core").glob("*.pyx"), *(ROOT / "bench/load").glob("*.pyx")]
    assert len(units) > 1
    assert not [unit.name for unit in units if not unit.with_suffix(".pyi").exists()]
