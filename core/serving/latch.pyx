"""Latches of persons: one for many of them, the same for all identities of one."""

cdef enum:
    PERSON_LATCHES = 1024
    # Links may change while a latch is awaited; in the end any identity's does.
    LATCH_TRIES = 4


cdef inline uint64_t person_key(const Person* person, uint64_t hash) noexcept nogil:
    """The same for all identities of a person, of which one has that hash: the smallest of them."""
    cdef uint64_t key = hash
    cdef uint32_t i
    for i in range(person.count if person.count > 1 else 0):
        key = min(key, identity_hash(row_identity(person.rows[i].row, person.rows[i].layout)))
    return key


cdef uint32_t* latch_person(
    uint32_t* latches, StoreState* store, IdentityRef identity, Person* person,
    StoreStatus* status, bint* waited,
) noexcept nogil:
    """Read a person under the latch of all their identities, which the caller drops.

    latches: PERSON_LATCHES.  `status` is that of the read; `waited` is set where another had it.
    """
    cdef uint64_t hash = identity_hash(identity)
    cdef uint64_t key = hash
    cdef uint32_t* latch = NULL
    cdef int _try
    for _try in range(LATCH_TRIES):
        if latch != NULL:
            latch_drop(latch)
        latch = &latches[key % PERSON_LATCHES]
        if not latch_try(latch):
            waited[0] = True
            latch_take(latch)
        status[0] = store_read_hashed(store, identity, hash, person)
        key = person_key(person, hash)
        if latch == &latches[key % PERSON_LATCHES]:
            break
    return latch
