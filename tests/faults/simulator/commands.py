"""What Redis 7.0 does with the commands of one connection, in its words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tests.faults.simulator.stream import NODE_ENTRIES, SEQUENCE_MAX, Stream, StreamId, text_of

if TYPE_CHECKING:
    from tests.faults.simulator.redis import Server

Command = Sequence[object]
Words = list[bytes]


class ErrorReply(Exception):  # noqa: N818 - an answer of Redis, not a failure of ours
    """An error as Redis words it; also raised where a command stops."""


class Blocked:
    """A command that waits: its answer comes later."""


BLOCKED = Blocked()
BAD_ID = "ERR Invalid stream ID specified as stream command argument"
SMALLER_ID = "ERR The ID specified in XADD is equal or smaller than the target stream top item"
NOT_AN_INTEGER = "ERR value is not an integer or out of range"
SYNTAX = "ERR syntax error"


@lru_cache(4_096)
def word(value: object) -> bytes:
    """A part of a command as it is sent; the same few come again and again."""
    return str(value).encode()


def number_of(text: bytes, message: str = NOT_AN_INTEGER) -> int:
    try:
        if not text or text.strip() != text or text[:1] == b"+":
            raise ValueError
        return int(text)
    except ValueError:
        raise ErrorReply(message) from None


def unsigned(text: bytes) -> int:
    if not text.isdigit() or int(text) > SEQUENCE_MAX:
        raise ErrorReply(BAD_ID)
    return int(text)


def id_of(text: bytes, sequence: int = 0) -> StreamId:
    """`<ms>-<sequence>` or `<ms>`."""
    ms, dash, rest = text.partition(b"-")
    return unsigned(ms), unsigned(rest) if dash else sequence


def bound_of(text: bytes, *, lower: bool) -> StreamId:
    """A bound of a range: `-`, `+`, an id, or `(` and an id, which is then outside."""
    if text == b"-":
        return (0, 0)
    if text == b"+":
        return (SEQUENCE_MAX, SEQUENCE_MAX)
    outside = text[:1] == b"("
    ms, sequence = id_of(text[1:] if outside else text, 0 if lower else SEQUENCE_MAX)
    if not outside:
        return (ms, sequence)
    if lower:
        if sequence < SEQUENCE_MAX:
            return (ms, sequence + 1)
        if ms == SEQUENCE_MAX:
            raise ErrorReply("ERR invalid start ID for the interval")
        return (ms + 1, 0)
    if sequence:
        return (ms, sequence - 1)
    if not ms:
        raise ErrorReply("ERR invalid end ID for the interval")
    return (ms - 1, SEQUENCE_MAX)


class Connection:
    """A client's connection on the server's side."""

    def __init__(
        self, server: Server, answer: Callable[[list[Any]], None], close: Callable
    ) -> None:
        self.server = server
        self._answer = answer
        self._close = close
        # The replication offset of its last command: what WAIT waits for.
        self.offset = 0
        self.watched: set[bytes] = set()
        self.touched = False
        self.queued: list[Words] | None = None
        self.refused = False
        # The rest of a pipeline, and what it has been answered so far.
        self._rest: list[Words] = []
        self._replies: list[Any] = []
        # What it is blocked on: ("wait", replicas, timer) or ("xread", key, id, count, timer).
        self.blocked: tuple | None = None
        self.closed = False

    # The pipeline.

    def receive(self, commands: Sequence[Command]) -> None:
        """Run a pipeline; the answers go back together when the last is there."""
        if self.closed:
            return
        self._rest = [
            [part if type(part) is bytes else word(part) for part in command]
            for command in commands
        ]
        self._rest.reverse()
        self._replies = []
        self._go()

    def _go(self) -> None:
        while self._rest and not self.closed:
            reply = self.run(self._rest.pop())
            if reply is BLOCKED:
                return
            self._replies.append(reply)
            if self._rest and self.server.pauses_between():
                self.server.later(0.0005, self._go)
                return
        if not self.closed:
            self._answer(self._replies)

    def unblock(self, reply: object) -> None:
        self.forget_block()
        self._replies.append(reply)
        self._go()

    def forget_block(self) -> None:
        if self.blocked is None:
            return
        if self.blocked[-1] is not None:
            self.blocked[-1].cancel()
        self.blocked = None
        self.server.blocked.pop(self, None)

    def disconnect(self, last: object = None) -> None:
        """Close it from the server's side, after a last answer."""
        if self.closed:
            return
        self.forget_block()
        self.closed = True
        self.server.connections.pop(self, None)
        if last is not None and self._replies is not None:
            self._answer([*self._replies, last])
        self._close()

    def leave(self) -> None:
        """The client has closed it."""
        self.forget_block()
        self.closed = True
        self.server.connections.pop(self, None)

    # One command.

    def run(self, words: Words) -> Any:
        name = words[0].upper()
        try:
            handler = COMMANDS.get(name)
            if handler is None:
                raise ErrorReply(unknown(words))
            function, least, write, _grows = handler
            if not arity_fits(len(words), least):
                raise ErrorReply(
                    f"ERR wrong number of arguments for '{name.decode().lower()}' command"
                )
            if write or name in CHECKED or self.queued is not None:
                self.check(name, words)
        except ErrorReply as error:
            return self.reject(name, error)
        if self.queued is not None and name not in AT_ONCE:
            self.queued.append(words)
            return b"QUEUED"
        server = self.server
        reply = self.call(function, words)
        if server.changed:
            server.flush()
        self.offset = server.offset
        if server.woken:
            server.serve()
        return reply

    def call(self, function: Callable[[Connection, Words], Any], words: Words) -> Any:
        try:
            return function(self, words)
        except ErrorReply as error:
            return error

    def reject(self, name: bytes, error: ErrorReply) -> ErrorReply:
        if self.queued is None:
            return error
        if name == b"EXEC":
            self.end_multi()
            return ErrorReply(f"EXECABORT Transaction discarded because of: {error}")
        self.refused = True
        return error

    def check(self, name: bytes, words: Words) -> None:
        """What refuses a command before it runs."""
        server = self.server
        queued = self.queued if name == b"EXEC" and self.queued else []
        flags = [COMMANDS[one[0].upper()] for one in [*queued, words]]
        writes = any(write for _, _, write, _ in flags)
        grows = any(grow for _, _, _, grow in flags)
        in_multi = self.queued is not None and name not in (b"EXEC", b"DISCARD", b"MULTI", b"WATCH")
        if (grows or in_multi) and server.full() and server.master is None:
            raise ErrorReply("OOM command not allowed when used memory > 'maxmemory'.")
        if server.disk_fails and server.master is None and (writes or name == b"PING"):
            raise ErrorReply("MISCONF Errors writing to the AOF file: No space left on device")
        if writes and server.too_few_replicas():
            raise ErrorReply("NOREPLICAS Not enough good replicas to write.")
        if writes and server.master is not None:
            raise ErrorReply("READONLY You can't write against a read only replica.")
        if server.loading and name not in WHILE_LOADING:
            raise ErrorReply("LOADING Redis is loading the dataset in memory")

    def end_multi(self) -> None:
        self.queued = None
        self.refused = False
        self.watched.clear()
        self.touched = False

    def stream(self, key: bytes) -> Stream | None:
        return self.server.data.streams.get(key)


