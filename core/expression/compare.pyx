# Equality, order, membership and keys, as CEL defines them over run-time tags.

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp


cdef double INT_LIMIT = 9223372036854775808.0
cdef double UINT_LIMIT = 18446744073709551616.0

cdef enum Order:
    ORDER_LESS = -1
    ORDER_SAME = 0
    ORDER_GREATER = 1
    ORDER_NONE = 2  # one of them is NaN
    ORDER_NO_OVERLOAD = 3


cdef inline void charge(Machine* machine, uint32_t work) noexcept nogil:
    """Take the steps of an operation whose work grows with its operands."""
    machine.steps_left = machine.steps_left - work if machine.steps_left > work else 0


cdef inline bint is_number(Value value) noexcept nogil:
    return TAG_INT <= value.tag <= TAG_DOUBLE


cdef inline int order_double(double a, double b) noexcept nogil:
    if a < b:
        return ORDER_LESS
    if a > b:
        return ORDER_GREATER
    return ORDER_SAME if a == b else ORDER_NONE


cdef inline int order_int(int64_t a, int64_t b) noexcept nogil:
    return (a > b) - (a < b)


cdef inline int order_uint(uint64_t a, uint64_t b) noexcept nogil:
    return (a > b) - (a < b)


cdef int order_double_to(double a, Value b) noexcept nogil:
    """Order a double and an integer; near 2**63 as CEL's implementations do, by conversion."""
    if b.tag == TAG_INT:
        if a > INT_LIMIT:
            return ORDER_GREATER
        if a < -INT_LIMIT:
            return ORDER_LESS
        return order_double(a, <double>b.as_.i)
    if a > UINT_LIMIT:
        return ORDER_GREATER
    if a < 0:
        return ORDER_LESS
    return order_double(a, <double>b.as_.u)


cdef int order_numbers(Value a, Value b) noexcept nogil:
    cdef int order
    if a.tag == b.tag:
        if a.tag == TAG_INT:
            return order_int(a.as_.i, b.as_.i)
        if a.tag == TAG_UINT:
            return order_uint(a.as_.u, b.as_.u)
        return order_double(a.as_.d, b.as_.d)
    if a.tag == TAG_DOUBLE:
        return order_double_to(a.as_.d, b)
    if b.tag == TAG_DOUBLE:
        order = order_double_to(b.as_.d, a)
        return order if order == ORDER_NONE else -order
    if a.tag == TAG_INT:
        return ORDER_LESS if a.as_.i < 0 else order_uint(<uint64_t>a.as_.i, b.as_.u)
    return ORDER_GREATER if b.as_.i < 0 else order_uint(a.as_.u, <uint64_t>b.as_.i)


cdef inline int order_bytes(Value a, Value b) noexcept nogil:
    cdef int order = memcmp(a.as_.s, b.as_.s, min(a.length, b.length))
    if order == 0:
        return (a.length > b.length) - (a.length < b.length)
    return ORDER_LESS if order < 0 else ORDER_GREATER


cdef int order_values(Machine* machine, Value a, Value b) noexcept nogil:
    """An Order; ORDER_NO_OVERLOAD where CEL has no `<` for the two."""
    cdef int order
    if is_number(a) and is_number(b):
        return order_numbers(a, b)
    if a.tag != b.tag:
        return ORDER_NO_OVERLOAD
    if a.tag == TAG_STRING or a.tag == TAG_BYTES:
        charge(machine, min(a.length, b.length) >> 6)
        return order_bytes(a, b)
    if a.tag == TAG_TIMESTAMP or a.tag == TAG_DURATION:
        order = order_int(a.as_.i, b.as_.i)
        return order if order != 0 else order_int(a.length, b.length)
    if a.tag == TAG_BOOL:
        return order_int(a.as_.i, b.as_.i)
    return ORDER_NO_OVERLOAD


cdef bint same_values(Machine* machine, Value a, Value b) noexcept nogil:
    """CEL's ==: values of different types differ, but numbers compare across types."""
    cdef uint32_t i
    if is_number(a) and is_number(b):
        return order_numbers(a, b) == ORDER_SAME
    if a.tag != b.tag:
        return False
    if a.tag == TAG_NULL:
        return True
    if a.tag == TAG_BOOL:
        return a.as_.i == b.as_.i
    if a.tag == TAG_TIMESTAMP or a.tag == TAG_DURATION:
        return a.as_.i == b.as_.i and a.length == b.length
    if a.length != b.length:
        return False
    if a.tag == TAG_STRING or a.tag == TAG_BYTES or a.tag == TAG_TYPE:
        charge(machine, a.length >> 6)
        return memcmp(a.as_.s, b.as_.s, a.length) == 0
    if a.tag == TAG_MAP:
        return same_maps(machine, a, b)
    charge(machine, a.length)
    for i in range(a.length):
        if machine.steps_left == 0:
            return False
        if not same_values(machine, a.as_.items[i], b.as_.items[i]):
            return False
    return True


cdef bint same_maps(Machine* machine, Value a, Value b) noexcept nogil:
    cdef uint32_t i
    cdef const Value* found
    for i in range(a.length):
        found = map_find(machine, b, a.as_.items[2 * i])
        if found == NULL or not same_values(machine, a.as_.items[2 * i + 1], found[0]):
            return False
    return True


cdef const Value* map_find(Machine* machine, Value map, Value key) noexcept nogil:
    """The value of a key, numbers compared across types; NULL when there is none."""
    cdef uint32_t i
    cdef const Value* entry = map.as_.items
    # A key of the same type wins over one that is only equal as a number.
    for i in range(map.length):
        if entry[2 * i].tag == key.tag and same_values(machine, entry[2 * i], key):
            charge(machine, i)
            return &entry[2 * i + 1]
    charge(machine, map.length)
    if not is_number(key):
        return NULL
    for i in range(map.length):
        if is_number(entry[2 * i]) and order_numbers(entry[2 * i], key) == ORDER_SAME:
            return &entry[2 * i + 1]
    return NULL


cdef bint list_has(Machine* machine, Value list, Value item) noexcept nogil:
    cdef uint32_t i
    cdef const Value* items = list.as_.items
    charge(machine, list.length)
    if item.tag == TAG_STRING and item.length < 64:
        for i in range(list.length):
            if items[i].length == item.length and items[i].tag == TAG_STRING:
                if memcmp(items[i].as_.s, item.as_.s, item.length) == 0:
                    return True
        return False
    for i in range(list.length):
        if same_values(machine, items[i], item):
            return True
        if machine.steps_left == 0:
            return False
    return False


cdef inline bint is_key(Value value) noexcept nogil:
    """Whether a map literal may have it as a key."""
    return TAG_BOOL <= value.tag <= TAG_UINT or value.tag == TAG_STRING
