"""The log in SQLite: one process, full disks, read-only files, and damage."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from nextbest.core.errors import LogAwayError as AwayError
from nextbest.core.errors import LogFailedError
from nextbest.server.log import (
    LogAwayError,
    LogError,
    LogFullError,
    LogInUseError,
    LogPlaceError,
    LogResetError,
    NotReplicatedError,
    StaleEpochError,
    UnknownOutcomeError,
)
from nextbest.server.log.entry import DamagedEntryError, frame, unframe
from nextbest.server.log.log import LOGGED_QUEUE, REPLICATED_QUEUE
from nextbest.server.log.settings import BackendSettings
from nextbest.server.log.sqlite import SqliteLog
from tests.server.log.conftest import Thin
from tests.server.log.member import Member, following

OPEN = frame(b"open")
LARGE = frame(os.urandom(100_000))
# Opens the log named by the first argument, appends for ever, and prints each sequence it was
# told is durable.
WRITER = """
import asyncio, sys
from nextbest.server.log.entry import frame
from nextbest.server.log.settings import BackendSettings
from nextbest.server.log.sqlite import SqliteLog

async def main():
    log = SqliteLog(sys.argv[1], BackendSettings())
    branch = (await log.connect()).replication_id
    await log.open_epoch(1, frame(b"open"), None, True)
    while True:
        sequence = await log.append(0, 1, branch, frame(b"x" * 1000), 0)
        print(sequence, flush=True)

