"""The store: every profile's attributes, counters and links, in memory.

This file owns the Store, the Python face of the state; the files it includes hold the
structs and the loops over them.  Nothing here knows of playbooks or requests.
"""

from time import perf_counter_ns
from typing import NamedTuple

include "types.pyx"
include "heap.pyx"
include "layout.pyx"
include "side.pyx"
include "attribute.pyx"
include "counter.pyx"
include "table.pyx"
include "apply.pyx"
include "person.pyx"
include "digest.pyx"
include "upkeep.pyx"
include "columns.pyx"


STRIPES = SHARDS


cdef enum:
    HEAP_TABLE_START = 64
    SCAN_MAX = 100000
    READ_ARENA = 1048576


cdef StoreState* state_new(uint64_t profiles_max, uint64_t seen_max) except NULL:
    cdef void* memory = calloc(1, sizeof(StoreState) + CACHE_LINE)
    cdef StoreState* store
    cdef int i
    if memory == NULL:
        raise MemoryError("store")
    store = <StoreState*>((<size_t>memory + CACHE_LINE - 1) & ~<size_t>(CACHE_LINE - 1))
    store.memory = memory
    store.epoch = 1
    store.profiles_max = profiles_max
    store.seen_max = seen_max
    store.pins = <Pin*>calloc(PINS_MAX, sizeof(Pin))
    store.sets = <CounterSet*>calloc(COUNTER_SETS_MAX + 1, sizeof(CounterSet))
    store.sets_by_hash = new unordered_map[uint64_t, uint32_t]()
    for i in range(HEAP_SHARDS):
        store.heap[i].next = 1
        store.heap[i].reclaim_at = 256
        store.heap[i].capacity = HEAP_TABLE_START
        store.heap[i].table = <uint32_t*>calloc(HEAP_TABLE_START, sizeof(uint32_t))
        store.heap[i].free_handles = new vector[uint32_t]()
        store.heap[i].retired = new vector[Retired]()
    store.layouts[0] = layout_new(store, 0, 0, 0)
    store.layout = store.layouts[0]
    if not state_whole(store):
        state_free(store)
        raise MemoryError("store")
    return store


cdef bint state_whole(const StoreState* store) noexcept:
    """Whether memory was there for all that `state_new` takes."""
    cdef int i
    for i in range(HEAP_SHARDS):
        if store.heap[i].table == NULL:
            return False
    return store.pins != NULL and store.sets != NULL and store.layout != NULL


cdef void state_free(StoreState* store) noexcept:
    cdef uint64_t i, j
    cdef RowSlot* rows
    for i in range(SHARDS):
        rows = store.shards[i].rows
        for j in range(store.shards[i].rows_capacity):
            if rows[j].row != NULL:
                free(rows[j].row.side)
                free(rows[j].row)
        free(rows)
        free(store.shards[i].seen)
        del store.shards[i].dead
    for i in range(HEAP_SHARDS):
        heap_free(&store.heap[i])
    for i in range(LAYOUTS_MAX):
        layout_free(store.layouts[i])
    del store.sets_by_hash
    free(store.sets)
    free(store.pins)
    free(store.memory)


