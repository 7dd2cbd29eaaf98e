"""Counts of latencies in log-linear buckets, as HdrHistogram keeps them.

Values below 2^(bits + 1) have a bucket each; above, every doubling is cut into 2^bits equal
buckets, so that a bucket is at most value / 2^bits wide.
"""

cdef enum:
    VALUE_BITS = 40  # 2^40 ns are 18 minutes; longer ones count as that
    FINE_BITS = 10  # within 0.1 %
    COARSE_BITS = 5  # within 3 %: one for each interval of a run
    FINE_BUCKETS = (VALUE_BITS - FINE_BITS + 1) << FINE_BITS
    COARSE_BUCKETS = (VALUE_BITS - COARSE_BITS + 1) << COARSE_BITS


cdef inline uint32_t bucket_of(int64_t value, uint32_t bits) noexcept nogil:
    """The bucket that counts a value."""
    cdef uint64_t bounded = 0 if value < 0 else <uint64_t>value
    cdef uint32_t shift
    if bounded >> VALUE_BITS:
        bounded = (<uint64_t>1 << VALUE_BITS) - 1
    if bounded < (<uint64_t>2 << bits):
        return <uint32_t>bounded
    shift = 63 - leading_zeros(bounded) - bits
    return (shift << bits) + <uint32_t>(bounded >> shift)


cdef inline uint64_t bucket_start(uint32_t bucket, uint32_t bits) noexcept nogil:
    """The least value that a bucket counts."""
    if bucket < (<uint32_t>2 << bits):
        return bucket
    return <uint64_t>((bucket & ((1 << bits) - 1)) + (1 << bits)) << ((bucket >> bits) - 1)


cdef inline uint64_t bucket_width(uint32_t bucket, uint32_t bits) noexcept nogil:
    """How many values a bucket counts."""
    return 1 if bucket < (<uint32_t>2 << bits) else <uint64_t>1 << ((bucket >> bits) - 1)


cdef struct Histogram:
    uint64_t* counts  # FINE_BUCKETS
    uint64_t count
    uint64_t sum
    int64_t least
    int64_t most


cdef bint histogram_init(Histogram* self) noexcept nogil:
    """False: no memory."""
    self.counts = <uint64_t*>calloc(FINE_BUCKETS, sizeof(uint64_t))
    self.count = self.sum = 0
    self.least = INT64_MAX
    self.most = 0
    return self.counts != NULL


cdef inline void histogram_add(Histogram* self, int64_t value) noexcept nogil:
    """Count a value."""
    self.counts[bucket_of(value, FINE_BITS)] += 1
    self.count += 1
    self.sum += <uint64_t>value
    if value < self.least:
        self.least = value
    if value > self.most:
        self.most = value


cdef list histogram_buckets(const Histogram* self):
    """(start, width, count) of every bucket that counts something."""
    return [
        (bucket_start(i, FINE_BITS), bucket_width(i, FINE_BITS), self.counts[i])
        for i in range(FINE_BUCKETS) if self.counts[i]
    ]


cdef struct Interval:
    uint32_t* counts  # COARSE_BUCKETS
    uint64_t count
    uint64_t failed
    int64_t most


cdef void interval_merge(Interval* into, Interval* other) noexcept nogil:
    """Add what `other` counted, and empty it."""
    cdef uint32_t i
    for i in range(COARSE_BUCKETS):
        into.counts[i] += other.counts[i]
    into.count += other.count
    into.failed += other.failed
    into.most = max(into.most, other.most)
    memset(other.counts, 0, COARSE_BUCKETS * sizeof(uint32_t))
    other.count = other.failed = 0
    other.most = 0


cdef int64_t interval_at(const Interval* self, double share) noexcept nogil:
    """The value below which that share of the interval's values lies; 0 of none."""
    cdef uint64_t total = 0
    cdef uint64_t seen = 0
    cdef uint64_t wanted
    cdef uint32_t i
    for i in range(COARSE_BUCKETS):
        total += self.counts[i]
    wanted = <uint64_t>ceil(share * total)
    for i in range(COARSE_BUCKETS):
        seen += self.counts[i]
        if seen and seen >= wanted:
            return min(
                self.most,
                <int64_t>(bucket_start(i, COARSE_BITS) + bucket_width(i, COARSE_BITS) - 1),
            )
    return 0
