# Operators and functions over values; an error operand is the result.

from libc.stdint cimport INT64_MIN, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy


cdef extern from "expression/regex.h" namespace "nextbest" nogil:
    int regex_supported()
    void* regex_compile(const char* text, size_t length)
    int regex_search(const void* pattern, const char* text, size_t length)
    void regex_free(void* pattern)

cdef extern from "<string.h>" nogil:
    const void* memmem(const void* text, size_t length, const void* part, size_t part_length)


cdef Value no_overload_of(Value a, Value b) noexcept nogil:
    if a.tag == TAG_ERROR:
        return a
    if b.tag == TAG_ERROR or b.tag == TAG_NULL and a.tag != TAG_NULL:
        return no_overload(b)
    return no_overload(a)


cdef Value concat(Machine* machine, Value a, Value b) noexcept nogil:
    """Two strings, bytes or lists as one."""
    cdef size_t unit = sizeof(Value) if a.tag == TAG_LIST else 1
    cdef size_t length = <size_t>a.length + b.length
    cdef char* joined
    if a.length == 0:
        return b
    if b.length == 0:
        return a
    charge(machine, <uint32_t>min(length * unit >> 6, <size_t>STEPS_MAX))
    joined = <char*>arena_take(&machine.arena, length * unit) if length < LENGTH_MAX else NULL
    if joined == NULL:
        return failed(ERROR_MEMORY)
    memcpy(joined, a.as_.s, a.length * unit)
    memcpy(joined + a.length * unit, b.as_.s, b.length * unit)
    a.as_.s = joined
    a.length = <uint32_t>length
    return a


cdef inline bint is_time(Value value) noexcept nogil:
    return value.tag == TAG_TIMESTAMP or value.tag == TAG_DURATION


cdef Value add(Machine* machine, Value a, Value b) noexcept nogil:
    cdef int64_t sum
    cdef uint64_t usum
    if a.tag == b.tag:
        if a.tag == TAG_INT:
            return failed(ERROR_OVERFLOW) if add_overflows(a.as_.i, b.as_.i, &sum) \
                else value_int(sum)
        if a.tag == TAG_DOUBLE:
            return value_double(a.as_.d + b.as_.d)
        if a.tag == TAG_UINT:
            return failed(ERROR_OVERFLOW) if add_overflows_u(a.as_.u, b.as_.u, &usum) \
                else value_uint(usum)
        if a.tag == TAG_STRING or a.tag == TAG_BYTES or a.tag == TAG_LIST:
            return concat(machine, a, b)
        if a.tag == TAG_DURATION:
            return add_times(a, b, 1)
    elif is_time(a) and is_time(b):
        return add_times(a, b, 1) if a.tag == TAG_TIMESTAMP else add_times(b, a, 1)
    return no_overload_of(a, b)


cdef Value subtract(Value a, Value b) noexcept nogil:
    cdef int64_t difference
    if a.tag == b.tag:
        if a.tag == TAG_INT:
            return failed(ERROR_OVERFLOW) if sub_overflows(a.as_.i, b.as_.i, &difference) \
                else value_int(difference)
        if a.tag == TAG_DOUBLE:
            return value_double(a.as_.d - b.as_.d)
        if a.tag == TAG_UINT:
            return failed(ERROR_OVERFLOW) if a.as_.u < b.as_.u \
                else value_uint(a.as_.u - b.as_.u)
        if is_time(a):
            return add_times(a, b, -1)
    elif a.tag == TAG_TIMESTAMP and b.tag == TAG_DURATION:
        return add_times(a, b, -1)
    return no_overload_of(a, b)


cdef Value multiply(Value a, Value b) noexcept nogil:
    cdef int64_t product
    cdef uint64_t uproduct
    if a.tag == b.tag:
        if a.tag == TAG_INT:
            return failed(ERROR_OVERFLOW) if mul_overflows(a.as_.i, b.as_.i, &product) \
                else value_int(product)
        if a.tag == TAG_DOUBLE:
            return value_double(a.as_.d * b.as_.d)
        if a.tag == TAG_UINT:
            return failed(ERROR_OVERFLOW) if mul_overflows_u(a.as_.u, b.as_.u, &uproduct) \
                else value_uint(uproduct)
    return no_overload_of(a, b)


