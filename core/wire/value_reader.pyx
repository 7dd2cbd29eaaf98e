"""Values of requests: nextbest.v1.Value read into a Value and fitted to its declared type."""

cdef enum:
    STRING_BYTES_MAX = 1024
    STRINGS_MAX = 1024
    NUMBERS_MAX = 4096
    ENTRIES_MAX = 256
    # Up to so many, names are compared one by one.
    ENTRIES_SCANNED_MAX = 16
    # A power of two, above twice ENTRIES_MAX.
    ENTRY_SLOTS = 1024


cdef enum:
    TYPE_BOOL = 1
    TYPE_INT = 2
    TYPE_DOUBLE = 3
    TYPE_STRING = 4
    TYPE_TIMESTAMP = 5
    TYPE_STRING_LIST = 6
    TYPE_VECTOR = 7


cdef struct Entry:
    # One entry of a map<string, Value>.
    Text name
    Value value


cdef struct Entries:
    Entry* items
    uint32_t count
    uint32_t capacity
    # Numbers of entries, from 1, by the hash of their names; NULL for a few entries.
    uint16_t* slots


cdef bint read_timestamp(Reader* reader, int64_t* seconds, int64_t* nanos) noexcept nogil:
    """Read the fields of a google.protobuf.Timestamp over what stands there already."""
    cdef uint32_t field = 0, wire = 0
    while read_tag(reader, &field, &wire):
        if field == 1 and wire == WIRE_VARINT:
            seconds[0] = <int64_t>read_varint(reader)
        elif field == 2 and wire == WIRE_VARINT:
            nanos[0] = <int32_t>read_varint(reader)
        else:
            read_skip(reader, field, wire)
    return not reader.failed


cdef bint list_append(
    Value* list_value, const Value* item, uint32_t* capacity, Arena* arena
) noexcept nogil:
    """Append to a list under construction, which has room for `capacity` items."""
    cdef Value* items
    cdef uint32_t larger
    if list_value.length == capacity[0]:
        larger = 2 * capacity[0] if capacity[0] else 8
        items = <Value*>arena_take(arena, larger * sizeof(Value))
        if items == NULL:
            return False
        if list_value.length:
            memcpy(items, list_value.as_.items, list_value.length * sizeof(Value))
        list_value.as_.items = items
        capacity[0] = larger
    memcpy(<Value*>list_value.as_.items + list_value.length, item, sizeof(Value))
    list_value.length += 1
    return True


cdef void list_begin(Value* value, bint numbers, uint32_t* capacity) noexcept nogil:
    """Make `value` a list to append to; a list that stands there is added to (a merge)."""
    # The flag tells an empty vector from an empty list of strings.
    if value.tag != TAG_LIST or value.flag != numbers:
        memset(value, 0, sizeof(Value))
        value.tag = TAG_LIST
        value.flag = numbers
    # What list_append has made of the capacity to hold so many.
    capacity[0] = 8 if value.length else 0
    while capacity[0] < value.length:
        capacity[0] *= 2


cdef int read_strings(Reader* reader, Value* value, Arena* arena, Fault* fault) noexcept nogil:
    cdef uint32_t field = 0, wire = 0, capacity = 0
    cdef Value item
    cdef Text text
    list_begin(value, False, &capacity)
    while read_tag(reader, &field, &wire):
        if field != 1 or wire != WIRE_BYTES:
            read_skip(reader, field, wire)
            continue
        text = read_string(reader)
        item = value_string(text.data, text.length)
        if not list_append(value, &item, &capacity, arena):
            return fault_arena(fault)
    return FAULT_NONE


cdef int read_numbers(Reader* reader, Value* value, Arena* arena, Fault* fault) noexcept nogil:
    cdef uint32_t field = 0, wire = 0, capacity = 0
    cdef Reader packed
    cdef Value item
    memset(&item, 0, sizeof(Value))
    item.tag = TAG_DOUBLE
    list_begin(value, True, &capacity)
    while read_tag(reader, &field, &wire):
        if field == 1 and wire == WIRE_BYTES:
            packed = read_message(reader)
        elif field == 1 and wire == WIRE_FIXED64:
            packed = reader_of(<const char*>reader.at, 8)
            read_fixed64(reader)
        else:
            read_skip(reader, field, wire)
            continue
        while not reader.failed and packed.at < packed.end:
            item.as_.u = read_fixed64(&packed)
            if packed.failed:
                reader.failed = True
            elif not list_append(value, &item, &capacity, arena):
                return fault_arena(fault)
    return FAULT_NONE


