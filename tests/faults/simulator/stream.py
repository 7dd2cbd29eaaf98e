"""A Redis stream and the keys of one server, changed only by operations that replicate."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

StreamId = tuple[int, int]
# ("xadd", key, id, fields), ("xtrim", key, id), ("del", key), ("flushall",), ("ping",)
Operation = tuple
SEQUENCE_MAX = 2**64 - 1
# A stream's nodes hold this many entries; an approximate trim drops whole nodes only.
NODE_ENTRIES = 100


class Stream:
    """Entries by id, oldest first."""

    __slots__ = ("added", "bytes", "fields", "ids", "last")

    def __init__(self) -> None:
        self.ids: list[StreamId] = []
        self.fields: list[tuple[bytes, ...]] = []
        self.last: StreamId = (0, 0)
        self.added = 0
        self.bytes = 0

    def copy(self) -> Stream:
        made = Stream()
        made.ids = self.ids.copy()
        made.fields = self.fields.copy()
        made.last, made.added, made.bytes = self.last, self.added, self.bytes
        return made

    def add(self, id: StreamId, fields: tuple[bytes, ...]) -> None:
        self.ids.append(id)
        self.fields.append(fields)
        self.last = id
        self.added += 1
        self.bytes += sum(map(len, fields))

    def next_id(self, ms: int) -> StreamId | None:
        """What `<ms>-*` becomes; None when it would not be behind the last."""
        if ms == self.last[0]:
            return (ms, self.last[1] + 1) if self.last[1] < SEQUENCE_MAX else None
        return (ms, 0) if ms > self.last[0] else None

    def range(self, first: StreamId, last: StreamId, count: int = -1) -> list[list[object]]:
        start, end = bisect_left(self.ids, first), bisect_right(self.ids, last)
        if count >= 0:
            end = min(end, start + count)
        return [self.entry(i) for i in range(start, end)]

    def range_back(self, first: StreamId, last: StreamId, count: int = -1) -> list[list[object]]:
        start, end = bisect_left(self.ids, first), bisect_right(self.ids, last)
        if count >= 0:
            start = max(start, end - count)
        return [self.entry(i) for i in range(end - 1, start - 1, -1)]

    def entry(self, index: int) -> list[object]:
        return [text_of(self.ids[index]), list(self.fields[index])]

    def trimmed_by(self, before: StreamId, approximate: bool) -> int:
        count = bisect_left(self.ids, before)
        whole = count == len(self.ids) or not approximate
        return count if whole else count - count % NODE_ENTRIES

    def trim(self, count: int) -> None:
        if count:
            self.bytes -= sum(sum(map(len, fields)) for fields in self.fields[:count])
            del self.ids[:count], self.fields[:count]


def text_of(id: StreamId) -> bytes:
    return b"%d-%d" % id


class Data:
    """The keys of a server."""

    __slots__ = ("streams",)

    def __init__(self) -> None:
        self.streams: dict[bytes, Stream] = {}

    def copy(self) -> Data:
        made = Data()
        made.streams = {key: stream.copy() for key, stream in self.streams.items()}
        return made

    def bytes(self) -> int:
        return sum(stream.bytes for stream in self.streams.values())

    def apply(self, operation: Operation) -> None:
        """Do what a master did; the same on every replica."""
        kind = operation[0]
        if kind == "xadd":
            stream = self.streams.get(operation[1])
            if stream is None:
                stream = self.streams[operation[1]] = Stream()
            stream.add(operation[2], operation[3])
        elif kind == "xtrim":
            self.streams[operation[1]].trim(operation[2])
        elif kind == "del":
            self.streams.pop(operation[1], None)
        elif kind == "flushall":
            self.streams.clear()


def length_of(operation: Operation) -> int:
    """About how many bytes it adds to the replication stream; never 0."""
    if operation[0] == "xadd":
        return 60 + len(operation[1]) + sum(map(len, operation[3]))
    return 14 if operation[0] == "ping" else 40
