"""Faults: why a request was refused, formatted without the GIL.

Each kind is one class of core/errors.py, which says what a caller gets for it.  A fault quotes
names, and never a value or an id: they end in logs of callers, proxies and ours.
"""

cdef enum:
    # The longest name of a playbook.
    NAME_SHOWN_MAX = 64


cdef enum FaultKind:
    FAULT_NONE = 0
    FAULT_INVALID = 1
    FAULT_UNKNOWN_NAME = 2
    FAULT_USED = 3
    FAULT_FULL = 4
    FAULT_TOO_LATE = 5
    FAULT_MEMORY = 6
    FAULT_POSITION_LOST = 7
    FAULT_NO_PLAYBOOK = 8
    FAULT_DEADLINE = 9
    FAULT_TOO_LARGE = 10
    FAULT_LOG_BUSY = 11
    FAULT_LOG_FAILED = 12
    FAULT_UNKNOWN_GENERATION = 13
    FAULT_LOG_AWAY = 14
    FAULT_WRITES_REFUSED = 15
    FAULT_ACK_REFUSED = 16
    FAULT_NOT_REACHED = 17
    FAULT_UNKNOWN_KIND = 18
    FAULT_TOMBSTONES = 19
    FAULT_OVERLOADED = 20
    FAULT_KINDS = 21


cdef tuple FAULT_ERRORS = (
    None,
    errors.InvalidRequestError,
    errors.UnknownNameError,
    errors.AlreadyUsedError,
    errors.StoreFullError,
    errors.TooLateError,
    errors.NoMemoryError,
    errors.PositionLostError,
    errors.NoPlaybookError,
    errors.DeadlineError,
    errors.TooLargeError,
    errors.LogBusyError,
    errors.LogFailedError,
    errors.UnknownGenerationError,
    errors.LogAwayError,
    errors.WritesRefusedError,
    errors.AckRefusedError,
    errors.PositionNotReachedError,
    errors.UnknownKindError,
    errors.TombstonesFullError,
    errors.OverloadedError,
)


cdef struct Text:
    # Bytes that somebody else owns.
    const char* data
    uint32_t length


cdef struct Fault:
    int kind
    char field[256]
    char seen[256]
    char allowed[320]
    # When a retry may help; 0 for what the kind says.
    int64_t retry_ms


cdef inline Text text_of(const char* literal) noexcept nogil:
    cdef Text text
    text.data = literal
    text.length = <uint32_t>strlen(literal)
    return text


cdef inline bint text_equal(Text a, Text b) noexcept nogil:
    # A text that is not there has no data, which memcmp must not see.
    return a.length == b.length and (a.length == 0 or memcmp(a.data, b.data, a.length) == 0)


cdef size_t text_cut(const char* data, size_t length, size_t most) noexcept nogil:
    """How many bytes of UTF-8 to keep, `most` at most, without cutting a character."""
    if length <= most:
        return length
    while most > 0 and (<uint8_t>data[most] & 0xC0) == 0x80:
        most -= 1
    return most


cdef int fault_set(
    Fault* fault, int kind, const char* field, const char* seen, const char* allowed
) noexcept nogil:
    """Fill the fault and return its kind, so that callers can `return fault_set(...)`."""
    fault.kind = kind
    fault.retry_ms = 0
    snprintf(fault.field, sizeof(fault.field), "%s", field)
    snprintf(fault.seen, sizeof(fault.seen), "%s", seen)
    snprintf(fault.allowed, sizeof(fault.allowed), "%s", allowed)
    return kind


cdef bint is_name(Text text) noexcept nogil:
    """Whether a text reads as a name of a playbook; any other may be of a person."""
    cdef uint32_t i
    cdef char c
    if text.length == 0 or text.length > NAME_SHOWN_MAX:
        return False
    for i in range(text.length):
        c = text.data[i]
        if c'a' <= c <= c'z' or c'A' <= c <= c'Z' or c == c'_':
            continue
        if i == 0 or not (c'0' <= c <= c'9' or c == c'.' or c == c'-'):
            return False
    return True


cdef int fault_name(
    Fault* fault, int kind, const char* field, Text name, const char* allowed
) noexcept nogil:
    """As fault_set, with a name that the caller sent as what was seen."""
    fault_set(fault, kind, field, "", allowed)
    if is_name(name):
        snprintf(fault.seen, sizeof(fault.seen), "'%.*s'", <int>name.length, name.data)
    else:
        snprintf(fault.seen, sizeof(fault.seen), "%u bytes that are no name", name.length)
    return kind


cdef int fault_id(
    Fault* fault, int kind, const char* field, Text id, const char* allowed
) noexcept nogil:
    """As fault_set, with an id of the caller's choice, which is told by its length only."""
    fault_set(fault, kind, field, "", allowed)
    snprintf(fault.seen, sizeof(fault.seen), "an id of %u bytes", id.length)
    return kind


cdef int fault_entry(
    Fault* fault, int kind, const char* field, Text name, const char* seen, const char* allowed
) noexcept nogil:
    """As fault_set, for the entry `name` of a map field."""
    fault_set(fault, kind, "", seen, allowed)
    snprintf(
        fault.field, sizeof(fault.field), "%s.%.*s", field,
        <int>text_cut(name.data, name.length, 120), name.data,
    )
    return kind


cdef int fault_size(
    Fault* fault, const char* field, uint64_t seen, const char* unit, uint64_t allowed
) noexcept nogil:
    """A field that is too long or has too many items."""
    fault_set(fault, FAULT_INVALID, field, "", "")
    snprintf(fault.seen, sizeof(fault.seen), "%llu %s", <unsigned long long>seen, unit)
    snprintf(
        fault.allowed, sizeof(fault.allowed), "at most %llu", <unsigned long long>allowed
    )
    return FAULT_INVALID


cdef int fault_raise(const Fault* fault) except -1:
    """Raise the Python error of a fault."""
    field = (<bytes>fault.field).decode("utf-8", "replace")
    seen = (<bytes>fault.seen).decode("utf-8", "replace")
    allowed = (<bytes>fault.allowed).decode("utf-8", "replace")
    kind = FAULT_ERRORS[fault.kind]
    if issubclass(kind, errors.InvalidRequestError):
        raise kind(field, seen, allowed)
    if kind is errors.AlreadyUsedError:
        raise kind(field, seen)
    text = f"{field}: {seen}" if field else seen
    raise kind(f"{text}, allowed: {allowed}" if allowed else text)
