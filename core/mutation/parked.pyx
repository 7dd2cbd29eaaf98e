"""Parked: events and attributes that name a playbook this node does not have yet.

What waits here is state: each once, none dropped.  An event that was in time when it came is in
time when it is applied.
"""

cdef enum:
    PARKED_MAX = 100000
    PARKED_BYTES_MAX = 268435456


@cython.final
cdef class Parked:
    """Mutations by the playbook's hash; a new one over the bounds is refused."""

    cdef dict by_hash
    cdef uint64_t count
    cdef uint64_t bytes

    def __cinit__(self):
        self.by_hash = {}

    cdef int put(self, bytes hash_bytes, Text mutation) except -1:
        """Keep a mutation, once however often it comes; StoreFullError when there are too many."""
        cdef bytes data = mutation.data[:mutation.length]
        waiting = self.by_hash.setdefault(hash_bytes, {})
        if data in waiting:
            return 0
        if self.count >= PARKED_MAX or self.bytes + mutation.length > PARKED_BYTES_MAX:
            raise errors.StoreFullError(
                f"mutation: {self.count} mutations of {self.bytes} bytes wait for playbooks "
                "this node does not have"
            )
        waiting[data] = None
        self.count += 1
        self.bytes += mutation.length
        return 0

    cdef bytes peek(self, bytes hash_bytes):
        """One that waits for the playbook; None when none does."""
        for mutation in self.by_hash.get(hash_bytes, ()):
            return mutation
        return None

    cdef int drop(self, bytes hash_bytes, bytes mutation) except -1:
        """Forget what `peek` gave."""
        waiting = self.by_hash[hash_bytes]
        del waiting[mutation]
        self.bytes -= len(mutation)
        self.count -= 1
        if not waiting:
            del self.by_hash[hash_bytes]
        return 0

    cdef bint forget(self, bytes hash_bytes, bytes mutation) except -1:
        """Forget one, if it waits."""
        if mutation not in self.by_hash.get(hash_bytes, ()):
            return False
        self.drop(hash_bytes, mutation)
        return True

    cdef list all(self):
        return [mutation for waiting in self.by_hash.values() for mutation in waiting]
