"""Listening sockets: made for the fast lane, refused, removed again, and tried beforehand."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import socket
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence

from nextbest.server.address import PORT_MAX, is_loopback, split, unix_path
from nextbest.server.errors import ListenError

# The kernel lowers it to net.core.somaxconn.
BACKLOG = 4_096
# Of the kernel's sun_path, without the zero at its end.
PATH_BYTES_MAX = 107
IN_USE = "in use by another process"
GIVEN = "given already, by"
ELSEWHERE = "not an address of this machine"
# The ports behind one in use of which a free one is named.
PORTS_TRIED = 20


class Listener:
    """One address with its sockets: one for each thread, or one for all of them."""

    def __init__(self, address: str, sockets: list[socket.socket]) -> None:
        self.address = address
        self._sockets = sockets
        self._inode = _inode(unix_path(address)) if unix_path(address) else None

    def descriptor(self, thread: int) -> int:
        """The socket that a thread accepts from."""
        return self._sockets[thread % len(self._sockets)].fileno()

    def close(self) -> None:
        """Close the sockets, and remove a unix socket that is still ours."""
        for each in self._sockets:
            each.close()
        path = unix_path(self.address)
        if self._inode and _inode(path) == self._inode:
            os.unlink(path)


def listen_unix(address: str, mode: str, owner: str) -> Listener:
    """Listen on a unix socket of that mode (octal) and owner ("user:group").

    A socket that nobody answers on is replaced; ListenError for one in use or no socket.
    """
    path = unix_path(address)
    require_free(address, path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        made.bind(path)
        # Nobody can connect before `listen`, so nobody sees the mode that the umask gave.
        os.chmod(path, int(mode, 8))
        if owner:
            os.chown(path, *_ids(owner))
        made.listen(BACKLOG)
    except (OSError, LookupError) as error:
        made.close()
        raise ListenError(address, reason(error)) from error
    return Listener(address, [made])


def listen_tcp(address: str, threads: int) -> Listener:
    """Listen on host:port, with a socket for each thread; a port of 0 takes a free one."""
    sockets: list[socket.socket] = []
    try:
        family, place = _resolve(address)
        # Alone at first: SO_REUSEPORT would share the port of another server without a word.
        with _bound(family, place, shared=False) as alone:
            place = alone.getsockname()
        for _ in range(threads):
            sockets.append(_bound(family, place, shared=threads > 1))
            sockets[-1].listen(BACKLOG)
    except (OSError, UnicodeError) as error:
        for each in sockets:
            each.close()
        raise ListenError(address, reason(error)) from error
    port = sockets[0].getsockname()[1]
    return Listener(f"{address.rpartition(':')[0]}:{port}", sockets)


def require_free(address: str, path: str) -> None:
    """Make way for a unix socket; raise ListenError where one is in use or no socket is."""
    if (length := len(os.fsencode(path))) > PATH_BYTES_MAX:
        raise ListenError(address, f"a path of {length} bytes, allowed: at most {PATH_BYTES_MAX}")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise ListenError(address, f"no folder {folder}")
    if not os.path.lexists(path):
        return
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise ListenError(address, "a file that is no socket is there")
    if why := _kept(path):
        raise ListenError(address, why)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def require_addresses(given: Mapping[str, Sequence[str]]) -> None:
    """Raise ListenError where one of those `given`, by option, is given twice or cannot be had.

    Others may take it before we do.
    """
    ours = [each for one in given.values() for each in one]
    before: dict[str, str] = {}
    for option, addresses in given.items():
        for address in addresses:
            try:
                _require(address, before)
            except ListenError as error:
                another = error.why.startswith((IN_USE, GIVEN))
                free = _free_near(address, ours) if another else ""
                raise ListenError(address, error.why, option, free) from error
            before[_place(address)] = option


def _require(address: str, before: Mapping[str, str]) -> None:
    """Refuse what cannot be had, or was given `before`, by option; any number may have port 0."""
    path = unix_path(address)
    if (option := before.get(_place(address))) and (path or split(address)[1]):
        raise ListenError(address, f"{GIVEN} {option.removesuffix('=')}")
    if path:
        require_free(address, path)
    else:
        _require_port(address)


def _place(address: str) -> str:
    """What is the same for one address in two forms; names are not looked up for it."""
    path = unix_path(address)
    return os.path.abspath(path) if path else "{}:{}".format(*split(address.lower()))


def _free_near(address: str, ours: Iterable[str]) -> str:
    """An address like one in use, that is free now and none of ours; "" where none is near."""
    if unix_path(address):
        return ""
    # Of whichever host: ours may be another name, or all addresses, of this one's.
    wanted = {split(each)[1] for each in ours if not unix_path(each)}
    host, port = address.rpartition(":")[0], split(address)[1]
    for near in range(port + 1, min(port + PORTS_TRIED, PORT_MAX) + 1):
        if near in wanted:
            continue
        with contextlib.suppress(ListenError):
            _require_port(f"{host}:{near}")
            return f"{host}:{near}"
    return ""


def _require_port(address: str) -> None:
    """One of a name's addresses is enough, as for gRPC, but none of them may be another's."""
    host, port = split(address)
    failed: list[OSError] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ListenError(address, reason(error)) from error
    for family, _, _, _, place in found:
        try:
            _bound(family, place, shared=False).close()
        except OSError as error:
            failed.append(error)
    in_use = any(error.errno == errno.EADDRINUSE for error in failed)
    if failed and (in_use or len(failed) == len(found)):
        raise ListenError(address, IN_USE if in_use else reason(failed[0])) from failed[0]


def _kept(path: str) -> str:
    """Why a unix socket cannot be replaced; "" for one that nobody answers on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        # Who has a full backlog, for which a blocking call would wait, is alive.
        trial.setblocking(False)
        found = trial.connect_ex(path)
    if found in (errno.EACCES, errno.EPERM):
        # Whether somebody answers there cannot be known.
        return f"no permission to connect to what is there: {os.strerror(found)}"
    return "" if found in (errno.ECONNREFUSED, errno.ENOENT) else IN_USE


def _bound(family: int, place: tuple[object, ...], shared: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        # Connections of a server just stopped do not keep the port.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
        made.bind(place)
    except OSError:
        made.close()
        raise
    return made


def _resolve(address: str) -> tuple[int, tuple[object, ...]]:
    host, port = split(address)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, place = found[0]
    if host == "localhost" and not is_loopback(str(place[0])):
        raise ListenError(address, f"localhost is {place[0]} here, no loopback address")
    return family, place


def _ids(owner: str) -> tuple[int, int]:
    """User and group id of "user:group"; -1 leaves one as it is.  LookupError for unknown ones."""
    user, _, group = owner.partition(":")
    return (
        _id(user, "users", lambda: pwd.getpwnam(user).pw_uid),
        _id(group, "groups", lambda: grp.getgrnam(group).gr_gid),
    )


def _id(name: str, kind: str, find: Callable[[], int]) -> int:
    if not name:
        return -1
    try:
        return int(name) if name.isdecimal() else find()
    except KeyError:
        raise LookupError(f"lane.owner: {name!r}, allowed: one of this machine's {kind}") from None


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def reason(error: Exception) -> str:
    """Why an address cannot be listened on: one line for a person."""
    if isinstance(error, UnicodeError):
        return "no name of a host, whose parts have 1 to 63 bytes"
    known = {errno.EADDRINUSE: IN_USE, errno.EADDRNOTAVAIL: ELSEWHERE}
    if isinstance(error, OSError) and error.errno in known:
        return known[error.errno]
    return getattr(error, "strerror", None) or str(error)