cdef void read_scalar(Reader* reader, Value* value, uint32_t field) noexcept nogil:
    """Read the bool, int or null of a Value; nothing stays of a kind that stood there."""
    cdef uint64_t number = read_varint(reader)
    if field == 1:
        value[0] = value_of(TAG_BOOL, 0)
        value.as_.u = number != 0
    elif field == 2:
        value[0] = value_of(TAG_INT, 0)
        value.as_.u = number
    else:
        value[0] = value_of(TAG_NULL, 0)
        # Enums are 32 bits wide on the wire; larger varints are cut.
        value.as_.i = <int32_t>number


cdef void read_moment(Reader* reader, Value* value) noexcept nogil:
    """Read the timestamp of a Value, over one that stands there (a merge)."""
    cdef Reader inner = read_message(reader)
    cdef int64_t seconds = value.as_.i if value.tag == TAG_TIMESTAMP else 0
    # Nanoseconds out of range are kept for fit_value to refuse.
    cdef int64_t nanos = <int32_t>value.length if value.tag == TAG_TIMESTAMP else 0
    if not read_timestamp(&inner, &seconds, &nanos):
        reader.failed = True
    value[0] = value_time(TAG_TIMESTAMP, seconds, <uint32_t><int32_t>nanos)


cdef int read_value(Reader* reader, Value* value, Arena* arena, Fault* fault) noexcept nogil:
    """Read a Value; TAG_ABSENT stays when none of its kinds is there.  The last kind wins."""
    cdef uint32_t field = 0, wire = 0
    cdef Text text
    cdef Reader inner
    cdef int kind = FAULT_NONE
    while kind == FAULT_NONE and read_tag(reader, &field, &wire):
        if wire == WIRE_VARINT and (field == 1 or field == 2 or field == 8):
            read_scalar(reader, value, field)
        elif wire == WIRE_FIXED64 and field == 3:
            value[0] = value_of(TAG_DOUBLE, 0)
            value.as_.u = read_fixed64(reader)
        elif wire == WIRE_BYTES and field == 4:
            text = read_string(reader)
            value[0] = value_string(text.data, text.length)
        elif wire == WIRE_BYTES and field == 5:
            read_moment(reader, value)
        elif wire == WIRE_BYTES and (field == 6 or field == 7):
            inner = read_message(reader)
            if field == 6:
                kind = read_strings(&inner, value, arena, fault)
            else:
                kind = read_numbers(&inner, value, arena, fault)
            if inner.failed:
                reader.failed = True
        else:
            read_skip(reader, field, wire)
    return kind


cdef int read_entry(
    Reader* reader, Entries* entries, const char* map_name, Arena* arena, Fault* fault
) noexcept nogil:
    """Read one entry of a map<string, Value> and append it."""
    cdef uint32_t field = 0, wire = 0
    cdef Reader entry = read_message(reader)
    cdef Reader inner
    cdef Entry* to = entries_next(entries, arena)
    cdef int kind = FAULT_NONE
    if to == NULL:
        return fault_arena(fault)
    while kind == FAULT_NONE and read_tag(&entry, &field, &wire):
        if field == 1 and wire == WIRE_BYTES:
            to.name = read_string(&entry)
        elif field == 2 and wire == WIRE_BYTES:
            inner = read_message(&entry)
            kind = read_value(&inner, &to.value, arena, fault)
            if inner.failed:
                entry.failed = True
        else:
            read_skip(&entry, field, wire)
    if entry.failed:
        reader.failed = True
    if kind != FAULT_NONE:
        prefix_field(fault, map_name, to.name)
    if kind == FAULT_NONE and not entries_settle(entries, arena):
        return fault_arena(fault)
    if kind == FAULT_NONE and entries.count > ENTRIES_MAX:
        return fault_size(fault, map_name, entries.count, "entries", ENTRIES_MAX)
    return kind


