"""Parked: mutations that name a playbook this node does not have yet."""

cdef enum:
    PARKED_MAX = 100000
    PARKED_BYTES_MAX = 268435456


@cython.final
cdef class Parked:
    """Mutations by the playbook's hash; none is dropped, a new one over the bounds is refused."""

    cdef dict by_hash
    cdef uint64_t count
    cdef uint64_t bytes

    def __cinit__(self):
        self.by_hash = {}

    cdef int put(self, bytes hash_bytes, Text mutation) except -1:
        if self.count >= PARKED_MAX or self.bytes + mutation.length > PARKED_BYTES_MAX:
            raise errors.StoreFullError(
                f"mutation: {self.count} mutations of {self.bytes} bytes wait for playbooks "
                "this node does not have"
            )
        self.by_hash.setdefault(hash_bytes, []).append(mutation.data[:mutation.length])
        self.count += 1
        self.bytes += mutation.length
        return 0

    cdef bytes peek(self, bytes hash_bytes):
        """The last one that waits for the playbook; None when none does."""
        waiting = self.by_hash.get(hash_bytes)
        return waiting[len(waiting) - 1] if waiting else None

    cdef int drop(self, bytes hash_bytes) except -1:
        """Forget what `peek` gave."""
        waiting = self.by_hash[hash_bytes]
        self.bytes -= len(waiting.pop())
        self.count -= 1
        if not waiting:
            del self.by_hash[hash_bytes]
        return 0