cdef void heap_free(HeapShard* heap) noexcept:
    cdef uint32_t i
    for i in range(heap.next):
        if heap.chunks[i // HEAP_CHUNK] != NULL:
            free(heap.chunks[i // HEAP_CHUNK][i % HEAP_CHUNK])
    for i in range(HEAP_CHUNKS_MAX):
        free(heap.chunks[i])
    free(heap.table)
    del heap.free_handles
    del heap.retired


cdef uint64_t median(vector[uint64_t]* sizes) noexcept nogil:
    if sizes.size() == 0:
        return 0
    sort(sizes.begin(), sizes.end())
    return sizes[0][sizes.size() // 2]


class ImportResult(NamedTuple):
    """What an import did: rows that are new, rows that were known, and rows refused.

    A refusal is (row, what, seen, allowed); `what` is "id" or the attribute's column number.
    """

    created: int
    updated: int
    refused: list[tuple[int, int | str, str, str]]


@cython.final
cdef class Scratch:
    """One call's own memory: another thread may run while a latch is waited for."""

    cdef Person person
    cdef Arena arena

    def __dealloc__(self):
        person_free(&self.person)
        arena_free(&self.arena)


cdef Scratch scratch_of(Store store):
    cdef Scratch scratch = Scratch()
    if not arena_init(&scratch.arena, READ_ARENA) or person_init(&scratch.person, store.state):
        raise MemoryError("store: readers")
    return scratch


@cython.final
cdef class Store:
    """Profiles in memory: rows per identity, merged when read.

    profiles_max: identities beyond which `has_room` is false; apply takes any number.
    dedupe_max: events remembered; a new event over it is refused with "FULL_DEDUPE".
    Times are microseconds since 1970 unless named _ms, stamps 48-bit ms << 16 | counter.
    An identity is (kind, id) with kind 1 known, 2 anonymous, 3 alias.
    """

    cdef StoreState* state
    cdef readonly int profiles_max
    cdef dict columns_by_name
    cdef dict columns_by_key
    cdef list names
    cdef list keys
    # Where the columns that stripes name lie here.
    cdef StripeColumns stripe_columns

    def __cinit__(self, *, profiles_max=1_000_000, dedupe_max=10_000_000):
        self.state = state_new(profiles_max, dedupe_max)
        self.profiles_max = profiles_max
        self.columns_by_name = {}
        self.columns_by_key = {}
        self.names = []
        self.keys = []

    def __dealloc__(self):
        if self.state != NULL:
            state_free(self.state)

    def extend(self, attributes, counters) -> tuple[list[int], list[int]]:
        """Give every attribute and counter of a plan its column; known ones keep theirs.

        Serving goes on: a row is read under the layout it has until it is re-laid.
        Raises InvalidRequestError when the union of all playbooks passes its bounds.
        """
        self.check_extension(attributes, counters)
        before = len(self.names), len(self.keys)
        attribute_columns = [self.attribute_column(attribute) for attribute in attributes]
        counter_columns = [self.counter_column(counter) for counter in counters]
        if before != (len(self.names), len(self.keys)):
            self.add_layout()
        return attribute_columns, counter_columns

    cdef int check_extension(self, attributes, counters) except -1:
        names = {(a.name, int(a.type)) for a in attributes} | self.columns_by_name.keys()
        keys = {c.key for c in counters} | self.columns_by_key.keys()
        if len(names) > ATTRIBUTES_MAX:
            raise errors.InvalidRequestError(
                "attributes", f"{len(names)} in all playbooks so far", f"{ATTRIBUTES_MAX}")
        if len(keys) > COUNTERS_MAX:
            raise errors.InvalidRequestError(
                "counters", f"{len(keys)} in all playbooks so far", f"{COUNTERS_MAX}")
        if self.state.layout.number + 1 >= LAYOUTS_MAX:
            raise errors.InvalidRequestError(
                "attributes", f"{LAYOUTS_MAX} changes of the schema", "a restart")
        for counter in counters:
            check_counter(counter)
        return 0

    cdef int attribute_column(self, attribute) except -1:
        cdef AttributeColumn* column
        cdef bytes name
        key = (attribute.name, int(attribute.type))
        number = self.columns_by_name.get(key)
        if number is None:
            number = len(self.names)
            name = attribute.name.encode()
            column = &self.state.attributes[number]
            column.hash = XXH3_64bits_withSeed(<const char*>name, len(name), key[1])
            column.type = key[1]
            self.names.append(attribute.name)
            self.columns_by_name[key] = number
        self.state.attributes[<int>number].pii = attribute.pii
        return number

    cdef int counter_column(self, counter) except -1:
        cdef CounterColumn* column
        cdef bytes key = counter.key
        number = self.columns_by_key.get(key)
        if number is not None:
            return number
        number = len(self.keys)
        column = &self.state.counters[number]
        # Never 0: an empty set of counters has that sum.
        column.hash = XXH3_64bits(<const char*>key, len(key)) | 1
        column.aggregate = int(counter.aggregate)
        column.type = int(counter.type)
        column.limit = max(1, counter.limit)
        column.window_us = counter.window_s * 1000000
        column.resolution_us = counter.resolution_s * 1000000 if counter.window_s else 0
        if column.resolution_us:
            column.span = -(-counter.window_s // counter.resolution_s)
        self.keys.append(key)
        self.columns_by_key[key] = number
        return number

    cdef int add_layout(self) except -1:
        cdef uint32_t number = self.state.layout.number + 1
        cdef Layout* layout = layout_new(self.state, number, len(self.names), len(self.keys))
        if layout == NULL:
            raise MemoryError("layout")
        self.state.layouts[number] = layout
        atomic_pointer_write(&self.state.layout, layout)
        return 0

    def columns(self):
        """All columns, as StoredAttribute and StoredCounter, in the order that stripes refer to.

        Columns are only ever added: asked after the last stripe, they cover all of them.
        """
        cdef const AttributeColumn* attribute
        cdef const CounterColumn* counter
        attributes = []
        counters = []
        for name in self.names:
            attribute = &self.state.attributes[len(attributes)]
            attributes.append(StoredAttribute(name, attribute.type, bool(attribute.pii)))
        for key in self.keys:
            counter = &self.state.counters[len(counters)]
            counters.append(StoredCounter(
                key, counter.aggregate, counter.type, counter.limit,
                counter.window_us // 1000000, counter.resolution_us // 1000000,
            ))
        return attributes, counters

    def load_columns(self, attributes, counters) -> None:
        """Make the columns that the stripes to load refer to, in their order; known ones stay.

        Takes what `columns` gives, or SnapshotAttribute and SnapshotCounter messages.  Raises
        InvalidRequestError for a column that cannot be, or is another one here.
        """
        attributes = [stored_attribute(attribute) for attribute in attributes]
        counters = [stored_counter(counter) for counter in counters]
        known = {counter.key: counter for counter in self.columns()[1]}
        for counter in counters:
            if known.get(counter.key, counter)._replace(limit=0) != counter._replace(limit=0):
                raise errors.InvalidRequestError(
                    f"counters.{counter.name}", str(tuple(counter[1:])),
                    str(tuple(known[counter.key][1:])),
                )
        pii = {(a.name, a.type): a.pii for a in self.columns()[0]}
        attributes = [a._replace(pii=pii.get((a.name, a.type), a.pii)) for a in attributes]
        made = self.extend(attributes, counters)
        self.stripe_columns.attributes = made[0]
        self.stripe_columns.counters = made[1]

    def stripe(self, int number) -> bytes:
        """Stripe `number` of STRIPES: a SnapshotStripe, all of one moment.

        Any thread may ask while others write; the GIL is not held meanwhile.  Raises
        InvalidRequestError for a number that is none, NoMemoryError.
        """
        if not 0 <= number < SHARDS:
            raise errors.InvalidRequestError("stripe", str(number), f"0 to {SHARDS - 1}")
        return stripe_bytes(self.state, number)

    def load_stripe(self, bytes data) -> None:
        """Take what a stripe holds; `load_columns` comes before, `load_end` after the last.

        The store must know none of its identities.  Raises InvalidRequestError for what no store
        of these columns writes, StoreFullError, NoMemoryError; a part may be loaded by then, so
        that the store is of no use any more.
        """
        cdef Text text = text_from(data)
        cdef const char* refused = ""
        cdef StoreStatus status
        with nogil:
            status = stripe_load(self.state, text, &self.stripe_columns, &refused)
        if status != STORE_OK:
            load_refused(status, refused)

    def load_end(self) -> int:
        """Drop the links whose other end was erased while stripes were copied; gives how many.

        Comes after the last stripe and before anything is applied.
        """
        cdef uint64_t dropped
        with nogil:
            dropped = store_unlink_dead(self.state)
        return dropped

    def relay(self, uint64_t rows_max) -> int:
        """Re-lay up to so many rows to the newest layout; gives how many still wait."""
        if self.waiting_rows():
            with nogil:
                store_relay(self.state, rows_max)
        return self.waiting_rows()

    cdef uint64_t waiting_rows(self) noexcept:
        """Rows of older layouts: counted, so that nobody scans for them when there are none."""
        return atomic_read(&self.state.profiles) - atomic_read(
            &self.state.layout_rows[self.state.layout.number])

    @property
    def profiles(self) -> int:
        """Identities that have a row."""
        return atomic_read(&self.state.profiles)

    @property
    def horizon_ms(self) -> int:
        """Events with an id older than this are ignored."""
        return store_horizon_ms(self.state)

    @property
    def remembered(self) -> int:
        """Events whose repeats are recognised, of at most `dedupe_max`."""
        return atomic_read(&self.state.seen)

    @property
    def tombstones(self) -> int:
        """Identities that were erased, each for good."""
        return atomic_read(&self.state.tombstones)

    @property
    def erasures(self) -> int:
        """A number that grows whenever something is erased."""
        return atomic_read(&self.state.erasures)

    @property
    def oldest_ms(self) -> int:
        """The time of the oldest event id that is remembered, -1 when none is."""
        cdef int64_t oldest
        with nogil:
            oldest = store_oldest(self.state)
        return oldest * 1000 if oldest >= 0 else -1

    def horizon(self, int64_t before_ms) -> int:
        """Forget event ids older than that, for good; gives how many."""
        cdef unordered_set[uint64_t] held
        return self.forget(before_ms, &held)

    cdef uint64_t forget(self, int64_t before_ms, const unordered_set[uint64_t]* held):
        cdef uint64_t dropped
        if before_ms <= store_horizon_ms(self.state):
            return 0
        with nogil:
            dropped = store_horizon(self.state, before_ms, held)
        return dropped

    def expire(self, uint8_t kind, int64_t before_us) -> int:
        """Remove the rows of a kind without events since, and their links; gives how many.

        A row that never had an event counts from its last write.
        """
        cdef int64_t removed
        with nogil:
            removed = store_expire(self.state, kind, before_us // 1000000)
        if removed < 0:
            raise MemoryError("expire")
        return removed

    def stale(self, uint8_t kind, int64_t before_us, int cursor, most):
        """The ids of a kind without events since, about `most` of them, and the next cursor.

        The cursor is 0 at first and -1 at the end; who never had an event counts from the last
        write.
        """
        found = []
        while 0 <= cursor < SHARDS and len(found) < most:
            found += shard_stale(self.state, cursor, kind, before_us // 1000000)
            cursor += 1
        return found, cursor if cursor < SHARDS else -1

    def digest(self) -> tuple[int, int]:
        """Two order-free sums: of the events applied, and of the rows."""
        cdef uint64_t applied = 0, rows = 0
        cdef int i
        with nogil:
            for i in range(SHARDS):
                shard_digest(self.state, &self.state.shards[i], &applied, &rows)
        return applied, rows

    def memory(self) -> dict[str, int]:
        """Bytes in use by what for, as the allocator rounds them, and counts."""
        return store_memory(self.state)

    def slice(self, cursor, uint64_t scan_max):
        """Up to `scan_max` identities from `cursor`, 0 at first, and the next cursor.

        The order is that of the identities' hashes, so no slice misses a row that stays.
        The next cursor is -1 at the end.
        """
        cdef vector[uint64_t] hashes
        cdef uint64_t after = cursor
        cdef uint64_t most = min(max(scan_max, 1), <uint64_t>SCAN_MAX)
        cdef uint64_t hash = 0
        found = []
        while True:
            hashes.clear()
            with nogil:
                store_hashes(self.state, after, most, &hashes)
            for hash in hashes:
                if len(found) >= <Py_ssize_t>most:
                    return found, hash
                found.extend(shard_identities(self.state, shard_of(self.state, hash), hash))
            if hashes.empty() or hash == <uint64_t>-1:
                return found, -1
            after = hash + 1

    def identities(self, uint8_t kind, id) -> list[tuple[int, bytes]]:
        """The identities of the person that one belongs to, sorted; none of an unknown one."""
        cdef Scratch scratch = scratch_of(self)
        cdef bytes data = bytes_of(id)
        cdef IdentityRef member
        cdef uint32_t i
        store_read(self.state, reference(kind, data), &scratch.person)
        found = []
        for i in range(scratch.person.count):
            member = row_identity(scratch.person.rows[i].row, scratch.person.rows[i].layout)
            found.append((member.kind, member.id[:member.length]))
        return sorted(found)

    def import_columns(self, uint8_t kind, ids, columns, uint64_t stamp):
        """Set attributes of many identities from columns by column number.

        `ids` are str or bytes; a column is a sequence with None for unset, a buffer of
        numbers (an array), or a pair of one and a mask that is true where unset.  A row with
        a value that does not fit is refused whole.
        """
        return import_rows(self.state, kind, ids, columns, stamp)

    def set_attributes(
        self, uint8_t kind, id, values, uint64_t stamp, uint32_t incarnation=0
    ) -> str:
        """Write attributes by column number; gives the status."""
        cdef Scratch scratch = scratch_of(self)
        cdef bytes data = bytes_of(id)
        cdef vector[AttributeInput] inputs
        cdef StoreStatus status
        cdef bint created
        cdef IdentityRef identity = reference(kind, data)
        attribute_inputs(values, &scratch.arena, &inputs)
        with nogil:
            status = store_set(
                self.state, identity, incarnation, stamp, inputs.data(),
                <uint32_t>inputs.size(), &created,
            )
        return STATUS_NAMES[status]

    def add_event(
        self, uint8_t kind, id, key, int64_t id_ms, int64_t occurred_us, values,
        uint32_t incarnation=0,
    ) -> str:
        """Count an event in the counters of `values`, a value by column number."""
        cdef Scratch scratch = scratch_of(self)
        cdef bytes data = bytes_of(id)
        cdef vector[CounterInput] inputs
        cdef StoreStatus status
        cdef uint64_t parts[2]
        cdef IdentityRef identity = reference(kind, data)
        parts[0], parts[1] = key
        counter_inputs(values, &scratch.arena, &inputs)
        with nogil:
            status = store_add(
                self.state, identity, incarnation, parts, id_ms, occurred_us, inputs.data(),
                <uint32_t>inputs.size(), store_horizon_ms(self.state), True,
            )
        return STATUS_NAMES[status]

    def link(
        self, first, second, uint64_t stamp, bint linked=True, uint32_t first_incarnation=0,
        uint32_t second_incarnation=0,
    ) -> str:
        """Write the register of a pair of (kind, id)."""
        cdef bytes a = bytes_of(first[1])
        cdef bytes b = bytes_of(second[1])
        return STATUS_NAMES[store_link(
            self.state, reference(first[0], a), first_incarnation, reference(second[0], b),
            second_incarnation, stamp, linked,
        )]

    def erase(self, uint8_t kind, id, uint32_t incarnation) -> str:
        """End the identity's incarnations up to that one."""
        cdef bytes data = bytes_of(id)
        return STATUS_NAMES[store_erase(self.state, reference(kind, data), incarnation)]

    def incarnation(self, uint8_t kind, id) -> int:
        """The incarnation that a new write must name."""
        cdef bytes data = bytes_of(id)
        return store_incarnation(self.state, reference(kind, data))

    def has_room(self, uint8_t kind, id) -> bool:
        """Whether the identity is known or may be new."""
        cdef bytes data = bytes_of(id)
        return store_has_room(self.state, reference(kind, data))

    def read(self, uint8_t kind, id, int64_t now_us):
        """Attributes and counters of the person by column number, None for an unknown one.

        A counter is (value, approximate).
        """
        cdef Scratch scratch = scratch_of(self)
        cdef bytes data = bytes_of(id)
        cdef bint approximate = False
        cdef uint32_t i
        cdef Value value
        if store_read(self.state, reference(kind, data), &scratch.person) != STORE_OK:
            return None
        attributes = {}
        counters = {}
        for i in range(len(self.names)):
            attributes[i] = value_to_python(person_attribute(&scratch.person, i, &scratch.arena))
        for i in range(len(self.keys)):
            arena_reset(&scratch.arena)
            value = person_counter(&scratch.person, i, now_us, &scratch.arena, &approximate)
            counters[i] = value_to_python(value), bool(approximate)
        return attributes, counters

    def decayed(
        self, uint8_t kind, id, uint32_t column, int64_t now_us, int64_t points,
        int64_t half_life_s,
    ) -> tuple[int, int]:
        """The points of a counter's events halved with age, and the number of events."""
        cdef Scratch scratch = scratch_of(self)
        cdef bytes data = bytes_of(id)
        cdef int64_t count = 0, total
        cdef Ages ages
        store_read(self.state, reference(kind, data), &scratch.person)
        person_ages(&scratch.person, column, now_us, &ages)
        total = decayed_points(&ages, points, half_life_s, &count)
        return total, count

    def time_reads(self, uint8_t kind, ids, uint64_t rounds) -> float:
        """Nanoseconds of one store_read, over all ids so many times, without Python."""
        cdef Scratch scratch = scratch_of(self)
        cdef vector[IdentityRef] identities
        cdef uint64_t _round
        cdef size_t j
        _held = references(kind, ids, &identities)
        started = perf_counter_ns()
        with nogil:
            for _round in range(rounds):
                for j in range(identities.size()):
                    store_read(self.state, identities[j], &scratch.person)
        return (perf_counter_ns() - started) / (rounds * identities.size())

    def time_adds(self, uint8_t kind, ids, uint64_t events, int64_t now_us, values) -> float:
        """Nanoseconds of one store_add of a new event to a drawn id, spread over 30 days."""
        cdef Scratch scratch = scratch_of(self)
        cdef vector[IdentityRef] identities
        cdef vector[CounterInput] inputs
        cdef uint64_t key[2]
        cdef uint64_t i, drawn
        cdef int64_t at_us
        _held = references(kind, ids, &identities)
        counter_inputs(values, &scratch.arena, &inputs)
        key[1] = 0
        started = perf_counter_ns()
        with nogil:
            for i in range(events):
                key[0] = XXH3_64bits(&i, sizeof(i))
                drawn = key[0] % identities.size()
                at_us = now_us - <int64_t>((key[0] >> 20) % 2592000) * 1000000
                store_add(self.state, identities[drawn], 0, key, at_us // 1000, at_us,
                          inputs.data(), <uint32_t>inputs.size(), 0, True)
        return (perf_counter_ns() - started) / events

    def time_sets(self, uint8_t kind, ids, uint64_t rounds, uint64_t stamp, values) -> float:
        """Nanoseconds of one store_set of the values, over all ids so many times."""
        cdef Scratch scratch = scratch_of(self)
        cdef vector[IdentityRef] identities
        cdef vector[AttributeInput] inputs
        cdef uint64_t i
        cdef size_t j
        cdef bint created
        _held = references(kind, ids, &identities)
        attribute_inputs(values, &scratch.arena, &inputs)
        started = perf_counter_ns()
        with nogil:
            for i in range(rounds):
                for j in range(identities.size()):
                    store_set(self.state, identities[j], 0, stamp + i, inputs.data(),
                              <uint32_t>inputs.size(), &created)
        return (perf_counter_ns() - started) / (rounds * identities.size())


STATUS_NAMES = (
    "OK", "UNKNOWN", "DUPLICATE", "DEAD", "TOO_LATE", "FULL_DEDUPE", "FULL_SETS", "WRONG_TYPE",
    "INVALID", "NO_MEMORY",
)


cdef IdentityRef reference(uint8_t kind, bytes id):
    """An identity in bytes that the caller keeps alive."""
    cdef IdentityRef identity
    identity.kind = kind
    identity.id = <const char*>id
    identity.length = <uint32_t>len(id)
    return identity


cdef bytes bytes_of(id):
    """An id as its bytes; str is UTF-8."""
    return id.encode() if isinstance(id, str) else id


cdef list references(uint8_t kind, ids, vector[IdentityRef]* to):
    """Name identities; gives the bytes to keep alive meanwhile."""
    held = [bytes_of(id) for id in ids]
    for data in held:
        to.push_back(reference(kind, data))
    return held


cdef int attribute_inputs(values, Arena* arena, vector[AttributeInput]* to) except -1:
    """Values by column number, as a write takes them; text stays in the arena."""
    cdef AttributeInput entry
    for column, value in values.items():
        entry.column = column
        entry.value = value_from_python(value, arena)
        to.push_back(entry)
    return 0


cdef int counter_inputs(values, Arena* arena, vector[CounterInput]* to) except -1:
    """Values by column number, as an event's counters take them; text stays in the arena."""
    cdef CounterInput entry
    for column, value in values.items():
        entry.column = column
        entry.value = value_from_python(value, arena)
        to.push_back(entry)
    return 0


cdef int check_counter(counter) except -1:
    buckets = 1
    if counter.window_s:
        if not 1 <= counter.resolution_s <= counter.window_s:
            raise errors.InvalidRequestError(
                f"counters.{counter.name}.resolution", f"{counter.resolution_s} s",
                "1 s to the window",
            )
        buckets = -(-counter.window_s // counter.resolution_s)
    if buckets > RING_BUCKETS_MAX - 1:
        raise errors.InvalidRequestError(
            f"counters.{counter.name}.resolution", f"{buckets} buckets in the window",
            f"at most {RING_BUCKETS_MAX - 1}",
        )
    most = {LAST_N: LAST_N_MAX, DISTINCT: DISTINCT_MAX}.get(int(counter.aggregate))
    if most is not None and not 1 <= counter.limit <= most:
        raise errors.InvalidRequestError(
            f"counters.{counter.name}.limit", f"{counter.limit}", f"1 to {most}")
    return 0
