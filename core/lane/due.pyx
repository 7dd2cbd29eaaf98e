"""Due calls: those that wait, for the log or for their own bytes, by when their time is up.

A heap of streams.  Few calls are ever in it: one that is answered in the round it came in is not.
"""

cdef inline void due_place(StreamPool* pool, uint32_t at, Stream* stream) noexcept nogil:
    pool.due[at] = stream
    stream.due_place = at + 1


cdef void due_rise(StreamPool* pool, uint32_t at) noexcept nogil:
    cdef Stream* stream = pool.due[at]
    cdef uint32_t above
    while at:
        above = (at - 1) // 2
        if pool.due[above].due_ms <= stream.due_ms:
            break
        due_place(pool, at, pool.due[above])
        at = above
    due_place(pool, at, stream)


cdef void due_sink(StreamPool* pool, uint32_t at) noexcept nogil:
    cdef Stream* stream = pool.due[at]
    cdef uint32_t below
    while at < pool.due_count // 2:
        below = 2 * at + 1
        if below + 1 < pool.due_count and (
            pool.due[below + 1].due_ms < pool.due[below].due_ms
        ):
            below += 1
        if stream.due_ms <= pool.due[below].due_ms:
            break
        due_place(pool, at, pool.due[below])
        at = below
    due_place(pool, at, stream)


cdef void due_clear(StreamPool* pool, Stream* stream) noexcept nogil:
    """Forget when a call is due; one that is not in the heap is left alone."""
    cdef uint32_t at = stream.due_place - 1
    if stream.due_place == 0:
        return
    stream.due_place = 0
    pool.due_count -= 1
    if at == pool.due_count:
        return
    due_place(pool, at, pool.due[pool.due_count])
    due_sink(pool, at)
    due_rise(pool, at)


cdef void due_set(StreamPool* pool, Stream* stream, int64_t due_ms) noexcept nogil:
    """The heap has room for every stream: it grows with the pool."""
    due_clear(pool, stream)
    stream.due_ms = due_ms
    due_place(pool, pool.due_count, stream)
    pool.due_count += 1
    due_rise(pool, pool.due_count - 1)
