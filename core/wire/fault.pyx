"""Faults: why a request was refused, formatted without the GIL and raised once at the edge."""

cdef enum FaultKind:
    FAULT_NONE = 0
    FAULT_INVALID = 1
    FAULT_UNKNOWN_NAME = 2
    FAULT_USED = 3
    FAULT_FULL = 4
    FAULT_TOO_LATE = 5
    FAULT_MEMORY = 6
    FAULT_POSITION_LOST = 7


cdef struct Text:
    # Bytes that somebody else owns.
    const char* data
    uint32_t length


cdef struct Fault:
    int kind
    char field[256]
    char seen[160]
    char allowed[320]


cdef inline Text text_of(const char* literal) noexcept nogil:
    cdef Text text
    text.data = literal
    text.length = <uint32_t>strlen(literal)
    return text


cdef inline bint text_equal(Text a, Text b) noexcept nogil:
    return a.length == b.length and memcmp(a.data, b.data, a.length) == 0


cdef int fault_set(
    Fault* fault, int kind, const char* field, const char* seen, const char* allowed
) noexcept nogil:
    """Fill the fault and return its kind, so that callers can `return fault_set(...)`."""
    fault.kind = kind
    snprintf(fault.field, sizeof(fault.field), "%s", field)
    snprintf(fault.seen, sizeof(fault.seen), "%s", seen)
    snprintf(fault.allowed, sizeof(fault.allowed), "%s", allowed)
    return kind


cdef int fault_text(
    Fault* fault, int kind, const char* field, Text seen, const char* allowed
) noexcept nogil:
    """As fault_set, with a piece of the request as what was seen."""
    fault_set(fault, kind, field, "", allowed)
    snprintf(fault.seen, sizeof(fault.seen), "'%.*s'", <int>min(seen.length, 120), seen.data)
    return kind


cdef int fault_entry(
    Fault* fault, int kind, const char* field, Text name, const char* seen, const char* allowed
) noexcept nogil:
    """As fault_set, for the entry `name` of a map field."""
    fault_set(fault, kind, "", seen, allowed)
    snprintf(
        fault.field, sizeof(fault.field), "%s.%.*s", field, <int>min(name.length, 120), name.data
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


cdef object fault_raise(const Fault* fault):
    """Raise the Python error of a fault."""
    field = (<bytes>fault.field).decode("utf-8", "replace")
    seen = (<bytes>fault.seen).decode("utf-8", "replace")
    allowed = (<bytes>fault.allowed).decode("utf-8", "replace")
    if fault.kind == FAULT_UNKNOWN_NAME:
        raise errors.UnknownNameError(field, seen, allowed)
    if fault.kind == FAULT_USED:
        raise errors.AlreadyUsedError(field, seen)
    if fault.kind == FAULT_FULL:
        raise errors.StoreFullError(f"{field}: {seen}, allowed: {allowed}")
    if fault.kind == FAULT_TOO_LATE:
        raise errors.TooLateError(field, seen, allowed)
    if fault.kind == FAULT_POSITION_LOST:
        raise errors.PositionLostError(f"{field}: {seen}, allowed: {allowed}")
    if fault.kind == FAULT_MEMORY:
        raise MemoryError(field)
    raise errors.InvalidRequestError(field, seen, allowed)
