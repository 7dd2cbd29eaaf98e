"""Between Python objects and the plain structs; used at the `def` edge only."""

cdef str text_str(Text text):
    """A Text as str; what is not UTF-8 is replaced."""
    return text.data[:text.length].decode("utf-8", "replace")


cdef enum:
    # The largest message that protobuf has.
    REQUEST_BYTES_MAX = 2147483647


cdef Text text_from(bytes data) except *:
    """A Text of bytes that the caller keeps alive."""
    cdef Text text
    if len(data) > REQUEST_BYTES_MAX:
        raise errors.TooLargeError("request", f"{len(data)} bytes", f"at most {REQUEST_BYTES_MAX}")
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
