"""Recent answers by decision id: the same id gets the same answer."""

cdef enum:
    CACHE_BYTES_MAX = 67108864
    CACHE_AGE_US_MAX = 60000000


cdef struct CachedAnswer:
    uint64_t id_hash
    uint64_t request_hash
    int64_t at_us
    # The id's bytes, then the answer's.
    uint8_t* data
    uint32_t id_length
    uint32_t length


cdef enum CacheResult:
    CACHE_MISS = 0
    CACHE_HIT = 1
    CACHE_OTHER_REQUEST = 2


cdef struct DecisionCache:
    # First in, first out, in a ring; `index` finds the place by the id's hash.
    CachedAnswer* ring
    uint32_t capacity
    uint32_t first
    uint32_t count
    size_t bytes
    # Answers that had to go before their time.
    uint64_t evicted_early


@cython.final
cdef class AnswerCache:
    """At most `capacity` answers of 64 MiB together, each for 60 s."""

    cdef DecisionCache cache
    cdef unordered_map[uint64_t, uint32_t] index

    def __cinit__(self, uint32_t capacity):
        self.cache.capacity = capacity
        self.cache.ring = <CachedAnswer*>calloc(max(capacity, 1), sizeof(CachedAnswer))
        if self.cache.ring == NULL:
            raise MemoryError("answer cache")

    def __dealloc__(self):
        while self.cache.count:
            self.drop_first()
        free(self.cache.ring)

    cdef void drop_first(self) noexcept nogil:
        cdef CachedAnswer* answer = &self.cache.ring[self.cache.first]
        if self.index.count(answer.id_hash) and self.index[answer.id_hash] == self.cache.first:
            self.index.erase(answer.id_hash)
        self.cache.bytes -= answer.id_length + answer.length
        free(answer.data)
        answer.data = NULL
        self.cache.first = (self.cache.first + 1) % self.cache.capacity
        self.cache.count -= 1

    cdef int find(
        self, Text id, uint64_t request_hash, int64_t now_us, CachedAnswer* answer
    ) noexcept nogil:
        """Look an id up; on a hit `answer` is filled and valid until the next put."""
        cdef uint64_t id_hash = XXH3_64bits(id.data, id.length)
        cdef CachedAnswer* found
        if self.index.count(id_hash) == 0:
            return CACHE_MISS
        found = &self.cache.ring[self.index[id_hash]]
        if now_us - found.at_us > CACHE_AGE_US_MAX:
            return CACHE_MISS
        if found.id_length != id.length or memcmp(found.data, id.data, id.length) != 0:
            return CACHE_MISS
        if found.request_hash != request_hash:
            return CACHE_OTHER_REQUEST
        answer[0] = found[0]
        return CACHE_HIT

    cdef void put(
        self, Text id, uint64_t request_hash, int64_t now_us, const uint8_t* data, uint32_t length
    ) noexcept nogil:
        """Keep an answer; the oldest ones go to make room."""
        cdef CachedAnswer* answer
        cdef uint8_t* copy
        cdef uint32_t place
        cdef size_t need = id.length + length
        if need > CACHE_BYTES_MAX // 4 or self.cache.capacity == 0:
            self.cache.evicted_early += 1
            return
        while self.cache.count and (
            self.cache.count == self.cache.capacity or self.cache.bytes + need > CACHE_BYTES_MAX
        ):
            if now_us - self.cache.ring[self.cache.first].at_us <= CACHE_AGE_US_MAX:
                self.cache.evicted_early += 1
            self.drop_first()
        copy = <uint8_t*>malloc(need)
        if copy == NULL:
            self.cache.evicted_early += 1
            return
        memcpy(copy, id.data, id.length)
        memcpy(copy + id.length, data, length)
        place = (self.cache.first + self.cache.count) % self.cache.capacity
        answer = &self.cache.ring[place]
        answer.id_hash = XXH3_64bits(id.data, id.length)
        answer.request_hash = request_hash
        answer.at_us = now_us
        answer.data = copy
        answer.id_length = id.length
        answer.length = length
        self.cache.count += 1
        self.cache.bytes += need
        self.index[answer.id_hash] = place
