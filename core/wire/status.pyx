"""Statuses: a fault written as google.rpc.Status with its details (google/rpc/error_details).

Clients cut off trailers over 8 KiB: every text is cut to TEXT_BYTES_MAX.
"""

cdef enum:
    TEXT_BYTES_MAX = 200


cdef struct StatusRule:
    # What a kind of fault means to a caller; from the class of core/errors.py.
    int32_t code
    const char* reason
    int64_t retry_ms


cdef StatusRule STATUS_RULES[FAULT_KINDS]
cdef list REASONS_KEPT = [b""]


cdef int load_status_rules() except -1:
    for number in range(1, FAULT_KINDS):
        kind = FAULT_ERRORS[number]
        REASONS_KEPT.append(kind.status_reason.encode())
        STATUS_RULES[number].code = kind.status_code
        STATUS_RULES[number].reason = <char*>(<bytes>REASONS_KEPT[number])
        STATUS_RULES[number].retry_ms = kind.retry_ms
    return 0


load_status_rules()


cdef struct Line:
    # A text under construction, cut where it is full.
    char data[TEXT_BYTES_MAX]
    uint32_t length
    bint cut


cdef void line_add(Line* line, const char* text) noexcept nogil:
    cdef size_t length = strlen(text)
    cdef size_t kept = text_cut(text, length, TEXT_BYTES_MAX - line.length)
    if line.cut:
        return
    memcpy(line.data + line.length, text, kept)
    line.length += <uint32_t>kept
    if kept < length:
        line.cut = True
        line.length = <uint32_t>text_cut(line.data, line.length, TEXT_BYTES_MAX - 3)
        memcpy(line.data + line.length, <const char*>"...", 3)
        line.length += 3


cdef inline Text line_text(const Line* line) noexcept nogil:
    cdef Text text
    text.data = &line.data[0]
    text.length = line.length
    return text


cdef void fault_describe(const Fault* fault, bint with_field, Line* line) noexcept nogil:
    """What was wrong, in words, with the field's name before it or without."""
    line.length = 0
    line.cut = False
    if with_field and fault.field[0]:
        line_add(line, fault.field)
        line_add(line, ": ")
    line_add(line, fault.seen)
    if fault.kind == FAULT_USED:
        line_add(line, " was used for another request")
    elif fault.allowed[0]:
        line_add(line, ", allowed: ")
        line_add(line, fault.allowed)


cdef inline bint names_a_field(const Fault* fault) noexcept nogil:
    return (
        fault.kind == FAULT_INVALID or fault.kind == FAULT_UNKNOWN_NAME
        or fault.kind == FAULT_TOO_LATE or fault.kind == FAULT_TOO_LARGE
        or fault.kind == FAULT_USED or fault.kind == FAULT_UNKNOWN_GENERATION
    )


cdef size_t detail_open(Writer* writer, const char* type_url, size_t* any) noexcept nogil:
    """Begin a google.protobuf.Any among the details."""
    any[0] = message_open(writer, 3)
    write_text(writer, 1, text_of(type_url))
    return message_open(writer, 2)


cdef void detail_close(Writer* writer, size_t any, size_t value) noexcept nogil:
    message_close(writer, value)
    message_close(writer, any)


cdef void write_metadata(Writer* writer, const char* name, const char* text) noexcept nogil:
    cdef Line line
    cdef size_t entry = message_open(writer, 3)
    line.length = 0
    line.cut = False
    line_add(&line, text)
    write_text(writer, 1, text_of(name))
    write_text_always(writer, 2, line_text(&line))
    message_close(writer, entry)


cdef void write_error_info(
    Writer* writer, const Fault* fault, const StatusRule* rule
) noexcept nogil:
    cdef size_t any = 0
    cdef size_t value = detail_open(
        writer, "type.googleapis.com/google.rpc.ErrorInfo", &any
    )
    write_text(writer, 1, text_of(rule.reason))
    write_text(writer, 2, text_of("nextbest"))
    if names_a_field(fault):
        if fault.kind != FAULT_USED:
            write_metadata(writer, "allowed", fault.allowed)
        write_metadata(writer, "field", fault.field)
        write_metadata(writer, "seen", fault.seen)
    detail_close(writer, any, value)


cdef void write_bad_request(Writer* writer, const Fault* fault) noexcept nogil:
    cdef Line line
    cdef size_t any = 0
    cdef size_t value = detail_open(
        writer, "type.googleapis.com/google.rpc.BadRequest", &any
    )
    cdef size_t violation = message_open(writer, 1)
    line.length = 0
    line.cut = False
    line_add(&line, fault.field)
    write_text(writer, 1, line_text(&line))
    fault_describe(fault, False, &line)
    write_text(writer, 2, line_text(&line))
    message_close(writer, violation)
    detail_close(writer, any, value)


cdef void write_retry_info(Writer* writer, int64_t retry_ms) noexcept nogil:
    cdef size_t any = 0
    cdef size_t value = detail_open(
        writer, "type.googleapis.com/google.rpc.RetryInfo", &any
    )
    cdef size_t delay = message_open(writer, 1)
    write_uint(writer, 1, <uint64_t>(retry_ms // 1000))
    write_uint(writer, 2, <uint64_t>(retry_ms % 1000 * 1000000))
    message_close(writer, delay)
    detail_close(writer, any, value)


cdef void write_status(Writer* writer, const Fault* fault) noexcept nogil:
    """The fields of a google.rpc.Status."""
    cdef const StatusRule* rule = &STATUS_RULES[fault.kind]
    cdef Line line
    fault_describe(fault, True, &line)
    write_uint(writer, 1, <uint64_t>rule.code)
    write_text(writer, 2, line_text(&line))
    write_error_info(writer, fault, rule)
    if names_a_field(fault):
        write_bad_request(writer, fault)
    if fault.retry_ms or rule.retry_ms:
        write_retry_info(writer, fault.retry_ms if fault.retry_ms else rule.retry_ms)


cdef bytes encoded(str text, size_t most):
    """A text in UTF-8, cut to the buffers of a fault."""
    cdef bytes data = text.encode("utf-8", "replace")
    return data[:text_cut(data, len(data), most)]


cdef int fault_of(object error, Fault* fault) except -1:
    """The fault of an error of the core."""
    kind = FAULT_ERRORS.index(type(error))
    named = hasattr(error, "field")
    seen = error.seen if named else str(error) or error.status_reason.lower().replace("_", " ")
    fault_set(
        fault, kind, encoded(error.field if named else "", 250), encoded(seen, 250),
        encoded(getattr(error, "allowed", ""), 310),
    )
    fault.retry_ms = error.retry_ms
    return 0


def status_bytes(error) -> bytes:
    """A core error as a serialised google.rpc.Status, as the native lane answers it."""
    cdef Fault fault
    cdef Writer writer
    memset(&writer, 0, sizeof(Writer))
    fault_of(error, &fault)
    write_status(&writer, &fault)
    try:
        if writer.failed:
            raise MemoryError("status")
        return (<char*>writer.data)[:writer.length]
    finally:
        writer_free(&writer)