asyncio.run(main())
"""


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    made = SqliteLog(str(tmp_path / "log.db"), BackendSettings())
    yield made
    await made.close()


async def opened(log: SqliteLog) -> str:
    branch = (await log.connect()).replication_id
    await log.open_epoch(1, OPEN, None, create=True)
    return branch


async def reopened(log: SqliteLog) -> tuple[str, int]:
    """Connect again and open the next epoch: what the node does after a fault."""
    branch = (await log.connect()).replication_id
    last = await log.last()
    assert last is not None
    await log.open_epoch(last.epoch + 1, OPEN, last[:2], create=False)
    return branch, last.epoch + 1


async def filled(log: SqliteLog, branch: str) -> tuple[int, LogError]:
    """Append until it is refused: the last sequence that was acknowledged, and the refusal."""
    sequence = 0
    for _ in range(200):
        try:
            sequence = await log.append(LOGGED_QUEUE, 1, branch, LARGE, 0)
        except LogError as error:
            return sequence, error
    raise AssertionError("never refused")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mounting, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system takes root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_second_client_is_told_who_has_the_file(log: SqliteLog, tmp_path: Path) -> None:
    await opened(log)
    second = SqliteLog(str(tmp_path / "log.db"), BackendSettings())
    with pytest.raises(LogInUseError) as refused:
        await second.connect()
    assert refused.value.pid == os.getpid()
    assert "log.db" in str(refused.value)
    await second.close()


async def test_a_second_process_is_refused_until_the_first_is_gone(
    log: SqliteLog, tmp_path: Path
) -> None:
    path = tmp_path / "log.db"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(path), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    while (told := int(await process.stdout.readline())) < 20:
        pass
    with pytest.raises(LogInUseError) as refused:
        await log.connect()
    assert refused.value.pid == process.pid
    process.send_signal(signal.SIGKILL)
    told = max(told, *map(int, (await process.stdout.read()).split()), 0)
    await process.wait()
    # Everything it was told is durable is there, whole.
    await log.connect()
    last = await log.last()
    assert last is not None
    assert last.sequence >= told
    for record in await log.read((0, 0), 0):
        unframe(record.data, record.epoch, record.sequence)


async def test_nothing_is_acknowledged_as_replicated(log: SqliteLog) -> None:
    branch = await opened(log)
    with pytest.raises(NotReplicatedError):
        await log.append(REPLICATED_QUEUE, 1, branch, OPEN, 0)
    with pytest.raises(NotReplicatedError):
        await log.append(LOGGED_QUEUE, 1, branch, OPEN, 1)
    assert (await log.size())[0] == 1


async def test_each_connection_is_a_branch_of_its_own(log: SqliteLog) -> None:
    branch = await opened(log)
    again = (await log.connect()).replication_id
    assert again != branch
    with pytest.raises(UnknownOutcomeError) as unknown:
        await log.append(LOGGED_QUEUE, 1, branch, OPEN, 0)
    assert unknown.value.new_epoch


async def test_appends_that_come_together_share_a_commit(log: SqliteLog) -> None:
    branch = await opened(log)
    sequences = await asyncio.gather(
        *(log.append(LOGGED_QUEUE, 1, branch, frame(b"%d" % n), 0) for n in range(100)),
        log.append(LOGGED_QUEUE, 0, branch, OPEN, 0),
        return_exceptions=True,
    )
    assert isinstance(sequences.pop(), StaleEpochError)
    assert sequences == list(range(1, 101))


async def test_a_full_disk_refuses_and_goes_on_when_there_is_room(small_disk: Path) -> None:
    log = SqliteLog(str(small_disk / "log.db"), BackendSettings())
    branch = await opened(log)
    written, refused = await filled(log, branch)
    assert isinstance(refused, LogFullError)
    assert written > 3
    # Not on the same handle, and not before the file was read anew.
    with pytest.raises(LogAwayError):
        await log.append(LOGGED_QUEUE, 1, branch, LARGE, 0)
    for _ in range(3):
        await log.connect()
        last = await log.last()
        assert last is not None
        assert last[:2] == (1, written)
        with pytest.raises(LogFullError):
            await log.open_epoch(2, LARGE, (1, written), create=False)

    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    branch, epoch = await reopened(log)
    assert await log.append(LOGGED_QUEUE, epoch, branch, LARGE, 0) == 1
    read = {}
    after = (0, 0)
    while found := await log.read(after, 0):
        read |= {record[:2]: record.data for record in found}
        after = found[-1][:2]
    assert [place for place in read if place[0] == 1] == [(1, n) for n in range(written + 1)]
    for place, data in read.items():
        unframe(data, *place)
    await log.close()


async def test_a_full_disk_is_not_filled_with_epochs(small_disk: Path) -> None:
    """Each try to go on opens the file anew, and so would open an epoch."""
    member = Member(SqliteLog(str(small_disk / "log.db"), BackendSettings()))
    async with following(member):
        await member.write("e1")
        before = len(member.engine.epochs())
        # A few more small ones fit.
        filler = small_disk / "filler"
        filler.write_bytes(bytes(os.statvfs(small_disk).f_bavail * 4_096 - 32_768))
        for number in range(10_000):
            with suppress(LogFailedError, AwayError):
                await member.track(f"a{number}")
            if member.node.state == "full":
                break
        await asyncio.sleep(3)
        assert member.node.state == "full"
        filler.unlink()
        await member.until("following")
        await member.write("e2")
        assert len(member.engine.epochs()) <= before + 2


async def test_a_file_at_its_bound_refuses_until_it_is_trimmed(tmp_path: Path) -> None:
    log = SqliteLog(str(tmp_path / "log.db"), BackendSettings(file_bytes_max=1 << 20))
    branch = await opened(log)
    written, refused = await filled(log, branch)
    assert isinstance(refused, LogFullError)
    await log.connect()
    await log.trim((1, written))
    branch, epoch = await reopened(log)
    for sequence in range(1, 5):
        assert await log.append(LOGGED_QUEUE, epoch, branch, LARGE, 0) == sequence
    entries, used = await log.size()
    assert entries == 6
    assert used <= 1 << 20
    await log.close()


async def test_a_write_error_refuses_and_recovers(tmp_path: Path) -> None:
    """Files may grow to 1 MiB only: the kernel refuses a write, which is no full disk."""
    import resource

    log = SqliteLog(str(tmp_path / "log.db"), BackendSettings())
    branch = await opened(log)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        written, refused = await filled(log, branch)
        with pytest.raises(LogAwayError):
            await log.append(LOGGED_QUEUE, 1, branch, LARGE, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert isinstance(refused, LogAwayError | UnknownOutcomeError)
    await log.connect()
    last = await log.last()
    assert last is not None
    assert (1, written) <= last[:2] <= (1, written + 1)
    branch, epoch = await reopened(log)
    assert await log.append(LOGGED_QUEUE, epoch, branch, LARGE, 0) == 1
    await log.close()


async def test_a_failed_fsync_is_unknown_and_loses_nothing_later(thin_disk: Thin) -> None:
    """What was acknowledged is on the disk: read after the kernel's cached copy is gone."""
    log = SqliteLog(str(thin_disk.folder / "log.db"), BackendSettings())
    branch = await opened(log)
    written, refused = await filled(log, branch)
    assert isinstance(refused, UnknownOutcomeError)
    assert "disk I/O error" in str(refused)
    for _ in range(3):
        with pytest.raises(LogError):
            await reopened(log)
    thin_disk.grow()
    branch, epoch = await reopened(log)
    for sequence in range(1, 10):
        assert await log.append(LOGGED_QUEUE, epoch, branch, LARGE, 0) == sequence
    await log.close()

    thin_disk.detach()
    thin_disk.attach()
    await log.connect()
    read = {}
    after = (0, 0)
    while found := await log.read(after, 0):
        read |= {record[:2]: record.data for record in found}
        after = found[-1][:2]
    for place, data in read.items():
        unframe(data, *place)
    assert {(1, sequence) for sequence in range(written + 1)} <= set(read)
    assert {(epoch, sequence) for sequence in range(10)} <= set(read)
    await log.close()


