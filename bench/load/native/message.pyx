"""The requests, encoded before the run, and what is patched into them for each call."""

cdef enum:
    PATCH_PROFILE = 0  # the profile's number, in decimal, filled up with zeros
    PATCH_EVENT = 1  # a fresh event id


cdef struct Patch:
    int kind
    uint32_t offset
    uint32_t width


cdef struct Body:
    uint16_t method
    uint8_t* data  # with gRPC's five bytes before the message
    uint32_t length
    Patch* patches
    uint32_t patch_count


cdef struct Part:
    uint32_t first  # of its bodies
    uint32_t count
    uint32_t next
    uint64_t weight  # of all parts up to and with this one
    Histogram latencies
    uint64_t calls
    uint64_t failed
    uint64_t answer_bytes
    uint32_t answer_least
    uint32_t answer_most


cdef inline void write_number(uint8_t* out, uint32_t width, uint64_t number) noexcept nogil:
    """A number's last `width` digits."""
    cdef uint32_t place
    for place in range(width):
        out[width - 1 - place] = c"0" + <uint8_t>(number % 10)
        number //= 10


cdef void write_body(
    const Body* body, uint8_t* out, Spread* profiles, uint64_t* random
) noexcept nogil:
    """A request for one call; `out` has room for it."""
    cdef const Patch* patch
    cdef uint32_t i
    memcpy(out, body.data, body.length)
    for i in range(body.patch_count):
        patch = &body.patches[i]
        if patch.kind == PATCH_PROFILE:
            write_number(out + patch.offset, patch.width, spread_next(profiles))
        else:
            write_event_id(out + patch.offset, random)


cdef inline uint32_t pick_part(const Part* parts, uint32_t count, uint64_t* random) noexcept nogil:
    """A part, with a probability as its weight."""
    cdef uint32_t i
    cdef uint64_t chance
    if count == 1:
        return 0
    chance = next_random(random) % parts[count - 1].weight
    for i in range(count):
        if chance < parts[i].weight:
            return i
    return count - 1