cdef bint entries_settle(Entries* entries, Arena* arena) noexcept nogil:
    """The last entry of a name wins: let the new one take an earlier one's place.

    False when the arena is full.
    """
    cdef uint32_t last = entries.count - 1
    cdef uint32_t i
    if entries.slots == NULL and entries.count > ENTRIES_SCANNED_MAX:
        entries.slots = <uint16_t*>arena_take(arena, ENTRY_SLOTS * sizeof(uint16_t))
        if entries.slots == NULL:
            return False
        memset(entries.slots, 0, ENTRY_SLOTS * sizeof(uint16_t))
        for i in range(last):
            entries_place(entries, i)
    i = entries_place(entries, last)
    if i != last:
        entries.items[i] = entries.items[last]
        entries.count -= 1
    return True


cdef uint32_t entries_place(Entries* entries, uint32_t index) noexcept nogil:
    """The entry before `index` that has its name; `index`, which is then noted, for none."""
    cdef Text name = entries.items[index].name
    cdef uint32_t at, i
    if entries.slots == NULL:
        for i in range(index):
            if text_equal(entries.items[i].name, name):
                return i
        return index
    at = <uint32_t>XXH3_64bits(name.data, name.length) & (ENTRY_SLOTS - 1)
    # At most ENTRIES_MAX + 1 slots are taken, so that a free one ends the search.
    while entries.slots[at] != 0:
        i = entries.slots[at] - 1
        if text_equal(entries.items[i].name, name):
            return i
        at = (at + 1) & (ENTRY_SLOTS - 1)
    entries.slots[at] = <uint16_t>(index + 1)
    return index


cdef Entry* entries_next(Entries* entries, Arena* arena) noexcept nogil:
    cdef Entry* items
    cdef uint32_t capacity
    if entries.count == entries.capacity:
        capacity = 2 * entries.capacity if entries.capacity else 16
        items = <Entry*>arena_take(arena, capacity * sizeof(Entry))
        if items == NULL:
            return NULL
        if entries.count:
            memcpy(items, entries.items, entries.count * sizeof(Entry))
        entries.items = items
        entries.capacity = capacity
    memset(&entries.items[entries.count], 0, sizeof(Entry))
    entries.count += 1
    return &entries.items[entries.count - 1]


cdef void prefix_field(Fault* fault, const char* map_name, Text name) noexcept nogil:
    """Put the path of a map's entry before the fault's own field."""
    cdef char rest[64]
    snprintf(rest, sizeof(rest), "%s", fault.field)
    snprintf(
        fault.field, sizeof(fault.field), "%s.%.*s.%s", map_name,
        <int>text_cut(name.data, name.length, 120), name.data, rest,
    )


cdef const char* tag_name(const Value* value) noexcept nogil:
    """What a value is, in the words of the schema."""
    if value.tag == TAG_BOOL:
        return "bool"
    if value.tag == TAG_INT:
        return "int"
    if value.tag == TAG_DOUBLE:
        return "double"
    if value.tag == TAG_STRING:
        return "string"
    if value.tag == TAG_TIMESTAMP:
        return "timestamp"
    if value.tag == TAG_LIST:
        return "vector" if value.flag else "list(string)"
    if value.tag == TAG_NULL:
        return "null"
    return "no value"


cdef const char* declared_type(uint8_t type) noexcept nogil:
    if type == TYPE_BOOL:
        return "bool"
    if type == TYPE_INT:
        return "int"
    if type == TYPE_DOUBLE:
        return "double"
    if type == TYPE_STRING:
        return "string"
    if type == TYPE_TIMESTAMP:
        return "timestamp"
    if type == TYPE_STRING_LIST:
        return "list(string)"
    return "vector"


