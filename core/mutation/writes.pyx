"""Writes: the stamps that recent write ids got, so that a repeat gets the same one."""

from collections import OrderedDict

cdef enum:
    WRITES_REMEMBERED_MAX = 100000
    ERASURES_REMEMBERED_MAX = 10000


@cython.final
cdef class Writes:
    """The most recent write ids, the oldest first."""

    cdef object stamps

    def __cinit__(self):
        self.stamps = OrderedDict()

    cdef uint64_t stamp(self, Text write_id, uint64_t digest, uint64_t stamp) except? 0:
        """The first stamp of a repeated write, which makes it harmless; else `stamp` itself.

        Raises AlreadyUsedError for an id that was used for another request.
        """
        key = text_str(write_id)
        before = self.stamps.get(key)
        if before is None:
            self.stamps[key] = (digest, stamp)
            if len(self.stamps) > WRITES_REMEMBERED_MAX:
                self.stamps.popitem(last=False)
            return stamp
        if before[0] != digest:
            raise errors.AlreadyUsedError("write_id", repr(key))
        return before[1]


@cython.final
cdef class Erasures:
    """The most recent erasures by the id of their request, the oldest first, of any node."""

    cdef object by_id

    def __cinit__(self):
        self.by_id = OrderedDict()

    cdef bytes find(self, Text write_id):
        """The Erasure of a repeated request; None for a new one."""
        return self.by_id.get(text_str(write_id))

    cdef int remember(self, Text write_id, bytes erasure) except -1:
        if write_id.length:
            self.by_id.setdefault(text_str(write_id), erasure)
            if len(self.by_id) > ERASURES_REMEMBERED_MAX:
                self.by_id.popitem(last=False)
        return 0
