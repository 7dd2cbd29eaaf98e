"""The disks themselves: one fills up and is freed, one fails and works again or only reads."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.faults import disks
from tests.faults.disks import Disk, FailingDisk

pytestmark = pytest.mark.skipif(bool(disks.unavailable()), reason=disks.unavailable())


def write(path: Path, size: int = 200_000) -> int:
    """Append to a file and sync it; the error's number, or 0."""
    try:
        with path.open("ab", buffering=0) as file:
            file.write(b"x" * size)
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno or -1
    return 0


def test_a_full_disk_has_room_again_when_freed(tmp_path: Path) -> None:
    with Disk(tmp_path / "disk", 4 << 20) as disk:
        assert write(disk.folder / "a") == 0
        disk.fill()
        assert write(disk.folder / "b") == errno.ENOSPC
        disk.free()
        assert write(disk.folder / "c") == 0
    assert not os.path.ismount(disk.folder)


def test_a_failing_disk_fails_and_works_again(tmp_path: Path) -> None:
    with FailingDisk(tmp_path / "disk", tmp_path / "image") as disk:
        kept = disk.folder / "kept"
        assert write(kept) == 0
        disk.fail()
        assert {write(disk.folder / f"new{number}") for number in range(5)} == {errno.EIO}
        disk.mend()
        assert write(disk.folder / "after") == 0
        assert kept.read_bytes() == b"x" * 200_000
    assert not os.path.ismount(disk.folder)


def test_a_journal_that_failed_leaves_a_disk_that_only_reads(tmp_path: Path) -> None:
    with FailingDisk(tmp_path / "disk", tmp_path / "image", journal=True) as disk:
        kept = disk.folder / "kept"
        assert write(kept) == 0
        disk.fail()
        errors = [write(disk.folder / f"new{number}") for number in range(5)]
        assert errors[0] == errno.EIO
        assert errors[-1] == errno.EROFS
        disk.mend()
        assert write(disk.folder / "after") == errno.EROFS
        assert kept.read_bytes() == b"x" * 200_000
    assert not os.path.ismount(disk.folder)