def unknown(words: Words) -> str:
    name = words[0].decode(errors="replace")
    rest = "".join(f"'{part.decode(errors='replace')}' " for part in words[1:])
    return f"ERR unknown command '{name}', with args beginning with: {rest}"


def arity_fits(count: int, arity: int) -> bool:
    return count == arity if arity > 0 else count >= -arity


# Transactions.


def multi(connection: Connection, _words: Words) -> Any:
    if connection.queued is not None:
        raise ErrorReply("ERR MULTI calls can not be nested")
    connection.queued = []
    return b"OK"


def exec_(connection: Connection, _words: Words) -> Any:
    if connection.queued is None:
        raise ErrorReply("ERR EXEC without MULTI")
    queued, refused, touched = connection.queued, connection.refused, connection.touched
    connection.end_multi()
    if refused:
        raise ErrorReply("EXECABORT Transaction discarded because of previous errors.")
    if touched:
        return None
    connection.server.in_exec = True
    replies = [connection.call(COMMANDS[words[0].upper()][0], words) for words in queued]
    connection.server.in_exec = False
    return replies


def discard(connection: Connection, _words: Words) -> Any:
    if connection.queued is None:
        raise ErrorReply("ERR DISCARD without MULTI")
    connection.end_multi()
    return b"OK"


