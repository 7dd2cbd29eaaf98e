"""The compiling process: it dies, hangs or is forgotten, and the server goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nextbest.client import AsyncClient, DeadlineError, UnavailableError
from nextbest.core.errors import InvalidRequestError
from nextbest.server.command.child import Child
from nextbest.server.compiler import Compiler
from nextbest.server.errors import CompilerGoneError, CompileTimeError
from nextbest.server.playbook.exchange import Failure, pack, read_plan
from nextbest.server.playbook.worker import CHECKERS_MAX, Worker

TINY = {"schema.yaml": b"attributes: {age: int}\n"}
SMALL = Path(__file__).parents[1] / "cases" / "small"
GONE_S = 10.0


def large(segments: int = 4_000) -> dict[str, bytes]:
    """Files that take about a second to compile."""
    lines = "".join(f"  s{n}: profile.age > {n}\n" for n in range(segments))
    return {**TINY, "segments.yaml": f"segments:\n{lines}".encode()}


@pytest.fixture
def compiler() -> Iterator[Compiler]:
    made = Compiler(60_000)
    yield made
    made.close()


async def started(compiler: Compiler) -> None:
    while not compiler.process:
        await asyncio.sleep(0.001)


async def test_a_process_that_dies_is_a_typed_error_and_another_starts(compiler: Compiler) -> None:
    task = asyncio.create_task(compiler.compile(pack(large())))
    await started(compiler)
    os.kill(compiler.process, signal.SIGKILL)
    with pytest.raises(CompilerGoneError):
        await task
    compiled = await compiler.compile(pack(TINY))
    assert read_plan(compiled.plan).hash == compiled.hash


async def test_a_process_that_dies_between_two_requests_is_not_noticed(compiler: Compiler) -> None:
    await compiler.compile(pack(TINY))
    before = compiler.process
    os.kill(before, signal.SIGKILL)
    await until_gone(before)
    assert (await compiler.compile(pack(TINY))).hash
    assert compiler.process != before


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_compile_ends_at_its_time_bound(stopped: bool) -> None:
    compiler = Compiler(300)
    try:
        task = asyncio.create_task(compiler.compile(pack(large(60_000))))
        await started(compiler)
        before = compiler.process
        if stopped:
            os.kill(before, signal.SIGSTOP)
        with pytest.raises(CompileTimeError, match="300 ms"):
            await task
        assert not running(before)
    finally:
        compiler.close()


async def test_signals_to_the_group_do_not_reach_it(compiler: Compiler) -> None:
    await compiler.compile(pack(TINY))
    before = compiler.process
    assert os.getpgid(before) != os.getpgid(0)
    os.kill(before, signal.SIGINT)
    os.kill(before, signal.SIGTERM)
    await compiler.compile(pack(TINY))
    assert compiler.process == before


async def test_closing_ends_it_in_mid_compile() -> None:
    compiler = Compiler(60_000)
    task = asyncio.create_task(compiler.compile(pack(large())))
    await started(compiler)
    process = compiler.process
    compiler.close()
    with pytest.raises(CompilerGoneError):
        await task
    assert not running(process)


async def test_conditions_find_their_playbook_again(compiler: Compiler) -> None:
    playbooks = [{"schema.yaml": f"attributes: {{a{n}: int}}".encode()} for n in range(10)]
    assert len(playbooks) > CHECKERS_MAX
    hashes = [(await compiler.compile(pack(files))).hash for files in playbooks]
    for number, (hash_, files) in enumerate(zip(hashes, playbooks, strict=True)):
        code = await compiler.condition(hash_, pack(files), f"profile.a{number} > 3")
        assert code.text == f"profile.a{number} > 3"
        with pytest.raises(InvalidRequestError, match=r"profile\.b"):
            await compiler.condition(hash_, pack(files), "profile.b > 3")


def test_a_fault_of_our_own_is_told_to_the_log_alone() -> None:
    answer = Worker().answer("nonsense")
    assert isinstance(answer, Failure)
    assert answer.trace.endswith("TypeError")
    assert "in answer" in answer.trace
    assert "request: str" not in answer.trace


async def test_a_caller_is_told_of_the_time_bound(run_server: Any) -> None:
    compiler = Compiler(100)
    flags = {"playbook": None, "compiler": compiler}
    try:
        async with run_server(**flags) as address, AsyncClient(address) as client:
            with pytest.raises(DeadlineError) as caught:
                await client.publish_playbook(large(60_000))
            assert caught.value.reason == "COMPILE_TIME"
            assert caught.value.metadata["bound"] == "100"
    finally:
        compiler.close()


async def test_a_playbook_that_kills_the_compiler_is_no_internal_error(
    run_server: Any, compiler: Compiler
) -> None:
    flags = {"playbook": None, "compiler": compiler}
    async with run_server(**flags) as address, AsyncClient(address) as client:
        killer = asyncio.create_task(kill_each(compiler))
        with pytest.raises(UnavailableError) as caught:
            await client.publish_playbook(large(), timeout=30)
        killer.cancel()
        assert caught.value.reason == "COMPILER_GONE"
        assert caught.value.retry_after == 1.0
        assert (await client.publish_playbook(TINY)).generation == 1


async def kill_each(compiler: Compiler) -> None:
    while True:
        if compiler.process:
            os.kill(compiler.process, signal.SIGKILL)
        await asyncio.sleep(0.01)


async def test_a_killed_server_leaves_no_process_behind() -> None:
    with Child(SMALL) as server:
        worker = child_of(server.process)
        assert running(worker)
        os.kill(server.process, signal.SIGKILL)
        await until_gone(worker)


def test_serving_loads_neither_cel_nor_yaml() -> None:
    code = "import nextbest.server.serve, sys; print(*sys.modules)"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"cel_expr_python", "yaml", "ruamel.yaml"} & set(made.stdout.split())
    assert "nextbest.server.publisher" in made.stdout.split()


def child_of(process: int) -> int:
    tasks = Path(f"/proc/{process}/task").iterdir()
    children = [child for task in tasks for child in (task / "children").read_text().split()]
    assert len(children) == 1
    return int(children[0])


def running(process: int) -> bool:
    """Whether a thread of it runs; a process that nobody has waited for yet does not."""
    try:
        stats = [each.read_text() for each in Path(f"/proc/{process}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return any(stat.rpartition(")")[2].split()[0] not in "ZX" for stat in stats)


async def until_gone(process: int) -> None:
    end = time.monotonic() + GONE_S
    while running(process):
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
