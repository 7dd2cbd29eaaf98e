# Every time zone by name, filled once for the process and only read from then on.

cdef enum ZoneKind:
    ZONE_NONE = 0
    ZONE_LISTED = 1
    ZONE_FIXED = 2
    ZONE_INVALID = 3


cdef struct ZoneChanges:
    # From each moment the offset holds; the first one has no start.  In seconds.
    int64_t* from_s
    int32_t* offsets_s
    uint32_t count


cdef struct Zone:
    uint8_t kind
    # The input slot that named it; SLOT_NONE for the playbook's own.
    uint16_t slot
    int32_t fixed_s
    const ZoneChanges* changes


cdef Names ZONE_NAMES
cdef ZoneChanges* ZONES = NULL
# What the names and changes point into.
cdef list ZONES_KEPT = []


cdef int zones_load() except -1:
    """Fill the table, before the first playbook that needs it is published."""
    global ZONES
    cdef ZoneChanges* zones
    cdef Text* texts
    if ZONES != NULL:
        return 0
    known = all_zones()
    texts = <Text*>calloc(len(known), sizeof(Text))
    zones = <ZoneChanges*>calloc(len(known), sizeof(ZoneChanges))
    if texts == NULL or zones == NULL:
        raise MemoryError("time zones")
    for i, (name, changes) in enumerate(known.items()):
        encoded = name.encode()
        ZONES_KEPT.append(encoded)
        texts[i].data = <char*>(<bytes>encoded)
        texts[i].length = <uint32_t>len(encoded)
        zone_fill(&zones[i], changes)
    # Another thread may have been first; from here on none can be.
    if ZONES != NULL:
        free(texts)
        free(zones)
        return 0
    names_build(&ZONE_NAMES, texts, <uint32_t>len(known), <uint32_t>len(known))
    ZONES = zones
    return 0


cdef int zone_fill(ZoneChanges* zone, changes) except -1:
    starts = array("q", changes[0::2])
    offsets = array("i", changes[1::2])
    ZONES_KEPT.append((starts, offsets))
    zone.from_s = <int64_t*><size_t>starts.buffer_info()[0]
    zone.offsets_s = <int32_t*><size_t>offsets.buffer_info()[0]
    zone.count = <uint32_t>len(starts)
    return 0


cdef Zone zone_of(Text name) noexcept nogil:
    """A zone by its name in the database, or an offset such as +02:00."""
    cdef Zone zone
    cdef Cursor cursor
    cdef int64_t offset = 0
    cdef int32_t index = names_find(&ZONE_NAMES, name)
    memset(&zone, 0, sizeof(Zone))
    zone.slot = SLOT_NONE
    zone.kind = ZONE_INVALID
    if index >= 0:
        zone.kind = ZONE_LISTED
        zone.changes = &ZONES[index]
        return zone
    cursor.at = name.data
    cursor.end = name.data + name.length
    if name.length == 6 and (name.data[0] == c"+" or name.data[0] == c"-"):
        if take_offset(&cursor, &offset) and -DAY_S < offset < DAY_S:
            zone.kind = ZONE_FIXED
            zone.fixed_s = <int32_t>offset
    return zone


cdef int64_t local_seconds(const Zone* zone, int64_t seconds) noexcept nogil:
    """What a clock on the wall shows at a moment, as seconds since 1970."""
    cdef uint32_t low = 0, high, middle
    if zone.kind != ZONE_LISTED:
        return seconds + zone.fixed_s
    high = zone.changes.count
    while high - low > 1:
        middle = (low + high) // 2
        if zone.changes.from_s[middle] <= seconds:
            low = middle
        else:
            high = middle
    return seconds + zone.changes.offsets_s[low]