def watch(connection: Connection, words: Words) -> Any:
    if connection.queued is not None:
        raise ErrorReply("ERR WATCH inside MULTI is not allowed")
    connection.watched.update(words[1:])
    return b"OK"


def unwatch(connection: Connection, _words: Words) -> Any:
    connection.watched.clear()
    connection.touched = False
    return b"OK"


# Streams.


def xadd(connection: Connection, words: Words) -> Any:
    key, at, create = words[1], 2, True
    trim: tuple[bytes, bool] | None = None
    while at < len(words):
        option = words[at].upper()
        if option == b"NOMKSTREAM":
            create = False
            at += 1
        elif option == b"MINID" and at + 1 < len(words):
            approximate = words[at + 1] in (b"~", b"=")
            at += approximate
            if at + 1 >= len(words):
                raise ErrorReply(SYNTAX)
            trim = (words[at + 1], words[at] == b"~")
            at += 2
        else:
            break
    wanted = added_id_of(words[at])
    fields = words[at + 1 :]
    if len(fields) < 2 or len(fields) % 2:
        raise ErrorReply("ERR wrong number of arguments for 'xadd' command")
    id = added_id(connection, key, wanted, create)
    if id is None:
        return None
    connection.server.write(("xadd", key, id, tuple(fields)))
    if trim is not None:
        trim_stream(connection, key, id_of(trim[0]), trim[1])
    return text_of(id)


def added_id_of(text: bytes) -> tuple[int, int]:
    """(ms, sequence) as XADD names an id; -1 for what the server chooses."""
    if text == b"*":
        return -1, -1
    head, dash, tail = text.partition(b"-")
    ms = unsigned(head)
    if not dash:
        return ms, 0
    return ms, -1 if tail == b"*" else unsigned(tail)


