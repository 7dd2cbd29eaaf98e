"""A file that is being written: it gets its name when it is whole, and one that was left goes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

SUFFIX: Final = ".partial"


@dataclass(slots=True)
class Partial:
    """A file beside its target; `left` are those of writers that were killed, which are removed."""

    path: Path
    left: list[Path] = field(default_factory=list)


@contextmanager
def partial_of(target: Path) -> Iterator[Partial]:
    """A partial file for one target, which is gone at the end.  Raises OSError.

    It is locked as long as its writer lives, and has a name of its own: several may write at once.
    """
    left = _remove_left(target)
    # It holds what is known of people: the mode is 0600.
    with NamedTemporaryFile(
        dir=target.parent, prefix=f"{target.name}.", suffix=SUFFIX, delete=False
    ) as file:
        path = Path(file.name)
        try:
            _lock(file.fileno())
            yield Partial(path, left)
        finally:
            path.unlink(missing_ok=True)


def place(partial: Path, target: Path) -> None:
    """Give a whole file its name, where nothing has it.  Raises FileExistsError and OSError."""
    try:
        # A link replaces nothing.
        os.link(partial, target)
    except FileExistsError:
        raise
    except OSError:
        # The file system has no hard links.  The name is taken first, and for that moment empty.
        target.open("x").close()
        try:
            partial.replace(target)
        except OSError:
            target.unlink()
            raise


def _remove_left(target: Path) -> list[Path]:
    """Remove the partial files of a target that nobody writes any more."""
    beside = target.parent.iterdir()
    names = [one for one in beside if one.name.startswith(target.name) and one.suffix == SUFFIX]
    return [one for one in sorted(names) if _remove_unlocked(one)]


def _remove_unlocked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            if not _lock(file.fileno()):
                return False
            path.unlink()
    except OSError:
        # Another one has removed it, or it is not ours.
        return False
    return True


def _lock(descriptor: int) -> bool:
    """Lock a file while it is open; False where somebody has, or there are no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
