"""Streams: one call each, from its headers to its last frame, in memory that is used again."""

cdef enum:
    PREFIX_BYTES = 5
    # So near a deadline the time is read anew.
    DEADLINE_NEAR_US = 10000
    # Larger buffers are given back when their call ends.
    BUFFER_KEPT_MAX = 65536
    STREAMS_CHUNK = 256
    STREAM_CHUNKS_MAX = 65536


cdef enum:
    # Why a call is refused when its request has ended, or at once.
    REFUSAL_NONE = 0
    REFUSAL_METHOD = 1
    REFUSAL_CONTENT_TYPE = 2
    REFUSAL_PATH = 3
    REFUSAL_TIMEOUT = 4
    REFUSAL_HEADERS = 5
    REFUSAL_BUFFER = 6
    REFUSAL_TOO_LARGE = 7
    REFUSAL_COMPRESSED = 8
    REFUSAL_COMPRESSED_NO_ENCODING = 9
    REFUSAL_MORE_MESSAGES = 10
    REFUSAL_FRAMING = 11


cdef struct Buffer:
    uint8_t* data
    size_t length
    size_t capacity


cdef struct Stream:
    int32_t id
    # The slot's number, and how often it was used: together they name the call.
    uint32_t slot
    uint32_t uses
    Connection* connection
    # Of the connection's open calls.
    Stream* previous
    Stream* following
    uint8_t method
    uint8_t refusal
    bint request_ended
    bint answered
    # The engine's answer waits for the log.
    bint pending
    bint post
    bint head
    bint grpc
    bint encoded
    size_t header_bytes
    # On the wall clock, in microseconds; 0 for none.
    int64_t deadline_us
    # The same moment on the steady clock, in milliseconds; 0 for none.
    int64_t deadline_ms
    int64_t began_ms
    # When the peer last took some of the answer.
    int64_t moved_ms
    # When its time is up, and its place in the heap of those, from 1; 0 for none.
    int64_t due_ms
    uint32_t due_place
    # The length that the message's prefix tells; the prefix stands in `request`.
    uint64_t message_length
    Buffer request
    Buffer answer
    size_t answer_sent
    CallTrace trace
    Buffer tracestate
    Buffer baggage
    # The gRPC status it was answered with; CODE_NONE for what was no call.
    int32_t code


cdef struct StreamPool:
    Stream** chunks
    uint32_t chunks_count
    uint32_t* unused
    uint32_t unused_count
    Stream** due
    uint32_t due_count


cdef bint buffer_room(Buffer* buffer, size_t need) noexcept nogil:
    cdef size_t capacity = buffer.capacity if buffer.capacity else 1024
    cdef void* data
    if need <= buffer.capacity:
        return True
    while capacity < need:
        capacity *= 2
    data = realloc(buffer.data, capacity)
    if data == NULL:
        return False
    buffer.data = <uint8_t*>data
    buffer.capacity = capacity
    return True


cdef inline bint buffer_add(Buffer* buffer, const void* data, size_t length) noexcept nogil:
    if not buffer_room(buffer, buffer.length + length):
        return False
    memcpy(buffer.data + buffer.length, data, length)
    buffer.length += length
    return True


cdef inline void buffer_empty(Buffer* buffer) noexcept nogil:
    buffer.length = 0
    if buffer.capacity > BUFFER_KEPT_MAX:
        buffer_free(buffer)


cdef void buffer_free(Buffer* buffer) noexcept nogil:
    free(buffer.data)
    memset(buffer, 0, sizeof(Buffer))


cdef bint pool_init(StreamPool* pool) noexcept nogil:
    memset(pool, 0, sizeof(StreamPool))
    pool.chunks = <Stream**>calloc(STREAM_CHUNKS_MAX, sizeof(Stream*))
    return pool.chunks != NULL


cdef void pool_free(StreamPool* pool) noexcept nogil:
    cdef uint32_t i, j
    for i in range(pool.chunks_count):
        for j in range(STREAMS_CHUNK):
            buffer_free(&pool.chunks[i][j].request)
            buffer_free(&pool.chunks[i][j].answer)
            buffer_free(&pool.chunks[i][j].tracestate)
            buffer_free(&pool.chunks[i][j].baggage)
        free(pool.chunks[i])
    free(pool.chunks)
    free(pool.unused)
    free(pool.due)


