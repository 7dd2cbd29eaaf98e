# What the store is made of: limits, statuses and the layout of its memory.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libcpp cimport bool as cpp_bool
from libcpp.unordered_map cimport unordered_map
from libcpp.vector cimport vector


cdef extern from "profile/native.h" nogil:
    uint64_t XXH3_64bits(const void* data, size_t length)
    uint64_t XXH3_64bits_withSeed(const void* data, size_t length, uint64_t seed)
    ctypedef struct XXH128_hash_t:
        uint64_t low64
        uint64_t high64
    XXH128_hash_t XXH3_128bits_withSeed(const void* data, size_t length, uint64_t seed)
    cpp_bool latch_try(uint32_t* latch)
    void latch_take(uint32_t* latch)
    void latch_drop(uint32_t* latch)
    uint64_t atomic_read(const uint64_t* cell)
    void atomic_write(uint64_t* cell, uint64_t value)
    void atomic_release(uint64_t* cell, uint64_t value)
    uint64_t atomic_add(uint64_t* cell, uint64_t value)
    uint64_t atomic_swap(uint64_t* cell, uint64_t value)
    cpp_bool atomic_replace(uint64_t* cell, uint64_t* seen, uint64_t value)
    T* atomic_pointer_read[T](T** cell)
    void atomic_pointer_write[T](T** cell, T* value)
    void fetch_ahead(const void* at)
    void fetch_to_write(const void* at)
    int lowest_bit_64(uint64_t bits)
    uint64_t double_bits(double value)
    double bits_double(uint64_t bits)
    size_t malloc_usable_size(void* memory)


cdef enum:
    ATTRIBUTES_MAX = 1024
    COUNTERS_MAX = 512
    LAYOUTS_MAX = 4096
    SHARDS = 4096
    SHARD_SHIFT = 52  # a shard is the hash's top 12 bits, so shards follow each other in hash order
    TABLE_START = 8
    CACHE_LINE = 64
    PREFETCH_BYTES_MAX = 8192
    PINS_MAX = 256
    COMPONENT_MAX = 64
    STORED_ID_MAX = 1024
    RING_BUCKETS_MAX = 1024
    LAST_N_MAX = 1024
    DISTINCT_MAX = 65536
    COUNTER_SETS_MAX = 65535
    SET_WORDS = 8  # COUNTERS_MAX bits
    HEAP_SHARDS = 16
    HEAP_CHUNK = 16384
    HEAP_CHUNKS_MAX = 1024
    STAMP_MS_SHIFT = 16
    EVENT_SECONDS_MAX = 4294967290  # 2106-02-07: bucket numbers and times fit in 32 bits

# Types and aggregates are those of core/playbook/plan.py.
cdef enum:
    STORED_BOOL = 1
    STORED_INT = 2
    STORED_DOUBLE = 3
    STORED_STRING = 4
    STORED_TIMESTAMP = 5
    STORED_STRING_LIST = 6
    STORED_VECTOR = 7

cdef enum:
    COUNTS = 1
    SUMS = 2
    MINIMUM = 3
    MAXIMUM = 4
    FIRST = 5
    LAST = 6
    LAST_N = 7
    DISTINCT = 8

cdef enum StoreStatus:
    STORE_OK = 0
    STORE_UNKNOWN = 1  # nobody has written of this identity; the person is empty
    STORE_DUPLICATE = 2  # every counter had counted the event before
    STORE_DEAD = 3  # the mutation names an erased incarnation and was ignored
    STORE_TOO_LATE = 4  # the event's id is older than the horizon and was ignored
    STORE_FULL_DEDUPE = 5
    STORE_FULL_SETS = 6
    STORE_WRONG_TYPE = 7  # a value is not of its column's type; nothing was applied
    STORE_INVALID = 8  # an unknown column, an event time out of 1970..2106, a link to itself
    STORE_NO_MEMORY = 9

cdef struct IdentityRef:
    uint8_t kind
    const char* id
    uint32_t length

cdef struct AttributeInput:
    uint32_t column
    Value value

cdef struct CounterInput:
    uint32_t column
    Value value

# Bytes that rows refer to by a 32-bit handle: a string, or a list's items and their strings.
cdef struct Blob:
    uint32_t refs
    uint32_t length
    uint64_t hash  # 0: not interned

cdef struct Retired:
    uint32_t handle
    uint64_t epoch

cdef struct HeapShard:
    uint32_t latch
    uint32_t next
    uint32_t* table
    uint64_t capacity
    uint64_t count
    uint64_t bytes
    uint64_t reclaim_at
    Blob** chunks[HEAP_CHUNKS_MAX]
    vector[uint32_t]* free_handles
    vector[Retired]* retired

# A reader's own cache line: the epoch it reads in, 0 when it reads nothing.
cdef struct Pin:
    uint64_t epoch
    uint64_t taken
    uint64_t unused[6]

cdef struct AttributeColumn:
    uint64_t hash  # of name and type, the same on every node
    uint8_t type
    uint8_t pii

