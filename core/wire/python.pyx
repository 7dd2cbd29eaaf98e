"""Between Python objects and the plain structs; used at the `def` edge only."""

cdef str text_str(Text text):
    """A Text as str; what is not UTF-8 is replaced."""
    return text.data[:text.length].decode("utf-8", "replace")


cdef Text text_from(bytes data) noexcept:
    """A Text of bytes that the caller keeps alive."""
    cdef Text text
    text.data = <char*>data
    text.length = <uint32_t>len(data)
    return text


cdef IdentityRef ref_of(int kind, bytes id_bytes) noexcept:
    """An IdentityRef of bytes that the caller keeps alive."""
    cdef IdentityRef identity
    identity.kind = <uint8_t>kind
    identity.id = <char*>id_bytes
    identity.length = <uint32_t>len(id_bytes)
    return identity


cdef bytes ref_bytes(IdentityRef identity):
    return identity.id[:identity.length]


cdef void write_identity(Writer* writer, uint32_t field, IdentityRef identity) noexcept nogil:
    """A nextbest.v1.Identity."""
    cdef size_t start = message_open(writer, field)
    cdef Text id
    id.data = identity.id
    id.length = identity.length
    write_uint(writer, 1, identity.kind)
    write_text(writer, 2, id)
    message_close(writer, start)


cdef list batch_requests(bytes request):
    """The requests of a DecideBatchRequest, each as bytes."""
    cdef Reader reader = reader_of(<char*>request, len(request))
    cdef uint32_t field = 0, wire = 0
    cdef Text text
    cdef Fault fault
    requests = []
    while read_tag(&reader, &field, &wire):
        if field != 1 or wire != WIRE_BYTES:
            read_skip(&reader, field, wire)
            continue
        if len(requests) == BATCH_MAX:
            fault_size(&fault, "requests", BATCH_MAX + 1, "requests", BATCH_MAX)
            fault_raise(&fault)
        text = read_bytes(&reader)
        requests.append(text.data[:text.length])
    if reader.failed:
        fault_malformed(&fault)
        fault_raise(&fault)
    return requests