cdef bint pool_grow(StreamPool* pool) noexcept nogil:
    cdef uint32_t number = pool.chunks_count
    cdef Stream* chunk
    cdef void* unused
    cdef void* due
    cdef uint32_t i
    if number == STREAM_CHUNKS_MAX:
        return False
    unused = realloc(pool.unused, (number + 1) * STREAMS_CHUNK * sizeof(uint32_t))
    if unused == NULL:
        return False
    pool.unused = <uint32_t*>unused
    due = realloc(pool.due, (number + 1) * STREAMS_CHUNK * sizeof(Stream*))
    if due == NULL:
        return False
    pool.due = <Stream**>due
    chunk = <Stream*>calloc(STREAMS_CHUNK, sizeof(Stream))
    if chunk == NULL:
        return False
    pool.chunks[number] = chunk
    pool.chunks_count += 1
    for i in range(STREAMS_CHUNK):
        chunk[i].slot = number * STREAMS_CHUNK + i
        pool.unused[pool.unused_count] = chunk[i].slot
        pool.unused_count += 1
    return True


cdef inline Stream* pool_at(StreamPool* pool, uint32_t slot) noexcept nogil:
    return &pool.chunks[slot // STREAMS_CHUNK][slot % STREAMS_CHUNK]


cdef Stream* stream_open(StreamPool* pool, Connection* connection, int32_t id) noexcept nogil:
    """A fresh call at the head of the connection's; NULL without memory."""
    cdef Stream* stream
    if pool.unused_count == 0 and not pool_grow(pool):
        return NULL
    pool.unused_count -= 1
    stream = pool_at(pool, pool.unused[pool.unused_count])
    stream.id = id
    stream.connection = connection
    stream.previous = NULL
    stream.following = connection.streams
    if connection.streams != NULL:
        connection.streams.previous = stream
    connection.streams = stream
    connection.streams_count += 1
    stream.method = METHOD_NONE
    stream.refusal = REFUSAL_NONE
    stream.request_ended = stream.answered = stream.pending = False
    stream.post = stream.head = stream.grpc = stream.encoded = False
    stream.header_bytes = 0
    stream.deadline_us = stream.deadline_ms = 0
    stream.answer_sent = 0
    stream.code = CODE_NONE
    return stream


cdef void stream_close(StreamPool* pool, Stream* stream) noexcept nogil:
    """End a call, whatever became of it; its memory is kept until `stream_release`."""
    cdef Connection* connection = stream.connection
    due_clear(pool, stream)
    if stream.previous != NULL:
        stream.previous.following = stream.following
    else:
        connection.streams = stream.following
    if stream.following != NULL:
        stream.following.previous = stream.previous
    connection.streams_count -= 1
    connection.request_bytes -= stream.request.length
    connection.answer_bytes -= stream.answer.length - stream.answer_sent
    stream.uses += 1


cdef void stream_release(StreamPool* pool, Stream* stream) noexcept nogil:
    """Let the memory of a closed call be used again."""
    buffer_empty(&stream.request)
    buffer_empty(&stream.answer)
    buffer_empty(&stream.tracestate)
    buffer_empty(&stream.baggage)
    pool.unused[pool.unused_count] = stream.slot
    pool.unused_count += 1


cdef inline uint64_t stream_token(const Stream* stream) noexcept nogil:
    return <uint64_t>stream.uses << 32 | stream.slot


cdef Stream* stream_named(StreamPool* pool, uint64_t token) noexcept nogil:
    """The call of a token, NULL when it has ended."""
    cdef uint32_t slot = <uint32_t>token
    cdef Stream* stream
    if slot >= pool.chunks_count * STREAMS_CHUNK:
        return NULL
    stream = pool_at(pool, slot)
    return stream if stream.uses == <uint32_t>(token >> 32) else NULL
