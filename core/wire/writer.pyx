"""Writer: the protobuf wire format, written into one growing and bounded buffer."""

cdef enum:
    WRITER_START = 4096
    # Larger than any answer that the bounds on placements and actions allow.
    WRITER_MAX = 67108864
    # Of a number of 64 bits.
    VARINT_MAX = 10


cdef struct Writer:
    uint8_t* data
    size_t length
    size_t capacity
    # What the capacity may come to; 0 for WRITER_MAX.
    size_t most
    # Out of memory or over that; what was written is then not to be used.
    bint failed


cdef void writer_free(Writer* writer) noexcept nogil:
    free(writer.data)
    memset(writer, 0, sizeof(Writer))


cdef inline void writer_reset(Writer* writer) noexcept nogil:
    """Begin anew, whatever became of what was written before."""
    writer.length = 0
    writer.failed = False


cdef bint writer_grow(Writer* writer, size_t need) noexcept nogil:
    cdef size_t capacity = writer.capacity if writer.capacity else WRITER_START
    cdef void* data
    cdef size_t most = writer.most if writer.most else WRITER_MAX
    if writer.failed:
        return False
    while capacity < writer.length + need:
        capacity *= 2
    data = realloc(writer.data, capacity) if capacity <= most else NULL
    if data == NULL:
        writer.failed = True
        return False
    writer.data = <uint8_t*>data
    writer.capacity = capacity
    return True


cdef inline bint writer_room(Writer* writer, size_t need) noexcept nogil:
    """Whether there is; after a failure there may be still, for what nobody reads."""
    return writer.length + need <= writer.capacity or writer_grow(writer, need)


# A byte's address may be the writer's own, for all the compiler knows: what is written goes through
# a pointer, and one question for room is asked for a whole field.
cdef inline uint8_t* lay_varint(uint8_t* at, uint64_t value) noexcept nogil:
    """Write where there is room, VARINT_MAX at most, and give where it ends."""
    while value >= 0x80:
        at[0] = <uint8_t>(value | 0x80)
        at += 1
        value >>= 7
    at[0] = <uint8_t>value
    return at + 1


cdef inline uint8_t* lay_tag(uint8_t* at, uint32_t field, uint32_t wire) noexcept nogil:
    return lay_varint(at, field << 3 | wire)


cdef inline void put_varint(Writer* writer, uint64_t value) noexcept nogil:
    if writer_room(writer, VARINT_MAX):
        writer.length = lay_varint(writer.data + writer.length, value) - writer.data


cdef inline void put_tag(Writer* writer, uint32_t field, uint32_t wire) noexcept nogil:
    put_varint(writer, field << 3 | wire)


cdef inline void put_raw(Writer* writer, const void* data, size_t length) noexcept nogil:
    if length == 0 or not writer_room(writer, length):
        return
    memcpy(writer.data + writer.length, data, length)
    writer.length += length


cdef inline void write_uint(Writer* writer, uint32_t field, uint64_t value) noexcept nogil:
    """A varint field; nothing for 0, as proto3 has it."""
    cdef uint8_t* at
    if value != 0 and writer_room(writer, 2 * VARINT_MAX):
        at = lay_tag(writer.data + writer.length, field, WIRE_VARINT)
        writer.length = lay_varint(at, value) - writer.data


cdef inline void write_fixed64(Writer* writer, uint32_t field, uint64_t value) noexcept nogil:
    if value != 0:
        write_fixed64_always(writer, field, value)


cdef inline void write_fixed64_always(
    Writer* writer, uint32_t field, uint64_t value
) noexcept nogil:
    cdef uint8_t* at
    if writer_room(writer, VARINT_MAX + 8):
        at = lay_tag(writer.data + writer.length, field, WIRE_FIXED64)
        memcpy(at, &value, 8)
        writer.length = at + 8 - writer.data


cdef inline void write_double_always(Writer* writer, uint32_t field, double value) noexcept nogil:
    """A double whose field has presence."""
    cdef uint64_t bits
    memcpy(&bits, &value, 8)
    write_fixed64_always(writer, field, bits)


cdef inline void write_double(Writer* writer, uint32_t field, double value) noexcept nogil:
    cdef uint64_t bits
    # Minus zero is not the default value; its bits tell.
    memcpy(&bits, &value, 8)
    write_fixed64(writer, field, bits)


