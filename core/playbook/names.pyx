"""Names: from a name to its index in one table of the playbook, and the nearest known name."""

cdef enum:
    # Longer names are not worth a suggestion.
    NEAREST_LENGTH_MAX = 64
    # Four of that length fit a fault's text.
    NAMES_SHOWN_MAX = 4


cdef struct Names:
    Text* items
    uint32_t count
    # Open addressing; -1 is free.  The size is a power of two, at least twice the count.
    int32_t* table
    uint32_t mask
    # Items from here on are the playbook's own and cannot be named by a request.
    uint32_t visible


cdef inline uint64_t text_hash(Text text) noexcept nogil:
    """FNV-1a: names are short, and the table is built from trusted input."""
    cdef uint64_t value = <uint64_t>0xCBF29CE484222325
    cdef uint32_t i
    for i in range(text.length):
        value = (value ^ <uint8_t>text.data[i]) * <uint64_t>0x100000001B3
    return value ^ (value >> 32)


cdef int names_build(Names* names, Text* items, uint32_t count, uint32_t visible) except -1:
    """Index `items`, which stay the caller's and must outlive the table."""
    cdef uint32_t size = 4
    cdef uint32_t at
    while size < 2 * count:
        size *= 2
    names.table = <int32_t*>malloc(size * sizeof(int32_t))
    if names.table == NULL:
        raise MemoryError("names")
    memset(names.table, 0xFF, size * sizeof(int32_t))
    names.items = items
    names.count = count
    names.visible = visible
    names.mask = size - 1
    for i in range(count):
        at = <uint32_t>text_hash(items[i]) & names.mask
        while names.table[at] >= 0:
            at = (at + 1) & names.mask
        names.table[at] = i
    return 0


cdef inline int32_t names_find(const Names* names, Text name) noexcept nogil:
    """The index of `name`, or -1."""
    cdef uint32_t at = <uint32_t>text_hash(name) & names.mask
    cdef int32_t index
    # The table is at most half full, so that a free place ends the search.
    while True:
        index = names.table[at]
        if index < 0 or text_equal(names.items[index], name):
            return index
        at = (at + 1) & names.mask


cdef uint32_t edit_distance(Text a, Text b) noexcept nogil:
    """Levenshtein's distance; both at most NEAREST_LENGTH_MAX long."""
    cdef uint32_t row[NEAREST_LENGTH_MAX + 1]
    cdef uint32_t i, j, above, diagonal
    for j in range(b.length + 1):
        row[j] = j
    for i in range(a.length):
        diagonal = row[0]
        row[0] = i + 1
        for j in range(b.length):
            above = row[j + 1]
            row[j + 1] = min(
                min(above, row[j]) + 1, diagonal + (a.data[i] != b.data[j])
            )
            diagonal = above
    return row[b.length]


cdef int fault_unknown(
    Fault* fault, const char* field, const char* what, Text seen, const Names* names
) noexcept nogil:
    """An unknown name, with the nearest known one when there is one near enough."""
    cdef uint32_t best = NEAREST_LENGTH_MAX
    cdef uint32_t distance, i
    cdef int32_t nearest = -1
    fault_name(fault, FAULT_UNKNOWN_NAME, field, seen, "")
    if seen.length <= NEAREST_LENGTH_MAX:
        for i in range(names.visible):
            if names.items[i].length <= NEAREST_LENGTH_MAX:
                distance = edit_distance(seen, names.items[i])
                if distance < best:
                    best = distance
                    nearest = <int32_t>i
    if nearest >= 0 and best <= 1 + seen.length // 3:
        snprintf(
            fault.allowed, sizeof(fault.allowed), "%s of the playbook; the nearest is '%.*s'",
            what, <int>names.items[nearest].length, names.items[nearest].data,
        )
    else:
        list_names(fault, what, names)
    return FAULT_UNKNOWN_NAME


cdef void list_names(Fault* fault, const char* what, const Names* names) noexcept nogil:
    """Put into `allowed` the first names, and how many more there are."""
    cdef uint32_t shown = min(names.visible, <uint32_t>NAMES_SHOWN_MAX)
    cdef const char* before = ": "
    cdef uint32_t i
    cdef int at = snprintf(fault.allowed, sizeof(fault.allowed), "%s of the playbook", what)
    for i in range(shown):
        at += snprintf(
            fault.allowed + at, sizeof(fault.allowed) - at, "%s%.*s", before,
            <int>min(names.items[i].length, <uint32_t>NEAREST_LENGTH_MAX), names.items[i].data,
        )
        before = ", "
    if shown == 0:
        snprintf(fault.allowed + at, sizeof(fault.allowed) - at, ", which has none")
    elif names.visible > shown:
        snprintf(
            fault.allowed + at, sizeof(fault.allowed) - at, " and %u more", names.visible - shown
        )
