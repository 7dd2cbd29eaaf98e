"""Recent answers by decision id: the same id gets the same answer, while its grounds stand."""

cdef enum:
    CACHE_BYTES_MAX = 67108864
    CACHE_AGE_US_MAX = 60000000


cdef struct CachedAnswer:
    uint64_t id_hash
    uint64_t request_hash
    int64_t at_us
    Grounds grounds
    # The id's bytes, then the answer's.
    uint8_t* data
    uint32_t id_length
    uint32_t length


cdef enum CacheResult:
    CACHE_MISS = 0
    CACHE_HIT = 1
    CACHE_OTHER_REQUEST = 2


cdef struct DecisionCache:
    # One thread at a time.
    uint32_t latch
    # First in, first out, in a ring; `index` finds the place by the id's hash.
    CachedAnswer* ring
    unordered_map[uint64_t, uint32_t]* index
    uint32_t capacity
    uint32_t first
    uint32_t count
    size_t bytes
    # Answers that had to go before their time.
    uint64_t evicted_early


cdef bint cache_init(DecisionCache* cache, uint32_t capacity) noexcept:
    """Make room for `capacity` answers of 64 MiB together, each kept for 60 s."""
    cache.capacity = capacity
    cache.ring = <CachedAnswer*>malloc(max(capacity, 1) * sizeof(CachedAnswer))
    cache.index = new unordered_map[uint64_t, uint32_t]()
    return cache.ring != NULL


cdef void cache_free(DecisionCache* cache) noexcept:
    while cache.count:
        cache_drop_first(cache)
    free(cache.ring)
    del cache.index


cdef void cache_drop_first(DecisionCache* cache) noexcept nogil:
    cdef CachedAnswer* answer = &cache.ring[cache.first]
    if cache.index.count(answer.id_hash) and cache.index[0][answer.id_hash] == cache.first:
        cache.index.erase(answer.id_hash)
    cache.bytes -= answer.id_length + answer.length
    free(answer.data)
    answer.data = NULL
    cache.first = (cache.first + 1) % cache.capacity
    cache.count -= 1


cdef const CachedAnswer* cache_look(
    DecisionCache* cache, Text id, int64_t now_us
) noexcept nogil:
    """What is kept of an id, for a caller that holds the latch; NULL for nothing."""
    cdef uint64_t id_hash = XXH3_64bits(id.data, id.length)
    cdef const CachedAnswer* found
    if cache.index.count(id_hash) == 0:
        return NULL
    found = &cache.ring[cache.index[0][id_hash]]
    if now_us - found.at_us > CACHE_AGE_US_MAX:
        return NULL
    if found.id_length != id.length or memcmp(found.data, id.data, id.length) != 0:
        return NULL
    return found


cdef int cache_give(
    const CachedAnswer* found, uint64_t request_hash, Writer* writer
) noexcept nogil:
    """Append what was found to the writer, where the request is the same."""
    if found.request_hash != request_hash:
        return CACHE_OTHER_REQUEST
    put_raw(writer, found.data + found.id_length, found.length)
    return CACHE_HIT


cdef int cache_find(
    DecisionCache* cache, Text id, uint64_t request_hash, int64_t now_us, Writer* writer,
    Grounds* grounds,
) noexcept nogil:
    """Look an id up; on a hit the answer is appended to the writer, and what it rests on told."""
    cdef const CachedAnswer* found
    cdef int result = CACHE_MISS
    latch_take(&cache.latch)
    found = cache_look(cache, id, now_us)
    if found != NULL:
        grounds[0] = found.grounds
        result = cache_give(found, request_hash, writer)
    latch_drop(&cache.latch)
    return result


cdef int cache_put(
    DecisionCache* cache, Text id, uint64_t request_hash, int64_t now_us, Writer* writer,
    size_t start, const Grounds* grounds,
) noexcept nogil:
    """Keep the answer that the writer holds from `start`; the oldest ones go to make room.

    Of two threads that answer one id at once, on the same grounds, the first one's answer stands:
    it replaces the second one's, CACHE_HIT.
    """
    cdef const CachedAnswer* found
    cdef int result = CACHE_MISS
    latch_take(&cache.latch)
    found = cache_look(cache, id, now_us)
    if found == NULL or (
        found.request_hash == request_hash and not grounds_same(&found.grounds, grounds, now_us)
    ):
        cache_add(
            cache, id, request_hash, now_us, writer.data + start, writer.length - start, grounds
        )
    else:
        writer.length = start
        result = cache_give(found, request_hash, writer)
    latch_drop(&cache.latch)
    return result


cdef inline bint grounds_same(
    const Grounds* kept, const Grounds* other, int64_t now_us
) noexcept nogil:
    return now_us < kept.until_us and (
        kept.person == other.person and kept.consents == other.consents
    )


cdef void cache_add(
    DecisionCache* cache, Text id, uint64_t request_hash, int64_t now_us, const uint8_t* data,
    size_t length, const Grounds* grounds,
) noexcept nogil:
    cdef CachedAnswer* answer
    cdef uint8_t* copy
    cdef uint32_t place
    cdef size_t need = id.length + length
    if need > CACHE_BYTES_MAX // 4 or cache.capacity == 0:
        cache.evicted_early += 1
        return
    while cache.count and (
        cache.count == cache.capacity or cache.bytes + need > CACHE_BYTES_MAX
    ):
        if now_us - cache.ring[cache.first].at_us <= CACHE_AGE_US_MAX:
            cache.evicted_early += 1
        cache_drop_first(cache)
    copy = <uint8_t*>malloc(need)
    if copy == NULL:
        cache.evicted_early += 1
        return
    memcpy(copy, id.data, id.length)
    memcpy(copy + id.length, data, length)
    place = (cache.first + cache.count) % cache.capacity
    answer = &cache.ring[place]
    answer.id_hash = XXH3_64bits(id.data, id.length)
    answer.request_hash = request_hash
    answer.at_us = now_us
    answer.grounds = grounds[0]
    answer.data = copy
    answer.id_length = id.length
    answer.length = <uint32_t>length
    cache.count += 1
    cache.bytes += need
    cache.index[0][answer.id_hash] = place