cdef inline void write_text_always(Writer* writer, uint32_t field, Text text) noexcept nogil:
    """A string that is written even when empty: an element of a repeated field."""
    cdef uint8_t* at
    if not writer_room(writer, 2 * VARINT_MAX + text.length):
        return
    at = lay_tag(writer.data + writer.length, field, WIRE_BYTES)
    at = lay_varint(at, text.length)
    if text.length:
        memcpy(at, text.data, text.length)
    writer.length = at + text.length - writer.data


cdef inline void write_text(Writer* writer, uint32_t field, Text text) noexcept nogil:
    if text.length != 0:
        write_text_always(writer, field, text)


cdef inline size_t message_open(Writer* writer, uint32_t field) noexcept nogil:
    """Begin a nested message; give what it returns to message_close."""
    cdef uint8_t* at
    if writer_room(writer, VARINT_MAX + 1):
        at = lay_tag(writer.data + writer.length, field, WIRE_BYTES)
        # For the length, which message_close writes.
        at[0] = 0
        writer.length = at + 1 - writer.data
    return writer.length


cdef inline void message_close(Writer* writer, size_t start) noexcept nogil:
    cdef size_t length = writer.length - start
    cdef size_t size = length
    cdef size_t extra = 0
    if writer.failed:
        return
    if length < 0x80:
        writer.data[start - 1] = <uint8_t>length
        return
    # One byte was left for the length; longer messages are moved up.
    while size >= 0x80:
        size >>= 7
        extra += 1
    if extra:
        if not writer_room(writer, extra):
            return
        memmove(writer.data + start + extra, writer.data + start, length)
    writer.length = start - 1
    put_varint(writer, length)
    writer.length = start + extra + length


cdef void write_time(Writer* writer, uint32_t field, int64_t time_us) noexcept nogil:
    """A google.protobuf.Timestamp of microseconds since 1970."""
    cdef size_t start = message_open(writer, field)
    cdef int64_t seconds = floor_divide(time_us, 1000000)
    write_uint(writer, 1, <uint64_t>seconds)
    write_uint(writer, 2, <uint64_t>((time_us - seconds * 1000000) * 1000))
    message_close(writer, start)


cdef void write_value(Writer* writer, uint32_t field, const Value* value) noexcept nogil:
    """A nextbest.v1.Value."""
    cdef size_t start = message_open(writer, field)
    cdef size_t inner
    cdef uint32_t i
    cdef const Value* items = value.as_.items
    if value.tag == TAG_BOOL or value.tag == TAG_INT or value.tag == TAG_UINT:
        put_tag(writer, 1 if value.tag == TAG_BOOL else 2, WIRE_VARINT)
        put_varint(writer, value.as_.u)
    elif value.tag == TAG_DOUBLE:
        write_double_always(writer, 3, value.as_.d)
    elif value.tag == TAG_STRING:
        write_text_always(writer, 4, value_text(value))
    elif value.tag == TAG_TIMESTAMP:
        inner = message_open(writer, 5)
        write_uint(writer, 1, <uint64_t>value.as_.i)
        write_uint(writer, 2, value.length)
        message_close(writer, inner)
    elif value.tag == TAG_LIST and value.length and items[0].tag == TAG_DOUBLE:
        write_vector(writer, value)
    elif value.tag == TAG_LIST:
        inner = message_open(writer, 6)
        for i in range(value.length):
            write_text_always(writer, 1, value_text(&items[i]))
        message_close(writer, inner)
    else:
        put_tag(writer, 8, WIRE_VARINT)
        put_varint(writer, 0)
    message_close(writer, start)


cdef void write_value_entry(
    Writer* writer, uint32_t field, Text name, const Value* value
) noexcept nogil:
    """An entry of a map<string, Value>."""
    cdef size_t start = message_open(writer, field)
    write_text_always(writer, 1, name)
    write_value(writer, 2, value)
    message_close(writer, start)


cdef void write_vector(Writer* writer, const Value* value) noexcept nogil:
    cdef size_t inner = message_open(writer, 7)
    cdef uint32_t i
    put_tag(writer, 1, WIRE_BYTES)
    put_varint(writer, 8 * <uint64_t>value.length)
    for i in range(value.length):
        put_raw(writer, &value.as_.items[i].as_.d, 8)
    message_close(writer, inner)


cdef inline Text value_text(const Value* value) noexcept nogil:
    cdef Text text
    text.data = value.as_.s
    text.length = value.length
    return text