cdef Value divide(Value a, Value b) noexcept nogil:
    if a.tag == b.tag:
        if a.tag == TAG_DOUBLE:
            return value_double(a.as_.d / b.as_.d)
        if a.tag == TAG_INT or a.tag == TAG_UINT:
            if b.as_.i == 0:
                return failed(ERROR_DIVIDE_BY_ZERO)
            if a.tag == TAG_UINT:
                return value_uint(a.as_.u // b.as_.u)
            if a.as_.i == INT64_MIN and b.as_.i == -1:
                return failed(ERROR_OVERFLOW)
            return value_int(a.as_.i // b.as_.i)
    return no_overload_of(a, b)


cdef Value modulo(Value a, Value b) noexcept nogil:
    if a.tag == b.tag and (a.tag == TAG_INT or a.tag == TAG_UINT):
        if b.as_.i == 0:
            return failed(ERROR_MODULUS_BY_ZERO)
        if a.tag == TAG_UINT:
            return value_uint(a.as_.u % b.as_.u)
        if a.as_.i == INT64_MIN and b.as_.i == -1:
            return failed(ERROR_OVERFLOW)
        return value_int(a.as_.i % b.as_.i)
    return no_overload_of(a, b)


cdef Value negate(Value a) noexcept nogil:
    if a.tag == TAG_DOUBLE:
        return value_double(-a.as_.d)
    if a.tag == TAG_INT:
        return failed(ERROR_OVERFLOW) if a.as_.i == INT64_MIN else value_int(-a.as_.i)
    return no_overload(a)


cdef Value compare(Machine* machine, uint8_t op, Value a, Value b) noexcept nogil:
    """One of the six comparisons."""
    cdef int order
    if a.tag == TAG_ERROR or b.tag == TAG_ERROR:
        return a if a.tag == TAG_ERROR else b
    if op == OP_EQUAL:
        return value_bool(same_values(machine, a, b))
    if op == OP_NOT_EQUAL:
        return value_bool(not same_values(machine, a, b))
    order = order_values(machine, a, b)
    if order == ORDER_NO_OVERLOAD:
        return no_overload_of(a, b)
    if op == OP_LESS:
        return value_bool(order == ORDER_LESS)
    if op == OP_LESS_EQUAL:
        return value_bool(order <= ORDER_SAME)
    if op == OP_GREATER:
        return value_bool(order == ORDER_GREATER)
    return value_bool(order == ORDER_GREATER or order == ORDER_SAME)


cdef Value is_in(Machine* machine, Value item, Value container) noexcept nogil:
    if item.tag == TAG_ERROR:
        return item
    if container.tag == TAG_LIST:
        return value_bool(list_has(machine, container, item))
    if container.tag == TAG_MAP and (is_key(item) or item.tag == TAG_DOUBLE):
        return value_bool(map_find(machine, container, item) != NULL)
    return no_overload_of(container, item)


cdef Value index_list(Value container, Value key) noexcept nogil:
    cdef int64_t at = -1
    if key.tag == TAG_INT:
        at = key.as_.i
    elif key.tag == TAG_UINT:
        at = key.as_.i
    elif key.tag == TAG_DOUBLE:
        if not -INT_LIMIT < key.as_.d < INT_LIMIT or <double><int64_t>key.as_.d != key.as_.d:
            return failed(ERROR_INDEX)
        at = <int64_t>key.as_.d
    else:
        return no_overload(key)
    if at < 0 or at >= container.length:
        return failed(ERROR_INDEX)
    return container.as_.items[at]


cdef Value index_value(Machine* machine, Value container, Value key) noexcept nogil:
    cdef const Value* found
    if container.tag == TAG_ERROR or key.tag == TAG_ERROR:
        return container if container.tag == TAG_ERROR else key
    if container.tag == TAG_LIST:
        return index_list(container, key)
    if container.tag != TAG_MAP or not (is_key(key) or key.tag == TAG_DOUBLE):
        return no_overload_of(container, key)
    found = map_find(machine, container, key)
    return failed(ERROR_NO_SUCH_KEY) if found == NULL else found[0]


cdef Value has_key(Machine* machine, Value map, Value key) noexcept nogil:
    if map.tag != TAG_MAP:
        return no_overload(map)
    return value_bool(map_find(machine, map, key) != NULL)


cdef Value make_list(Machine* machine, const Value* items, uint32_t count) noexcept nogil:
    cdef uint32_t i
    cdef Value* copy
    for i in range(count):
        if items[i].tag == TAG_ERROR:
            return items[i]
    copy = <Value*>arena_take(&machine.arena, count * sizeof(Value))
    if copy == NULL:
        return failed(ERROR_MEMORY)
    memcpy(copy, items, count * sizeof(Value))
    return value_list(copy, count)


cdef Value make_map(Machine* machine, const Value* entries, uint32_t count) noexcept nogil:
    cdef Value map = make_list(machine, entries, 2 * count)
    cdef uint32_t i, j
    if map.tag == TAG_ERROR:
        return map
    for i in range(count):
        if not is_key(entries[2 * i]):
            return failed(ERROR_KEY_TYPE)
        charge(machine, i >> 3)
        for j in range(i):
            # As keys of a literal, 1 and 1u are two.
            if entries[2 * i].tag == entries[2 * j].tag and same_values(
                    machine, entries[2 * i], entries[2 * j]):
                return failed(ERROR_DUPLICATE_KEY)
    map.tag = TAG_MAP
    map.length = count
    return map


cdef uint32_t capacity_of(uint32_t length) noexcept nogil:
    """The room that APPEND and MAP_INSERT have given a container of this length."""
    cdef uint32_t capacity = 4
    if length == 0:
        return 0
    while capacity < length:
        capacity *= 2
    return capacity


cdef Value* grown(Machine* machine, Value container, uint32_t width) noexcept nogil:
    """Items with room for one more of `width` values; only an accumulator may be grown.

    Nobody else reads beyond an accumulator's length, so it may be grown in place.
    """
    cdef size_t capacity = capacity_of(container.length + 1)
    cdef Value* items
    if container.length and capacity_of(container.length) == capacity:
        return <Value*>container.as_.items
    items = <Value*>arena_take(&machine.arena, capacity * width * sizeof(Value))
    if items != NULL and container.length:
        charge(machine, container.length)
        memcpy(items, container.as_.items, <size_t>container.length * width * sizeof(Value))
    return items


cdef Value append(Machine* machine, Value list, Value item) noexcept nogil:
    cdef Value* items
    if list.tag == TAG_ERROR or item.tag == TAG_ERROR:
        return list if list.tag == TAG_ERROR else item
    items = grown(machine, list, 1)
    if items == NULL:
        return failed(ERROR_MEMORY)
    items[list.length] = item
    return value_list(items, list.length + 1)


cdef Value map_insert(Machine* machine, Value map, Value key, Value item) noexcept nogil:
    cdef Value* items
    if map.tag == TAG_ERROR or key.tag == TAG_ERROR:
        return map if map.tag == TAG_ERROR else key
    if item.tag == TAG_ERROR:
        return item
    if map.tag != TAG_MAP or not is_key(key):
        return failed(ERROR_KEY_TYPE)
    if map_find(machine, map, key) != NULL:
        return failed(ERROR_DUPLICATE_KEY)
    items = grown(machine, map, 2)
    if items == NULL:
        return failed(ERROR_MEMORY)
    items[2 * map.length] = key
    items[2 * map.length + 1] = item
    map.as_.items = items
    map.length += 1
    return map


cdef Value size_of(Machine* machine, Value a) noexcept nogil:
    cdef uint32_t i
    cdef int64_t points = 0
    if a.tag == TAG_STRING:
        charge(machine, a.length >> 5)
        for i in range(a.length):
            points += (<uint8_t>a.as_.s[i] & 0xC0) != 0x80
        return value_int(points)
    if a.tag == TAG_BYTES or a.tag == TAG_LIST or a.tag == TAG_MAP:
        return value_int(a.length)
    return no_overload(a)


cdef Value text_test(Machine* machine, uint8_t op, Value text, Value part) noexcept nogil:
    if text.tag != TAG_STRING or part.tag != TAG_STRING:
        return no_overload_of(text, part)
    charge(machine, text.length >> 6)
    if op == OP_CONTAINS:
        return value_bool(part.length == 0 or memmem(
            text.as_.s, text.length, part.as_.s, part.length) != NULL)
    if part.length > text.length:
        return value_bool(False)
    if op == OP_STARTS_WITH:
        return value_bool(memcmp(text.as_.s, part.as_.s, part.length) == 0)
    return value_bool(
        memcmp(text.as_.s + text.length - part.length, part.as_.s, part.length) == 0)


cdef Value matches(Machine* machine, Value text, Value part, const void* known) noexcept nogil:
    """Search a pattern; one that is not `known` at load is compiled, at a thousand steps."""
    cdef void* pattern
    cdef Value found
    if text.tag != TAG_STRING or part.tag != TAG_STRING:
        return no_overload_of(text, part)
    charge(machine, text.length >> 3)
    if known != NULL:
        return value_bool(regex_search(known, text.as_.s, text.length) != 0)
    charge(machine, 1000)
    pattern = regex_compile(part.as_.s, part.length)
    if pattern == NULL:
        return failed(ERROR_PATTERN)
    found = value_bool(regex_search(pattern, text.as_.s, text.length) != 0)
    regex_free(pattern)
    return found


cdef Value time_part(Value a, int part, const Value* zone) noexcept nogil:
    if a.tag == TAG_TIMESTAMP:
        return timestamp_part(a, part, zone)
    return duration_part(a, part) if a.tag == TAG_DURATION and zone == NULL else no_overload(a)


cdef Value both(Value a, Value b, bint stop) noexcept nogil:
    """&& (stop: false) or || (stop: true): the stopping value wins over an error."""
    if (a.tag == TAG_BOOL and a.as_.i == stop) or (b.tag == TAG_BOOL and b.as_.i == stop):
        return value_bool(stop)
    if a.tag == TAG_BOOL and b.tag == TAG_BOOL:
        return value_bool(not stop)
    if a.tag == TAG_ERROR or b.tag == TAG_ERROR:
        return a if a.tag == TAG_ERROR else b
    return no_overload(b if a.tag == TAG_BOOL else a)


cdef inline Value inverted(Value a) noexcept nogil:
    return value_bool(not a.as_.i) if a.tag == TAG_BOOL else no_overload(a)