async def test_a_read_only_file_system_refuses_and_recovers(small_disk: Path) -> None:
    log = SqliteLog(str(small_disk / "log.db"), BackendSettings())
    await opened(log)
    await log.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(LogAwayError):
        await log.connect()
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    branch, epoch = await reopened(log)
    assert await log.append(LOGGED_QUEUE, epoch, branch, OPEN, 0) == 1
    await log.close()


async def test_a_file_that_was_removed_takes_no_more(log: SqliteLog, tmp_path: Path) -> None:
    branch = await opened(log)
    (tmp_path / "log.db").rename(tmp_path / "elsewhere")
    with pytest.raises(LogResetError, match="removed"):
        await log.append(LOGGED_QUEUE, 1, branch, OPEN, 0)


async def test_a_file_that_is_no_database_is_not_touched(log: SqliteLog, tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    path.write_bytes(b"something else entirely\n" * 100)
    content = path.read_bytes()
    with pytest.raises(LogAwayError, match="not a database"):
        await log.connect()
    assert path.read_bytes() == content


async def test_a_database_of_somebody_else_is_not_touched(log: SqliteLog, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "log.db")
    other.execute("CREATE TABLE theirs (id)")
    other.close()
    with pytest.raises(LogPlaceError, match="with other tables"):
        await log.connect()
    with pytest.raises(LogAwayError, match="not a log"):
        await log.last()


async def test_only_the_owner_reads_the_files(log: SqliteLog, tmp_path: Path) -> None:
    await opened(log)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"log.db": 0o600, "log.db-wal": 0o600, "log.db.lock": 0o600}


async def test_damage_in_an_entry_is_found_and_named(log: SqliteLog, tmp_path: Path) -> None:
    branch = await opened(log)
    await log.append(LOGGED_QUEUE, 1, branch, LARGE, 0)
    await log.close()
    path = tmp_path / "log.db"
    content = bytearray(path.read_bytes())
    where = content.find(LARGE[5:200])
    assert where > 0
    content[where + 50] ^= 4
    path.write_bytes(content)
    await log.connect()
    record = await log.entry(1, 1)
    assert record is not None
    with pytest.raises(DamagedEntryError, match="entry 1-1: checksum"):
        unframe(record.data, 1, 1)


async def test_what_a_copy_holds_is_plain_sqlite(log: SqliteLog, tmp_path: Path) -> None:
    await opened(log)
    await log.close()
    copy = shutil.copy(tmp_path / "log.db", tmp_path / "copy.db")
    database = sqlite3.connect(copy)
    assert database.execute("SELECT id >> 40, data FROM entries").fetchall() == [(1, OPEN)]
    database.close()
