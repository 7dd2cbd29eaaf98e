"""Entries: the frames in which the log holds batches, read without Python.

A start has to go through millions of them.  Only the plain case is read here, an entry as members
write nearly all of them; every other one is left to the log's own code, which can name it.
"""

cdef extern from "mutation/checksum.h" nogil:
    uint32_t crc32c_of(const void* data, size_t length)
    uint32_t crc32c_of_frame(const void* frame, size_t length)


cdef enum:
    ENTRY_FORMAT = 1
    # The format and the checksum; it covers the format and what follows the head.
    ENTRY_HEAD_BYTES = 5
    # Of a LogEntry: field 1, a fixed64, and field 2, of a length.
    ENTRY_NONCE_TAG = 0x09
    ENTRY_NONCE_END = 14
    ENTRY_BATCH_TAG = 0x12
    # Mutations applied without a look at anything else, at the least.
    ENTRIES_MUTATIONS_MAX = 2000


cdef uint64_t entry_nonce(Text entry) noexcept nogil:
    """The nonce in a frame, not checked yet; 0 where it is not at its place."""
    cdef uint64_t nonce = 0
    if entry.length > ENTRY_NONCE_END and entry.data[0] == ENTRY_FORMAT and (
        entry.data[ENTRY_HEAD_BYTES] == ENTRY_NONCE_TAG
    ):
        memcpy(&nonce, entry.data + ENTRY_HEAD_BYTES + 1, 8)
    return nonce


cdef bint read_entry_batch(Text entry, Text* batch) noexcept nogil:
    """Read a frame that has a nonce, and then a batch; False for any other or damaged one."""
    cdef Reader reader = reader_of(entry.data, entry.length)
    cdef uint32_t stated
    memcpy(&stated, entry.data + 1, 4)
    if stated != crc32c_of_frame(entry.data, entry.length):
        return False
    reader.at += ENTRY_NONCE_END
    if reader.at[0] != ENTRY_BATCH_TAG:
        return False
    reader.at += 1
    batch[0] = read_bytes(&reader)
    return not reader.failed and reader.at == reader.end


cdef bint batch_is_plain(Text batch) noexcept nogil:
    """Whether it holds nothing but whole mutations that change profiles."""
    cdef Reader reader = reader_of(batch.data, batch.length)
    cdef uint32_t field = 0, wire = 0
    cdef MutationMessage message
    while read_tag(&reader, &field, &wire):
        if field != 1 or wire != WIRE_BYTES:
            return False
        if not read_mutation(read_bytes(&reader), &message):
            return False
        if not BODY_EVENT <= message.body <= BODY_ERASURE:
            return False
    return not reader.failed