cdef struct CounterColumn:
    uint64_t hash  # of the key
    uint8_t aggregate
    uint8_t type
    uint32_t limit
    uint32_t span  # buckets before the newest one that a window can reach
    int64_t window_us
    int64_t resolution_us  # 0: one bucket

cdef struct AttributeSlot:
    uint8_t type
    uint16_t at  # bytes into the row, or the number of the bit for a bool

cdef struct CounterSlot:
    uint16_t value_at  # 0: the counter's state is in the side block only
    uint16_t bucket_at
    uint16_t width

# Where each column lies in a row.  Never changed and never freed: readers hold copied rows.
cdef struct Layout:
    uint32_t number
    uint32_t attributes
    uint32_t counters
    uint32_t written_at
    uint32_t present_at
    uint32_t bools_at
    uint32_t size  # the id follows
    AttributeSlot* attribute_slots
    CounterSlot* counter_slots

cdef enum:
    ROW_HAD_EVENT = 1
    ROW_OVERFLOWED = 2  # a sum has wrapped around on this node

# The identity's bytes and the slots follow.
cdef struct Row:
    Side* side
    uint64_t base_stamp
    uint32_t touched_s
    uint32_t incarnation
    uint16_t layout
    uint16_t written  # attributes that have a stamp
    uint16_t id_length
    uint8_t kind
    uint8_t flags

cdef enum:
    STAMPS = 0
    BUCKETS = 1
    MOMENTS = 2
    EDGES = 3
    HASHES = 4
    SECTIONS = 5

# What seldom changes or grows: sections of cells, each sorted, one after the other.
cdef struct Side:
    uint32_t capacity
    uint32_t count[SECTIONS]

cdef struct StampCell:
    uint32_t column
    uint32_t unused
    uint64_t stamp

cdef struct BucketCell:
    uint32_t column
    uint32_t bucket
    int64_t value

cdef struct MomentCell:
    uint32_t column
    uint32_t bucket
    int64_t time_us
    uint64_t event
    uint64_t value

cdef struct EdgeCell:
    uint64_t other_hash
    uint64_t stamp
    uint32_t other  # a blob: the kind's byte and the id
    uint32_t incarnation
    uint32_t linked
    uint32_t unused

cdef struct HashCell:
    uint32_t column
    uint32_t bucket
    uint64_t hash

cdef struct RowSlot:
    uint64_t hash
    Row* row

cdef struct SeenEvent:
    uint64_t identity
    uint64_t event  # of id, payload and incarnation; 0: an empty slot
    uint32_t time_s
    uint16_t counters  # the number of a counter set
    uint16_t incarnation

# What is copied into a snapshot at once.  All zero while it is empty: most stores are small.
cdef struct Shard:
    uint32_t latch
    # Seconds: no event remembered is older.  Of no meaning while there is none.
    uint32_t oldest_s
    RowSlot* rows
    uint64_t rows_capacity
    uint32_t rows_count
    # Grows with each consent that is said, link and erasure of an identity in the shard.
    uint32_t grounds
    SeenEvent* seen
    uint64_t seen_capacity
    uint64_t seen_count
    unordered_map[uint64_t, uint32_t]* dead  # identity hash -> highest dead incarnation; or NULL

cdef struct CounterSet:
    uint64_t words[SET_WORDS]
    uint64_t hash  # order-free, of the counters' keys

cdef struct StoreState:
    Shard shards[SHARDS]  # each one cache line
    void* memory  # what the allocator gave: the state is aligned in it
    HeapShard heap[HEAP_SHARDS]
    Pin* pins
    uint64_t epoch
    uint64_t profiles
    uint64_t profiles_max
    uint64_t seen
    uint64_t seen_max
    uint64_t horizon_ms  # read without a latch; see store_horizon_ms
    uint64_t tombstones  # identities of which an incarnation is dead
    uint64_t erasures  # grows with each incarnation that dies
    uint64_t layout_rows[LAYOUTS_MAX]
    Layout* layouts[LAYOUTS_MAX]
    Layout* layout  # the newest
    AttributeColumn attributes[ATTRIBUTES_MAX]
    CounterColumn counters[COUNTERS_MAX]
    uint32_t link_latch
    uint32_t sets_latch
    uint32_t sets_count
    CounterSet* sets
    unordered_map[uint64_t, uint32_t]* sets_by_hash
    uint64_t relay_at

# Where the columns that stripes name lie in this store.
cdef struct StripeColumns:
    vector[uint32_t] attributes
    vector[uint32_t] counters

cdef struct PersonRow:
    const Row* row
    const Side* side
    const Layout* layout

# One reader's copies of the rows of a person, reused from read to read.
cdef struct Person:
    StoreState* store
    Pin* pin
    uint32_t count
    uint8_t* buffer
    size_t capacity
    size_t used
    # Of the identity that was asked for.
    uint64_t hash
    # Of the shards that were read, in this order: while it is the same, nobody has said, linked
    # or erased anything of the person since.
    uint64_t grounds
    size_t row_at[COMPONENT_MAX]
    size_t side_at[COMPONENT_MAX]
    PersonRow rows[COMPONENT_MAX]
