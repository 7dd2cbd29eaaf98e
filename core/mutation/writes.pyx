"""Writes: the stamps that recent write ids got, so that a repeat gets the same one."""

from collections import OrderedDict

cdef enum:
    WRITES_REMEMBERED_MAX = 100000
    ERASURES_REMEMBERED_MAX = 10000
    # A person has some three identities.
    SETTLED_MAX = 30000


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
            raise errors.AlreadyUsedError("write_id", f"an id of {write_id.length} bytes")
        return before[1]


@cython.final
cdef class Erasures:
    """The most recent erasures by the id of their request, the oldest first, of any node.

    Of those that a snapshot holds there are only hashes: it must not name who was erased.
    """

    cdef object by_id
    cdef object settled

    def __cinit__(self):
        self.by_id = OrderedDict()
        self.settled = OrderedDict()

    cdef bytes find(self, Text write_id):
        """The Erasure of a repeated request; None for a new one."""
        return self.by_id.get(text_str(write_id))

    cdef bint is_settled(self, Text write_id, IdentityRef identity):
        """Whether a snapshot holds what this request has erased."""
        return write_id.length > 0 and erasure_hash(write_id, identity) in self.settled

    cdef int remember(self, Text write_id, bytes erasure) except -1:
        if write_id.length:
            self.by_id.setdefault(text_str(write_id), erasure)
            if len(self.by_id) > ERASURES_REMEMBERED_MAX:
                self.by_id.popitem(last=False)
        return 0

    cdef int settle(self, uint64_t hash) except -1:
        """Take over one of a snapshot's hashes."""
        self.settled[hash] = None
        if len(self.settled) > SETTLED_MAX:
            self.settled.popitem(last=False)
        return 0

    cdef list hashes(self):
        """What a snapshot holds of them, the oldest first."""
        cdef Reader reader
        cdef IdentityRef identity
        cdef uint32_t incarnation = 0
        found = dict(self.settled)
        for erasure in self.by_id.values():
            reader = reader_of(<char*>(<bytes>erasure), len(erasure))
            while next_erased(&reader, &identity, &incarnation):
                found[erasure_hash(erasure_id(text_from(erasure)), identity)] = None
        return list(found)[-SETTLED_MAX:]


cdef uint64_t erasure_hash(Text write_id, IdentityRef identity) noexcept nogil:
    """Of a request's id and an identity that it erased."""
    return XXH3_64bits_withSeed(write_id.data, write_id.length, identity_hash(identity))
