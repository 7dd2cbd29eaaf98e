# Layouts: the union of all columns ever published, widest slots first so that none is padded.

cdef inline bint is_numeric(uint8_t aggregate) noexcept nogil:
    """Whether a counter's newest bucket is one number, kept in the row itself."""
    return aggregate <= MAXIMUM


cdef inline uint32_t slot_width(uint8_t type) noexcept nogil:
    if type == STORED_BOOL:
        return 0
    if type == STORED_INT or type == STORED_DOUBLE or type == STORED_TIMESTAMP:
        return 8
    return 4


cdef uint32_t place_attributes(
    StoreState* store, Layout* layout, uint32_t width, uint32_t at
) noexcept nogil:
    cdef uint32_t i
    for i in range(layout.attributes):
        layout.attribute_slots[i].type = store.attributes[i].type
        if slot_width(store.attributes[i].type) == width:
            layout.attribute_slots[i].at = <uint16_t>at
            at += width if width else 1
    return at


cdef uint32_t place_values(
    StoreState* store, Layout* layout, bint wide, uint32_t at
) noexcept nogil:
    cdef uint32_t i
    for i in range(layout.counters):
        if is_numeric(store.counters[i].aggregate) and (
            (store.counters[i].aggregate != COUNTS) == wide
        ):
            layout.counter_slots[i].value_at = <uint16_t>at
            layout.counter_slots[i].width = 8 if wide else 4
            at += layout.counter_slots[i].width
    return at


cdef uint32_t place_buckets(StoreState* store, Layout* layout, uint32_t at) noexcept nogil:
    cdef uint32_t i
    for i in range(layout.counters):
        if is_numeric(store.counters[i].aggregate):
            layout.counter_slots[i].bucket_at = <uint16_t>at
            at += 4
    return at


cdef Layout* layout_new(
    StoreState* store, uint32_t number, uint32_t attributes, uint32_t counters
) noexcept nogil:
    """A layout of the first so many columns, NULL when memory is short."""
    cdef Layout* layout = <Layout*>calloc(1, sizeof(Layout))
    cdef uint32_t at = sizeof(Row)
    if layout == NULL:
        return NULL
    layout.attribute_slots = <AttributeSlot*>calloc(attributes + 1, sizeof(AttributeSlot))
    layout.counter_slots = <CounterSlot*>calloc(counters + 1, sizeof(CounterSlot))
    if layout.attribute_slots == NULL or layout.counter_slots == NULL:
        layout_free(layout)
        return NULL
    layout.number = number
    layout.attributes = attributes
    layout.counters = counters
    at = place_attributes(store, layout, 8, at)
    at = place_values(store, layout, True, at)
    at = place_attributes(store, layout, 4, at)
    at = place_values(store, layout, False, at)
    at = place_buckets(store, layout, at)
    layout.written_at = at
    layout.present_at = at + (attributes + 7) // 8
    layout.bools_at = layout.present_at + (attributes + 7) // 8
    layout.size = layout.bools_at + (place_attributes(store, layout, 0, 0) + 7) // 8
    return layout


cdef void layout_free(Layout* layout) noexcept nogil:
    if layout != NULL:
        free(layout.attribute_slots)
        free(layout.counter_slots)
        free(layout)


cdef inline uint8_t* row_bytes(const Row* row) noexcept nogil:
    return <uint8_t*>row


cdef inline const char* row_id(const Row* row, const Layout* layout) noexcept nogil:
    return <const char*>row + layout.size


cdef inline bint bit_get(const Row* row, uint32_t at, uint32_t bit) noexcept nogil:
    return (row_bytes(row)[at + (bit >> 3)] >> (bit & 7)) & 1


cdef inline void bit_set(Row* row, uint32_t at, uint32_t bit, bint on) noexcept nogil:
    if on:
        row_bytes(row)[at + (bit >> 3)] |= <uint8_t>(1 << (bit & 7))
    else:
        row_bytes(row)[at + (bit >> 3)] &= <uint8_t>~(1 << (bit & 7))


cdef Row* row_new(
    const Layout* layout, IdentityRef identity, uint32_t incarnation
) noexcept nogil:
    cdef Row* row = <Row*>malloc(layout.size + identity.length)
    if row == NULL:
        return NULL
    memset(row, 0, layout.size)
    row.incarnation = incarnation
    row.layout = <uint16_t>layout.number
    row.kind = identity.kind
    row.id_length = <uint16_t>identity.length
    memcpy(row_bytes(row) + layout.size, identity.id, identity.length)
    return row


cdef inline IdentityRef row_identity(const Row* row, const Layout* layout) noexcept nogil:
    cdef IdentityRef identity
    identity.kind = row.kind
    identity.id = row_id(row, layout)
    identity.length = row.id_length
    return identity


cdef Row* row_widened(const Row* row, const Layout* old, const Layout* new) noexcept nogil:
    """A copy of the row under a wider layout; the side block moves along."""
    cdef Row* wide = row_new(new, row_identity(row, old), row.incarnation)
    cdef uint32_t i, width, bools = 0
    if wide == NULL:
        return NULL
    memcpy(wide, row, sizeof(Row))
    wide.layout = <uint16_t>new.number
    memcpy(row_bytes(wide) + new.written_at, row_bytes(row) + old.written_at,
           (old.attributes + 7) // 8)
    memcpy(row_bytes(wide) + new.present_at, row_bytes(row) + old.present_at,
           (old.attributes + 7) // 8)
    for i in range(old.attributes):
        width = slot_width(old.attribute_slots[i].type)
        bools += width == 0
        memcpy(row_bytes(wide) + new.attribute_slots[i].at,
               row_bytes(row) + old.attribute_slots[i].at, width)
    memcpy(row_bytes(wide) + new.bools_at, row_bytes(row) + old.bools_at, (bools + 7) // 8)
    widen_counters(wide, row, old, new)
    return wide


cdef void widen_counters(
    Row* wide, const Row* row, const Layout* old, const Layout* new
) noexcept nogil:
    cdef uint32_t i
    for i in range(old.counters):
        if old.counter_slots[i].value_at:
            memcpy(row_bytes(wide) + new.counter_slots[i].value_at,
                   row_bytes(row) + old.counter_slots[i].value_at, old.counter_slots[i].width)
            memcpy(row_bytes(wide) + new.counter_slots[i].bucket_at,
                   row_bytes(row) + old.counter_slots[i].bucket_at, 4)