def added_id(
    connection: Connection, key: bytes, wanted: tuple[int, int], create: bool
) -> StreamId | None:
    """The id that an entry gets; None where NOMKSTREAM forbids it."""
    ms, sequence = wanted
    if wanted == (0, 0):
        raise ErrorReply("ERR The ID specified in XADD must be greater than 0-0")
    stream = connection.stream(key)
    if stream is None:
        if not create:
            return None
        stream = Stream()
    if ms < 0:
        ms = max(connection.server.clock_us() // 1000, stream.last[0])
    later = wanted if wanted > stream.last else None
    id = stream.next_id(ms) if sequence < 0 else later
    if id is None:
        raise ErrorReply(SMALLER_ID)
    return id


def trim_stream(
    connection: Connection, key: bytes, before: StreamId, approximate: bool, limit: int = 0
) -> int:
    stream = connection.stream(key)
    count = stream.trimmed_by(before, approximate) if stream else 0
    if limit and count > limit:
        count = limit - limit % NODE_ENTRIES
    if count:
        connection.server.write(("xtrim", key, count))
    return count


def xtrim(connection: Connection, words: Words) -> Any:
    if words[2].upper() != b"MINID":
        raise ErrorReply(SYNTAX)
    given = words[3] in (b"~", b"=")
    if len(words) < 4 + given:
        raise ErrorReply(SYNTAX)
    before = id_of(words[3 + given])
    limit, rest = 0, words[4 + given :]
    if rest:
        if len(rest) != 2 or rest[0].upper() != b"LIMIT":
            raise ErrorReply(SYNTAX)
        limit = number_of(rest[1])
        if words[3] != b"~":
            raise ErrorReply("ERR syntax error, LIMIT cannot be used without the special ~ option")
    return trim_stream(connection, words[1], before, words[3] == b"~", limit)


def xrange(connection: Connection, words: Words) -> Any:
    return ranged(connection, words, words[2], words[3], Stream.range)


def xrevrange(connection: Connection, words: Words) -> Any:
    return ranged(connection, words, words[3], words[2], Stream.range_back)


def ranged(connection: Connection, words: Words, lower: bytes, upper: bytes, read: Callable) -> Any:
    first, last = bound_of(lower, lower=True), bound_of(upper, lower=False)
    count = -1
    if len(words) > 4:
        if len(words) != 6 or words[4].upper() != b"COUNT":
            raise ErrorReply(SYNTAX)
        count = max(0, number_of(words[5]))
    stream = connection.stream(words[1])
    if count == 0 and stream is not None:
        return None
    return read(stream, first, last, count) if stream else []


def xread(connection: Connection, words: Words) -> Any:
    count, block, at = 0, -1, 1
    while words[at].upper() != b"STREAMS":
        option = words[at].upper()
        if at + 2 >= len(words) or option not in (b"COUNT", b"BLOCK"):
            raise ErrorReply(SYNTAX)
        if option == b"COUNT":
            count = max(0, number_of(words[at + 1]))
        else:
            block = number_of(words[at + 1], "ERR timeout is not an integer or out of range")
        at += 2
    names = words[at + 1 :]
    if len(names) != 2:
        raise ErrorReply(
            "ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be "
            "specified."
        )
    key = names[0]
    stream = connection.stream(key)
    after = (stream.last if stream else (0, 0)) if names[1] == b"$" else id_of(names[1])
    reply = read_after(stream, key, after, count)
    if reply is not None or block < 0 or connection.server.in_exec:
        return reply
    timer = connection.server.later(block / 1000, connection.unblock, None) if block else None
    connection.blocked = ("xread", key, after, count, timer)
    connection.server.blocked[connection] = None
    return BLOCKED


def read_after(stream: Stream | None, key: bytes, after: StreamId, count: int) -> Any:
    if stream is None or stream.last <= after:
        return None
    first = (after[0], after[1] + 1) if after[1] < SEQUENCE_MAX else (after[0] + 1, 0)
    found = stream.range(first, (SEQUENCE_MAX, SEQUENCE_MAX), count or -1)
    return [[key, found]] if found else None


def xlen(connection: Connection, words: Words) -> Any:
    stream = connection.stream(words[1])
    return len(stream.ids) if stream else 0


def xinfo(connection: Connection, words: Words) -> Any:
    if words[1].upper() != b"STREAM":
        raise ErrorReply(SYNTAX)
    stream = connection.stream(words[2])
    if stream is None:
        raise ErrorReply("ERR no such key")
    ends = (0, len(stream.ids) - 1) if stream.ids else ()
    first = stream.ids[0] if stream.ids else (0, 0)
    return [
        *(b"length", len(stream.ids)),
        *(b"radix-tree-keys", -(-len(stream.ids) // 100)),
        *(b"radix-tree-nodes", 2),
        *(b"last-generated-id", text_of(stream.last)),
        # Trimming does not count as deleting.
        *(b"max-deleted-entry-id", b"0-0"),
        *(b"entries-added", stream.added),
        *(b"recorded-first-entry-id", text_of(first)),
        *(b"groups", 0),
        *(b"first-entry", stream.entry(ends[0]) if ends else None),
        *(b"last-entry", stream.entry(ends[1]) if ends else None),
    ]


# Keys and the server.


def memory(connection: Connection, words: Words) -> Any:
    stream = connection.stream(words[2]) if len(words) > 2 else None
    return stream.bytes + 100 * len(stream.ids) + 600 if stream else None


def delete(connection: Connection, words: Words) -> Any:
    gone = [key for key in words[1:] if key in connection.server.data.streams]
    for key in gone:
        connection.server.write(("del", key))
    return len(gone)


def exists(connection: Connection, words: Words) -> Any:
    return sum(key in connection.server.data.streams for key in words[1:])


def type_(connection: Connection, words: Words) -> Any:
    return b"stream" if connection.stream(words[1]) else b"none"


def flushall(connection: Connection, _words: Words) -> Any:
    connection.server.write(("flushall",))
    return b"OK"


def ping(_connection: Connection, _words: Words) -> Any:
    return b"PONG"


def ok(_connection: Connection, _words: Words) -> Any:
    return b"OK"


def time(connection: Connection, _words: Words) -> Any:
    seconds, micros = divmod(connection.server.clock_us(), 1_000_000)
    return [b"%d" % seconds, b"%d" % micros]


def role(connection: Connection, _words: Words) -> Any:
    server = connection.server
    if server.master is not None:
        host, port = server.master
        state = b"connected" if server.feed is not None else b"connect"
        return [b"slave", host.encode(), port, state, server.offset if server.feed else -1]
    replicas = [
        [feed.replica.host.encode(), b"%d" % feed.replica.port, b"%d" % feed.acknowledged]
        for feed in server.feeds
    ]
    return [b"master", server.offset, replicas]


def info(connection: Connection, words: Words) -> Any:
    return connection.server.info({part.decode().lower() for part in words[1:]})


def config(connection: Connection, words: Words) -> Any:
    settings = connection.server.settings()
    if words[1].upper() == b"GET":
        return [part for key in words[2:] if key in settings for part in (key, settings[key])]
    return b"OK"


def wait(connection: Connection, words: Words) -> Any:
    server = connection.server
    if server.master is not None:
        raise ErrorReply(
            "ERR WAIT cannot be used with replica instances. Please also note that since Redis "
            "4.0 if a replica is configured to be writable (which is not the default) writes to "
            "replicas are just local and are not propagated."
        )
    wanted = number_of(words[1])
    timeout = number_of(words[2], "ERR timeout is not an integer or out of range")
    reached = server.reached(connection.offset)
    if reached >= wanted or server.in_exec:
        return reached
    timer = server.later(timeout / 1000, wait_over, connection) if timeout else None
    connection.blocked = ("wait", wanted, connection.offset, timer)
    server.blocked[connection] = None
    return BLOCKED


def wait_over(connection: Connection) -> None:
    assert connection.blocked is not None
    connection.unblock(connection.server.reached(connection.blocked[2]))


def client(connection: Connection, words: Words) -> Any:
    if words[1].upper() == b"ID":
        return connection.server.connections[connection]
    return b"OK"


def replicaof(connection: Connection, words: Words) -> Any:
    if words[1].upper() == b"NO":
        connection.server.promote()
    else:
        connection.server.follow((words[1].decode(), int(words[2])))
    return b"OK"


# Name -> (function, arity as of COMMAND, writes, may be refused for memory).
COMMANDS: dict[bytes, tuple[Callable[[Connection, Words], Any], int, bool, bool]] = {
    b"MULTI": (multi, 1, False, False),
    b"EXEC": (exec_, 1, False, False),
    b"DISCARD": (discard, 1, False, False),
    b"WATCH": (watch, -2, False, False),
    b"UNWATCH": (unwatch, 1, False, False),
    b"XADD": (xadd, -5, True, True),
    b"XTRIM": (xtrim, -4, True, False),
    b"XRANGE": (xrange, -4, False, False),
    b"XREVRANGE": (xrevrange, -4, False, False),
    b"XREAD": (xread, -4, False, False),
    b"XLEN": (xlen, 2, False, False),
    b"XINFO": (xinfo, -3, False, False),
    b"MEMORY": (memory, -2, False, False),
    b"DEL": (delete, -2, True, False),
    b"EXISTS": (exists, -2, False, False),
    b"TYPE": (type_, 2, False, False),
    b"FLUSHALL": (flushall, -1, True, False),
    b"PING": (ping, -1, False, False),
    b"TIME": (time, 1, False, False),
    b"ROLE": (role, 1, False, False),
    b"INFO": (info, -1, False, False),
    b"CONFIG": (config, -2, False, False),
    b"WAIT": (wait, 3, False, False),
    b"CLIENT": (client, -2, False, False),
    b"REPLICAOF": (replicaof, 3, False, False),
    b"AUTH": (ok, -2, False, False),
    b"SELECT": (ok, 2, False, False),
}
# What may be refused besides writes.
CHECKED = {b"EXEC", b"PING", b"XRANGE", b"XREVRANGE", b"XREAD", b"XLEN", b"XINFO", b"WATCH"}
AT_ONCE = {b"EXEC", b"DISCARD", b"MULTI", b"WATCH"}
WHILE_LOADING = {b"INFO", b"MULTI", b"EXEC", b"DISCARD", b"WATCH", b"UNWATCH", b"AUTH", b"CLIENT"}
