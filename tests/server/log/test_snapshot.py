"""Snapshot files: whole or not at all, and no damage goes unseen."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import google_crc32c
import pytest

from nextbest.server.log import snapshot_file
from nextbest.server.log.snapshot import Snapshot, Snapshots, look
from nextbest.server.log.snapshot_file import (
    FORMAT,
    STRIPES_MAX,
    SnapshotError,
    SnapshotFormatError,
)
from nextbest.v1 import log_pb2
from tests.server.log.conftest import Thin

CORRUPTIONS = 1_000
PAGE = 4_096


class State:
    """A state of its own making: the position moves on while it is copied."""

    def __init__(
        self, seed: int = 1, stripe_bytes: int = 40, first: int = 10, every: int = 2
    ) -> None:
        self._random = random.Random(seed)
        self._bytes = stripe_bytes
        self._every = every
        self.stripes: dict[int, bytes] = {}
        self.sequence = first
        self.loop_thread = threading.get_ident()
        self.threads: set[int] = set()

    async def head(self) -> log_pb2.SnapshotHead:
        assert threading.get_ident() == self.loop_thread
        head = log_pb2.SnapshotHead(horizon_ms=77, member="a", taken_at_us=self.sequence)
        head.position.epoch, head.position.sequence = 3, self.sequence
        head.end.CopyFrom(head.position)
        return head

    def stripe(self, number: int) -> bytes:
        self.threads.add(threading.get_ident())
        self.sequence += 1
        # Some are empty, as in a store with few people.
        if number % self._every == 0:
            self.stripes[number] = self._random.randbytes(self._bytes)
        return self.stripes.get(number, b"")


async def write(snapshots: Snapshots, state: State) -> Path:
    return await (await snapshots.write(state.stripe, state.head)).commit()


def newest(snapshots: Snapshots) -> Snapshot:
    found = snapshots.newest_valid()
    assert found is not None
    found.close()
    return found


def stripes_of(snapshots: Snapshots) -> list[bytes]:
    found = snapshots.newest_valid()
    assert found is not None
    try:
        return list(found.stripes())
    finally:
        found.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where that is: each of many small files would be synced to the disk."""
    memory = Path("/dev/shm")
    writable = memory.is_dir() and os.access(memory, os.W_OK)
    with TemporaryDirectory(dir=memory if writable else None) as path:
        yield Path(path)


async def test_a_snapshot_comes_back_as_it_was_written(folder: Path) -> None:
    snapshots, state = Snapshots(folder), State()
    path = await write(snapshots, state)
    found = newest(snapshots)
    assert found.path == path
    assert stripes_of(snapshots) == list(state.stripes.values())
    assert found.bytes == path.stat().st_size
    assert (found.head.horizon_ms, found.head.member, found.head.format) == (77, "a", FORMAT)
    assert not snapshots.faults
    assert state.loop_thread not in state.threads


async def test_the_head_is_asked_for_after_the_last_stripe(folder: Path) -> None:
    snapshots = Snapshots(folder)
    await write(snapshots, State(first=10))
    assert newest(snapshots).end.sequence == 10 + STRIPES_MAX


async def test_a_head_that_fails_leaves_nothing_behind(folder: Path) -> None:
    snapshots = Snapshots(folder)

    async def void() -> log_pb2.SnapshotHead:
        raise ValueError("not covered")

    with pytest.raises(ValueError, match="not covered"):
        await snapshots.write(State().stripe, void)
    await write(snapshots, State())
    assert [path.name for path in folder.iterdir()] == ["snapshot-000000000001.nbs"]


async def test_a_file_counts_only_when_committed(folder: Path) -> None:
    snapshots = Snapshots(folder)
    pending = await snapshots.write(State(1).stripe, State(1).head)
    assert pending.head.member == "a"
    assert snapshots.newest_valid() is None
    with pytest.raises(SnapshotError, match="being written"):
        await snapshots.write(State(2).stripe, State(2).head)
    await pending.discard()
    assert list(folder.iterdir()) == []
    await write(snapshots, State(3))
    assert len(snapshots.paths()) == 1


async def test_two_are_kept_and_numbers_are_never_used_again(folder: Path) -> None:
    snapshots = Snapshots(folder)
    paths = [await write(snapshots, State(n)) for n in range(4)]
    assert snapshots.paths() == [paths[3], paths[2]]
    aside = snapshots.set_aside(newest(snapshots), "lost")
    assert aside.name == paths[3].name + ".lost"
    path = await write(snapshots, State(9))
    assert path.name > paths[3].name
    assert aside.exists()
    assert [one.path for one in snapshots.faults] == [aside]


