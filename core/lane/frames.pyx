"""Frames: where in the bytes of a connection one ends."""

cdef enum:
    FRAME_HEAD_BYTES = 9
    FRAME_LENGTH_BYTES = 3
    FRAME_STREAM_AT = 5
    PREFACE_BYTES = 24


cdef struct Frames:
    # Of the frame at hand: its head as far as it was read, and what is left of its payload.
    uint8_t head[FRAME_HEAD_BYTES]
    uint8_t head_length
    uint32_t payload_left
    bint resets


cdef void frames_begin(Frames* frames) noexcept nogil:
    """A connection begins with the client's preface, which is no frame."""
    memset(frames, 0, sizeof(Frames))
    frames.payload_left = PREFACE_BYTES


cdef size_t frames_read(
    Connection* connection, const uint8_t* data, size_t length
) noexcept nogil:
    """Pass over what was read, to the end of a reset at most: what follows may be of its stream.

    Gives how many bytes that is.
    """
    cdef Frames* frames = &connection.frames
    cdef size_t step
    cdef size_t at = 0
    while at < length:
        if frames.payload_left:
            step = min(<size_t>frames.payload_left, length - at)
            frames.payload_left -= <uint32_t>step
        else:
            step = min(<size_t>(FRAME_HEAD_BYTES - frames.head_length), length - at)
            memcpy(frames.head + frames.head_length, data + at, step)
            frames.head_length += <uint8_t>step
            if frames.head_length == FRAME_HEAD_BYTES:
                frame_begin(connection)
        at += step
        if frames.resets and not frames.payload_left:
            break
    return at


cdef inline void frame_begin(Connection* connection) noexcept nogil:
    """The head is whole.  nghttp2 is silent about DATA of a stream that has ended."""
    cdef Frames* frames = &connection.frames
    cdef const uint8_t* head = frames.head
    cdef uint32_t i
    cdef uint32_t id = 0
    frames.head_length = 0
    for i in range(FRAME_LENGTH_BYTES):
        frames.payload_left = frames.payload_left << 8 | head[i]
    frames.resets = head[FRAME_LENGTH_BYTES] == NGHTTP2_RST_STREAM
    if head[FRAME_LENGTH_BYTES] == NGHTTP2_DATA:
        for i in range(FRAME_STREAM_AT, FRAME_HEAD_BYTES):
            id = id << 8 | head[i]
        on_stream_frame(connection, NGHTTP2_DATA, <int32_t>(id & 0x7FFFFFFF))


cdef inline bint frames_between(const Frames* frames) noexcept nogil:
    """Whether what was read ends with a frame."""
    return frames.payload_left == 0 and frames.head_length == 0


cdef inline size_t frames_next(const Frames* frames) noexcept nogil:
    """How many bytes there are to the end of the payload at hand, or of the next head."""
    if frames.payload_left:
        return frames.payload_left
    return FRAME_HEAD_BYTES - frames.head_length
