"""Reader: the protobuf wire format, read field by field.

Source: protobuf.dev/programming-guides/encoding.  A field of a wire type its schema does
not know is skipped like an unknown field, as the official parsers do.
"""

cdef enum WireType:
    WIRE_VARINT = 0
    WIRE_FIXED64 = 1
    WIRE_BYTES = 2
    WIRE_GROUP = 3
    WIRE_GROUP_END = 4
    WIRE_FIXED32 = 5


cdef enum:
    # The official parsers' recursion limit: nested messages and unknown groups together.
    DEPTH_MAX = 100


cdef struct Reader:
    const uint8_t* at
    const uint8_t* end
    bint failed
    # How many messages this one is nested in.
    uint32_t depth


cdef inline Reader reader_of(const char* data, size_t length) noexcept nogil:
    cdef Reader reader
    reader.at = <const uint8_t*>data
    reader.end = reader.at + length
    reader.failed = False
    reader.depth = 0
    return reader


cdef inline uint64_t read_varint(Reader* reader) noexcept nogil:
    cdef uint64_t value = 0
    cdef uint32_t shift
    cdef uint8_t byte
    if reader.at < reader.end and reader.at[0] < 0x80:
        value = reader.at[0]
        reader.at += 1
        return value
    for shift in range(0, 70, 7):
        if reader.at >= reader.end:
            break
        byte = reader.at[0]
        reader.at += 1
        # Of the tenth byte one bit counts; the official parsers drop the others too.
        value |= <uint64_t>(byte & 0x7F) << shift
        if byte < 0x80:
            return value
    reader.failed = True
    return 0


cdef inline uint32_t read_varint32(Reader* reader) noexcept nogil:
    """A varint of at most five bytes and 32 bits: a tag or a length."""
    cdef const uint8_t* start = reader.at
    cdef uint64_t value = read_varint(reader)
    if reader.at - start > 5 or value >> 32 != 0:
        reader.failed = True
    return <uint32_t>value


cdef inline bint read_tag(Reader* reader, uint32_t* field, uint32_t* wire) noexcept nogil:
    """Read the next tag; False at the end of the message or when it is malformed."""
    cdef uint32_t tag
    if reader.failed or reader.at >= reader.end:
        return False
    tag = read_varint32(reader)
    field[0] = tag >> 3
    wire[0] = tag & 7
    if field[0] == 0:
        reader.failed = True
    return not reader.failed


cdef inline uint64_t read_fixed64(Reader* reader) noexcept nogil:
    cdef uint64_t value = 0
    if reader.end - reader.at < 8:
        reader.failed = True
        return 0
    memcpy(&value, reader.at, 8)
    reader.at += 8
    return value


cdef inline Text read_bytes(Reader* reader) noexcept nogil:
    cdef Text text
    cdef uint32_t length = read_varint32(reader)
    text.data = <const char*>reader.at
    text.length = 0
    if reader.failed or length > <uint64_t>(reader.end - reader.at):
        reader.failed = True
        return text
    text.length = length
    reader.at += length
    return text


cdef inline Reader read_message(Reader* reader) noexcept nogil:
    """A reader of the nested message that follows."""
    cdef Text text = read_bytes(reader)
    cdef Reader inner = reader_of(text.data, text.length)
    inner.depth = reader.depth + 1
    return inner


cdef inline Text read_string(Reader* reader) noexcept nogil:
    """Read a string; one that is not UTF-8 fails the message (proto3)."""
    cdef Text text = read_bytes(reader)
    if not utf8_valid(text):
        reader.failed = True
    return text


cdef void read_skip(Reader* reader, uint32_t field, uint32_t wire) noexcept nogil:
    """Skip a field that nobody knows, groups included."""
    cdef uint32_t groups[DEPTH_MAX]
    cdef uint32_t depth = 0
    cdef uint32_t inner = field
    cdef uint32_t inner_wire = wire
    while not reader.failed:
        if inner_wire == WIRE_GROUP and reader.depth + depth < DEPTH_MAX:
            groups[depth] = inner
            depth += 1
        elif inner_wire == WIRE_GROUP_END and depth > 0 and groups[depth - 1] == inner:
            depth -= 1
        else:
            read_skip_plain(reader, inner_wire)
        if depth == 0:
            return
        if not read_tag(reader, &inner, &inner_wire):
            reader.failed = True


cdef uint64_t request_digest(Text request, uint32_t maps) noexcept nogil:
    """A hash of a well-formed request; entries of `maps`, a bit for each field, have no order.

    A client that writes the same request again may put the entries of a map elsewhere.
    """
    cdef Reader reader = reader_of(request.data, request.length)
    cdef const uint8_t* start = reader.at
    cdef uint64_t sum = 0, seed, number = 0
    cdef uint32_t field = 0, wire = 0
    while read_tag(&reader, &field, &wire):
        read_skip(&reader, field, wire)
        if field < 32 and maps >> field & 1:
            seed = 0
        else:
            number += 1
            seed = number
        sum += XXH3_64bits_withSeed(start, reader.at - start, seed)
        start = reader.at
    return sum


cdef inline void read_skip_plain(Reader* reader, uint32_t wire) noexcept nogil:
    if wire == WIRE_VARINT:
        read_varint(reader)
    elif wire == WIRE_FIXED64:
        read_fixed64(reader)
    elif wire == WIRE_BYTES:
        read_bytes(reader)
    elif wire == WIRE_FIXED32 and reader.end - reader.at >= 4:
        reader.at += 4
    else:
        reader.failed = True


cdef inline bint utf8_valid(Text text) noexcept nogil:
    cdef const uint8_t* at = <const uint8_t*>text.data
    cdef const uint8_t* end = at + text.length
    cdef uint64_t word
    cdef int width
    while at < end:
        # Eight ASCII bytes at once: nearly all that arrives.
        if end - at >= 8:
            memcpy(&word, at, 8)
            if (word & <uint64_t>0x8080808080808080) == 0:
                at += 8
                continue
        width = utf8_width(at, end - at)
        if width == 0:
            return False
        at += width
    return True
