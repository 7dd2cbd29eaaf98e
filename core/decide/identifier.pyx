"""Seeds and decision ids, for requests that bring none."""

cdef enum:
    UUID_LENGTH = 36


cdef struct Identifiers:
    # Drawn once for each engine; all that follows is counted from it.
    uint64_t seed
    uint64_t count


cdef inline uint64_t split_mix(uint64_t seed, uint64_t count) noexcept nogil:
    """Number `count` of the sequence that a seed begins: SplitMix64 (Steele et al., 2014)."""
    cdef uint64_t z = seed + count * <uint64_t>0x9E3779B97F4A7C15
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
    return z ^ (z >> 31)


cdef uint64_t next_seed(Identifiers* identifiers) noexcept nogil:
    """The next number; never 0."""
    cdef uint64_t z
    identifiers.count += 1
    z = split_mix(identifiers.seed, identifiers.count)
    return z if z else 1


cdef void write_hex(char* to, uint64_t value, uint32_t digits) noexcept nogil:
    """Write the lowest digits in hexadecimal; snprintf takes ten times the instructions."""
    cdef uint32_t i
    for i in range(digits):
        to[digits - 1 - i] = b"0123456789abcdef"[value & 15]
        value >>= 4


cdef bint make_uuid7(
    Identifiers* identifiers, Arena* arena, int64_t now_us, Text* to
) noexcept nogil:
    """Make a UUIDv7 (RFC 9562) in the arena; False when the arena is full."""
    cdef char* text = <char*>arena_take(arena, UUID_LENGTH)
    if text == NULL:
        return False
    write_uuid7(identifiers, now_us, text)
    to.data = text
    to.length = UUID_LENGTH
    return True


cdef void write_uuid7(Identifiers* identifiers, int64_t now_us, char* text) noexcept nogil:
    """Write the 36 characters of a UUIDv7."""
    cdef uint64_t high = next_seed(identifiers)
    spell_uuid7(<uint64_t>(now_us // 1000), high, next_seed(identifiers), text)


cdef void spell_uuid7(uint64_t ms, uint64_t high, uint64_t low, char* text) noexcept nogil:
    """Write the 36 characters of a UUIDv7 of a time and of what makes it unique."""
    write_hex(text, ms >> 16, 8)
    write_hex(text + 9, ms & 0xFFFF, 4)
    write_hex(text + 14, 0x7000 | (high & 0xFFF), 4)
    write_hex(text + 19, 0x8000 | (high >> 48 & 0x3FFF), 4)
    write_hex(text + 24, low & <uint64_t>0xFFFFFFFFFFFF, 12)
    text[8] = text[13] = text[18] = text[23] = c'-'