async def test_a_start_in_the_middle_of_a_write_leaves_nothing_behind(folder: Path) -> None:
    snapshots = Snapshots(folder)
    await write(snapshots, State(1))
    await snapshots.write(State(2).stripe, State(2).head)
    (folder / "snapshot.new").rename(folder / "other.new")
    again = Snapshots(folder)
    assert [path.name for path in folder.iterdir()] == ["snapshot-000000000001.nbs"]
    assert newest(again).path == folder / "snapshot-000000000001.nbs"


async def test_a_cancelled_write_ends_soon_and_another_one_works(folder: Path) -> None:
    snapshots, state, begun = Snapshots(folder), State(), threading.Event()

    def slow(number: int) -> bytes:
        begun.set()
        return State.stripe(state, number) + bytes(1_000_000)

    task = asyncio.create_task(snapshots.write(slow, state.head))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(5):
        await write(snapshots, State(2))
    assert [path.name for path in folder.iterdir()] == ["snapshot-000000000001.nbs"]


def flip(data: bytearray, chance: random.Random) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def truncate(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def zero_page(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data)) // PAGE * PAGE
    data[start : start + PAGE] = bytes(len(data[start : start + PAGE]))


def zero_some(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    length = min(chance.randint(1, 3 * PAGE), len(data) - start)
    data[start : start + length] = bytes(length)


def swap_pages(data: bytearray, chance: random.Random) -> None:
    first, second = (chance.randrange(len(data) // PAGE) * PAGE for _ in range(2))
    one = bytes(data[first : first + PAGE])
    data[first : first + PAGE] = data[second : second + PAGE]
    data[second : second + PAGE] = one


def append(data: bytearray, chance: random.Random) -> None:
    data += chance.randbytes(chance.randint(1, PAGE))


DAMAGES: list[Callable[[bytearray, random.Random], None]] = [
    flip,
    flip,
    truncate,
    truncate,
    zero_page,
    zero_page,
    zero_some,
    swap_pages,
    append,
]


async def test_a_thousand_damaged_files_are_found_and_the_one_before_is_used(
    folder: Path,
) -> None:
    origin = folder / "origin"
    snapshots = Snapshots(origin)
    before = (await write(snapshots, State(1, 1_000, every=50))).read_bytes()
    whole = (await write(snapshots, State(2, 1_000, every=50))).read_bytes()
    chance = random.Random(7)
    work = folder / "work"
    done = 0
    while done < CORRUPTIONS:
        damaged = bytearray(whole)
        chance.choice(DAMAGES)(damaged, chance)
        if damaged == whole:
            continue
        done += 1
        one = Snapshots(work)
        (work / "snapshot-000000000001.nbs").write_bytes(before)
        (work / "snapshot-000000000002.nbs").write_bytes(damaged)
        found = newest(one)
        assert found.path.name == "snapshot-000000000001.nbs"
        aside = work / "snapshot-000000000002.nbs.corrupt"
        assert aside.read_bytes() == damaged
        assert [fault.path for fault in one.faults] == [aside]
        one.close()
        shutil.rmtree(work)


async def test_a_stripe_of_another_snapshot_is_found(folder: Path) -> None:
    """Whole blocks, each good by itself, of which only the footer knows that they differ."""
    snapshots = Snapshots(folder)
    first = (await write(snapshots, State(1))).read_bytes()
    path = await write(snapshots, State(2))
    second = path.read_bytes()
    start = snapshot_file.HEADER_BYTES
    length = 20 + 40  # of the first block
    path.write_bytes(second[:start] + first[start : start + length] + second[start + length :])
    found = newest(snapshots)
    assert found.path.name.endswith("1.nbs")
    assert "footer" in snapshots.faults[0].why


async def test_with_all_damaged_there_is_none_and_all_are_kept(folder: Path) -> None:
    snapshots = Snapshots(folder)
    for seed in range(2):
        path = await write(snapshots, State(seed))
        path.write_bytes(path.read_bytes()[:-1])
    assert snapshots.newest_valid() is None
    assert len(snapshots.faults) == 2
    assert len(list(folder.glob("*.corrupt"))) == 2
    assert await write(snapshots, State(5)) == folder / "snapshot-000000000003.nbs"


def restated(data: bytes, number: int) -> bytes:
    """The same file with another format number, its header's checksum right."""
    header = bytearray(data[: snapshot_file.HEADER_BYTES])
    header[16:20] = number.to_bytes(4, "little")
    header[60:] = google_crc32c.value(bytes(header[:60])).to_bytes(4, "little")
    return bytes(header) + data[snapshot_file.HEADER_BYTES :]


async def test_a_newer_format_is_refused_and_stays_in_its_place(folder: Path) -> None:
    snapshots = Snapshots(folder)
    await write(snapshots, State(1))
    path = await write(snapshots, State(2))
    path.write_bytes(restated(path.read_bytes(), FORMAT + 1))
    with pytest.raises(SnapshotFormatError, match=f"format {FORMAT + 1}, .*newer version"):
        snapshots.newest_valid()
    assert path.exists()


async def test_fields_of_a_newer_head_are_passed_over(folder: Path) -> None:
    """One version of skew within a format: protobuf's rules."""
    snapshots, state = Snapshots(folder), State()
    known = await state.head()

    async def head() -> log_pb2.SnapshotHead:
        return log_pb2.SnapshotHead.FromString(known.SerializeToString() + b"\xfa\x3f\x03new")

    await (await snapshots.write(state.stripe, head)).commit()
    found = newest(snapshots)
    assert found.head.horizon_ms == 77


async def test_a_look_changes_nothing_and_says_what_is_wrong(folder: Path) -> None:
    snapshots = Snapshots(folder)
    await write(snapshots, State(1))
    path = await write(snapshots, State(2))
    data = bytearray(path.read_bytes())
    data[100] ^= 4
    path.write_bytes(data)
    names = sorted(folder.iterdir())
    after, before = look(folder)
    assert after.verified is None
    assert after.why.startswith("damaged at byte 64: checksum")
    assert before.verified is not None
    assert before.verified.stripes == 2_048
    assert sorted(folder.iterdir()) == names


async def test_a_restored_file_is_the_newest_and_a_damaged_one_is_refused(folder: Path) -> None:
    source = await write(Snapshots(folder / "from"), State(1))
    snapshots = Snapshots(folder / "to")
    await write(snapshots, State(2))
    assert snapshots.add(source).read_bytes() == source.read_bytes()
    found = newest(snapshots)
    assert found.path.name.endswith("2.nbs")
    source.write_bytes(source.read_bytes()[:500])
    with pytest.raises(SnapshotError, match="damaged"):
        snapshots.add(source)
    assert len(snapshots.paths()) == 2
    assert source.exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    made = tmp_path / "small"
    made.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(made)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield made
    subprocess.run(["umount", str(made)], check=True)


async def test_a_full_disk_keeps_the_snapshots_that_are_there(small_disk: Path) -> None:
    snapshots = Snapshots(small_disk)
    path = await write(snapshots, State(1))
    with pytest.raises(SnapshotError, match="No space left"):
        await snapshots.write(State(2, 1_000).stripe, State(2, 1_000).head)
    await asyncio.sleep(0.05)
    assert list(small_disk.iterdir()) == [path]
    # Without a restart, when there is room again.
    assert (await write(snapshots, State(3))).name.endswith("2.nbs")


@pytest.mark.parametrize("stripe_bytes", [2_000, 12_000])
async def test_a_sync_that_fails_leaves_no_snapshot(thin_disk: Thin, stripe_bytes: int) -> None:
    """At the end, and of a part that is written through while the next one is made."""
    folder = thin_disk.folder / "snapshots"
    snapshots = Snapshots(folder)
    state = State(1, stripe_bytes)
    with pytest.raises(SnapshotError, match=r"Input/output error|No space left"):
        await snapshots.write(state.stripe, state.head)
    # The thread removes it, behind what it is still at.
    await snapshots.run(lambda: None)
    assert list(folder.iterdir()) == []
    thin_disk.grow()
    state = State(2, stripe_bytes)
    await write(snapshots, state)
    assert stripes_of(snapshots) == list(state.stripes.values())
    snapshots.close()


async def test_a_disk_that_turns_read_only_keeps_the_snapshots_that_are_there(
    small_disk: Path,
) -> None:
    snapshots = Snapshots(small_disk)
    path = await write(snapshots, State(1))
    pending = await snapshots.write(State(2).stripe, State(2).head)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    try:
        with pytest.raises(SnapshotError, match="Read-only"):
            await pending.commit()
        with pytest.raises(SnapshotError, match="Read-only"):
            await snapshots.write(State(2).stripe, State(2).head)
        assert newest(snapshots).path == path
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)


async def test_what_was_set_aside_goes_after_its_time_when_two_can_be_used(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path, aside_days=30)
    aside = {}
    for name, days in (("old", 31), ("new", 29)):
        await write(snapshots, State())
        aside[name] = snapshots.set_aside(newest(snapshots), "lost")
        then_s = time.time() - days * 86_400
        os.utime(aside[name], (then_s, then_s))
    await write(snapshots, State())
    assert aside["old"].exists()
    await write(snapshots, State())
    assert (aside["old"].exists(), aside["new"].exists()) == (False, True)
    snapshots.close()
