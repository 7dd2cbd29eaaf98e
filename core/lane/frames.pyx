"""Frames: where in the bytes of a connection one ends."""

cdef enum:
    FRAME_HEAD_BYTES = 9
    FRAME_LENGTH_BYTES = 3
    PREFACE_BYTES = 24


cdef struct Frames:
    # Of the frame at hand: its head as far as it was read, and what is left of its payload.
    uint8_t head[FRAME_HEAD_BYTES]
    uint8_t head_length
    uint32_t payload_left


cdef void frames_begin(Frames* frames) noexcept nogil:
    """A connection begins with the client's preface, which is no frame."""
    memset(frames, 0, sizeof(Frames))
    frames.payload_left = PREFACE_BYTES


cdef void frames_read(Frames* frames, const uint8_t* data, size_t length) noexcept nogil:
    """Pass over what was read."""
    cdef size_t step
    while length:
        if frames.payload_left:
            step = min(<size_t>frames.payload_left, length)
            frames.payload_left -= <uint32_t>step
        else:
            step = min(<size_t>(FRAME_HEAD_BYTES - frames.head_length), length)
            memcpy(frames.head + frames.head_length, data, step)
            frames.head_length += <uint8_t>step
            if frames.head_length == FRAME_HEAD_BYTES:
                frame_begin(frames)
        data += step
        length -= step


cdef inline void frame_begin(Frames* frames) noexcept nogil:
    """The head is whole."""
    cdef const uint8_t* head = frames.head
    cdef uint32_t i
    frames.head_length = 0
    for i in range(FRAME_LENGTH_BYTES):
        frames.payload_left = frames.payload_left << 8 | head[i]


cdef inline bint frames_between(const Frames* frames) noexcept nogil:
    """Whether what was read ends with a frame."""
    return frames.payload_left == 0 and frames.head_length == 0


cdef inline size_t frames_next(const Frames* frames) noexcept nogil:
    """How many bytes there are to the end of the payload at hand, or of the next head."""
    if frames.payload_left:
        return frames.payload_left
    return FRAME_HEAD_BYTES - frames.head_length