cdef const char* fit_number(Value* value, uint8_t type) noexcept nogil:
    """Fit a number to int or double; NULL when it fits, else what is allowed."""
    cdef double number
    if type == TYPE_INT:
        if value.tag == TAG_INT:
            return NULL
        # 2**63 is exact as a double; every double below it converts exactly when whole.
        if value.as_.d >= -9223372036854775808.0 and value.as_.d < 9223372036854775808.0:
            if floor(value.as_.d) == value.as_.d:
                value.as_.i = <int64_t>value.as_.d
                value.tag = TAG_INT
                return NULL
        return "a whole number"
    if value.tag == TAG_DOUBLE:
        if not isfinite(value.as_.d):
            return "a finite number"
        return NULL
    number = <double>value.as_.i
    if number >= 9223372036854775808.0 or <int64_t>number != value.as_.i:
        return "a number that a double holds exactly"
    value.as_.d = number
    value.tag = TAG_DOUBLE
    return NULL


cdef const char* fit_strings(const Value* value) noexcept nogil:
    cdef uint32_t i
    if value.length > STRINGS_MAX:
        return "at most 1024 strings"
    for i in range(value.length):
        if value.as_.items[i].length > STRING_BYTES_MAX:
            return "strings of at most 1024 bytes"
    return NULL


cdef const char* fit_vector(const Value* value, uint32_t size) noexcept nogil:
    cdef uint32_t i
    if value.length > NUMBERS_MAX:
        return "at most 4096 numbers"
    if size and value.length and value.length != size:
        return "a vector of the declared size"
    for i in range(value.length):
        if not isfinite(value.as_.items[i].as_.d):
            return "finite numbers"
    return NULL


cdef const char* fit_timestamp(Value* value) noexcept nogil:
    if value.as_.i < TIMESTAMP_MIN_S or value.as_.i > TIMESTAMP_MAX_S:
        return "a moment from year 1 to 9999"
    if value.length > 999999999:
        return "nanos from 0 to 999999999"
    # Kept to the microsecond, as the contract says.
    value.length -= value.length % 1000
    return NULL


cdef int fit_value(
    Value* value, uint8_t type, uint32_t size, bint nullable, const char* map_name, Text name,
    Fault* fault,
) noexcept nogil:
    """Fit a request's value to its declared type, or say why it does not fit."""
    cdef const char* allowed = NULL
    cdef char seen[64]
    cdef uint8_t tag = value.tag
    if tag == TAG_NULL and nullable:
        return FAULT_NONE
    if type == TYPE_INT or type == TYPE_DOUBLE:
        if tag == TAG_INT or tag == TAG_DOUBLE:
            allowed = fit_number(value, type)
            if allowed == NULL:
                return FAULT_NONE
            return fault_entry(
                fault, FAULT_INVALID, map_name, name, tag_name(value), allowed
            )
    elif type == TYPE_BOOL and tag == TAG_BOOL:
        return FAULT_NONE
    elif type == TYPE_STRING and tag == TAG_STRING:
        if value.length <= STRING_BYTES_MAX:
            return FAULT_NONE
        snprintf(seen, sizeof(seen), "%u bytes", value.length)
        return fault_entry(fault, FAULT_INVALID, map_name, name, seen, "at most 1024 bytes")
    elif type == TYPE_TIMESTAMP and tag == TAG_TIMESTAMP:
        allowed = fit_timestamp(value)
        if allowed != NULL:
            return fault_entry(
                fault, FAULT_INVALID, map_name, name, tag_name(value), allowed
            )
        return FAULT_NONE
    elif type == TYPE_STRING_LIST and tag == TAG_LIST and not value.flag:
        allowed = fit_strings(value)
        if allowed != NULL:
            snprintf(seen, sizeof(seen), "a list of %u strings", value.length)
            return fault_entry(fault, FAULT_INVALID, map_name, name, seen, allowed)
        return FAULT_NONE
    elif type == TYPE_VECTOR and tag == TAG_LIST and (value.flag or value.length == 0):
        allowed = fit_vector(value, size)
        if allowed != NULL:
            snprintf(seen, sizeof(seen), "a vector of %u numbers", value.length)
            return fault_entry(fault, FAULT_INVALID, map_name, name, seen, allowed)
        value.flag = 0
        return FAULT_NONE
    return fault_entry(fault, FAULT_INVALID, map_name, name, tag_name(value), declared_type(type))
