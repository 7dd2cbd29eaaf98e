# Values of the VM: 16 bytes each, pointing into an arena or into their owner's memory.

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from nextbest.core.expression.values import (
    Duration,
    EvaluationError,
    Timestamp,
    TypeName,
    Uint,
)

cdef enum:
    SLOT_NONE = 0xFFFF
    FLAG_DEFAULT = 1  # in Value.flag of an input: nobody set it, the schema's default stands in
    VALUE_DEPTH_MAX = 64
    LENGTH_MAX = 0x7FFFFFFF

cdef enum Tag:
    TAG_ABSENT = 0  # an input slot nobody has resolved yet
    TAG_NULL = 1
    TAG_BOOL = 2
    TAG_INT = 3
    TAG_UINT = 4
    TAG_DOUBLE = 5
    TAG_STRING = 6
    TAG_BYTES = 7
    TAG_TIMESTAMP = 8
    TAG_DURATION = 9
    TAG_LIST = 10
    TAG_MAP = 11
    TAG_TYPE = 12
    TAG_ERROR = 13

# The texts are values.REASONS, in this order.
cdef enum ErrorCode:
    ERROR_NONE = 0
    ERROR_NO_OVERLOAD = 1
    ERROR_OVERFLOW = 2
    ERROR_DIVIDE_BY_ZERO = 3
    ERROR_MODULUS_BY_ZERO = 4
    ERROR_NO_SUCH_KEY = 5
    ERROR_INDEX = 6
    ERROR_CONVERSION = 7
    ERROR_RANGE = 8
    ERROR_UNSET = 9
    ERROR_STEPS = 10
    ERROR_MEMORY = 11
    ERROR_STACK = 12
    ERROR_DUPLICATE_KEY = 13
    ERROR_UTF8 = 14
    ERROR_PATTERN = 15
    ERROR_ZONE = 16
    ERROR_KEY_TYPE = 17
    ERROR_CODE = 18

cdef struct Value

cdef union Payload:
    int64_t i
    uint64_t u
    double d
    const char* s
    const Value* items

cdef struct Value:
    uint8_t tag
    uint8_t flag  # TAG_ERROR: an ErrorCode; of an input: 0 or FLAG_DEFAULT
    uint16_t extra  # the input slot a TAG_ERROR or a TAG_NULL came from; SLOT_NONE: none
    uint32_t length  # bytes, items, entries, or a time's nanoseconds 0..999,999,999
    Payload as_  # seconds of a time; a map's entries are key, value, key, value


cdef extern from *:
    """
    static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "value_head");
    """


cdef inline uint64_t value_head(const Value* value) noexcept nogil:
    """What stands before the payload, as it lies in little-endian memory.

    A value that a call has given is stored as two words: loaded as one of sixteen bytes, it waits
    until both are in the cache.
    """
    return (
        value.tag
        | (<uint64_t>value.flag << 8)
        | (<uint64_t>value.extra << 16)
        | (<uint64_t>value.length << 32)
    )


cdef inline Value value_of(uint8_t tag, uint32_t length) noexcept nogil:
    cdef Value value
    value.tag = tag
    value.flag = 0
    value.extra = SLOT_NONE
    value.length = length
    value.as_.i = 0
    return value


cdef inline Value value_null() noexcept nogil:
    return value_of(TAG_NULL, 0)


cdef inline Value value_bool(bint b) noexcept nogil:
    cdef Value value = value_of(TAG_BOOL, 0)
    value.as_.i = b
    return value


cdef inline Value value_int(int64_t i) noexcept nogil:
    cdef Value value = value_of(TAG_INT, 0)
    value.as_.i = i
    return value


cdef inline Value value_uint(uint64_t u) noexcept nogil:
    cdef Value value = value_of(TAG_UINT, 0)
    value.as_.u = u
    return value


cdef inline Value value_double(double d) noexcept nogil:
    cdef Value value = value_of(TAG_DOUBLE, 0)
    value.as_.d = d
    return value


cdef inline Value value_string(const char* s, uint32_t length) noexcept nogil:
    cdef Value value = value_of(TAG_STRING, length)
    value.as_.s = s
    return value


cdef inline Value value_time(uint8_t tag, int64_t seconds, uint32_t nanos) noexcept nogil:
    cdef Value value = value_of(tag, nanos)
    value.as_.i = seconds
    return value


cdef inline Value value_timestamp_us(int64_t us) noexcept nogil:
    """A timestamp from microseconds since 1970."""
    cdef int64_t seconds = us // 1000000
    cdef int64_t rest = us - seconds * 1000000
    if rest < 0:
        seconds -= 1
        rest += 1000000
    return value_time(TAG_TIMESTAMP, seconds, <uint32_t>(rest * 1000))


cdef inline Value value_list(const Value* items, uint32_t length) noexcept nogil:
    cdef Value value = value_of(TAG_LIST, length)
    value.as_.items = items
    return value


cdef inline Value value_error(uint8_t code, uint16_t slot) noexcept nogil:
    cdef Value value = value_of(TAG_ERROR, 0)
    value.flag = code
    value.extra = slot
    return value


cdef object value_to_python(Value value):
    """The Python form of a value; an error value becomes an EvaluationError object."""
    cdef uint8_t tag = value.tag
    if tag == TAG_NULL or tag == TAG_ABSENT:
        return None
    if tag == TAG_BOOL:
        return value.as_.i != 0
    if tag == TAG_INT:
        return value.as_.i
    if tag == TAG_UINT:
        return Uint(value.as_.u)
    if tag == TAG_DOUBLE:
        return value.as_.d
    if tag == TAG_STRING:
        return PyUnicode_DecodeUTF8(value.as_.s, value.length, NULL)
    if tag == TAG_BYTES:
        return PyBytes_FromStringAndSize(value.as_.s, value.length)
    if tag == TAG_TYPE:
        return TypeName(PyUnicode_DecodeUTF8(value.as_.s, value.length, NULL))
    if tag == TAG_TIMESTAMP:
        return Timestamp(value.as_.i, value.length)
    if tag == TAG_DURATION:
        return Duration(value.as_.i, value.length)
    return container_to_python(value)


cdef object container_to_python(Value value):
    cdef uint32_t i
    if value.tag == TAG_LIST:
        return [value_to_python(value.as_.items[i]) for i in range(value.length)]
    if value.tag == TAG_MAP:
        # CEL keeps 1 and true apart, a Python dict does not: a bool key is then lost, which
        # only a map that mixes the two can show.
        result = {}
        for i in range(value.length):
            key = value_to_python(value.as_.items[2 * i])
            result[key] = value_to_python(value.as_.items[2 * i + 1])
        return result
    return EvaluationError(value.flag, None if value.extra == SLOT_NONE else value.extra)


cdef const char* bytes_to_arena(bytes data, Arena* arena) except NULL:
    cdef size_t size = len(data)
    if size > LENGTH_MAX:
        raise ValueError("value: too long")
    cdef char* copy = <char*>arena_take(arena, size)
    if copy == NULL:
        raise MemoryError("value: the arena is full")
    memcpy(copy, <const char*>data, size)
    return copy


cdef Value value_from_python(object item, Arena* arena) except *:
    """A value whose strings and items lie in `arena`.

    Raises TypeError for a type that CEL lacks, OverflowError out of 64 bits, MemoryError when
    the arena is full, ValueError for a text with lone surrogates or nesting over the maximum.
    """
    return value_from_nested(item, arena, VALUE_DEPTH_MAX)


cdef Value value_from_nested(object item, Arena* arena, int depth) except *:
    if item is None:
        return value_null()
    if item is True or item is False:
        return value_bool(item is True)
    if isinstance(item, Uint):
        return value_uint(<uint64_t>int(item))
    if isinstance(item, int):
        return value_int(<int64_t>item)
    if isinstance(item, float):
        return value_double(<double>item)
    if isinstance(item, (str, bytes)):
        return text_from_python(item, arena)
    if isinstance(item, (Timestamp, Duration)):
        return time_from_python(item)
    if depth == 0:
        raise ValueError("value: nested too deep")
    if isinstance(item, dict):
        return map_from_python(item, arena, depth - 1)
    if isinstance(item, (list, tuple)):
        return list_from_python(item, arena, depth - 1)
    raise TypeError(f"value: {type(item).__name__} is no CEL type")


cdef Value text_from_python(object item, Arena* arena) except *:
    cdef bytes data = item.encode("utf-8") if isinstance(item, str) else item
    cdef Value value = value_of(TAG_STRING, 0)
    if isinstance(item, TypeName):
        value.tag = TAG_TYPE
    elif isinstance(item, bytes):
        value.tag = TAG_BYTES
    value.as_.s = bytes_to_arena(data, arena)
    value.length = <uint32_t>len(data)
    return value


cdef Value time_from_python(object item) except *:
    if not 0 <= item.nanos < 1000000000:
        raise ValueError("value: nanos out of range")
    cdef uint8_t tag = TAG_TIMESTAMP if isinstance(item, Timestamp) else TAG_DURATION
    return value_time(tag, item.seconds, item.nanos)


cdef Value* items_take(size_t count, Arena* arena) except NULL:
    if count > LENGTH_MAX // sizeof(Value):
        raise ValueError("value: too long")
    cdef Value* items = <Value*>arena_take(arena, count * sizeof(Value))
    if items == NULL:
        raise MemoryError("value: the arena is full")
    return items


cdef Value list_from_python(object item, Arena* arena, int depth) except *:
    cdef uint32_t i
    cdef Value* items = items_take(len(item), arena)
    for i in range(<uint32_t>len(item)):
        items[i] = value_from_nested(item[i], arena, depth)
    return value_list(items, <uint32_t>len(item))


cdef Value map_from_python(dict item, Arena* arena, int depth) except *:
    cdef uint32_t i = 0
    cdef Value* items = items_take(2 * <size_t>len(item), arena)
    for key, entry in item.items():
        items[i] = value_from_nested(key, arena, depth)
        items[i + 1] = value_from_nested(entry, arena, depth)
        i += 2
    cdef Value value = value_list(items, i // 2)
    value.tag = TAG_MAP
    return value


cdef size_t python_size(object item, int depth) except? 0:
    """An upper bound of the arena bytes that value_from_python takes for `item`."""
    if depth == 0:
        raise ValueError("value: nested too deep")
    if isinstance(item, str):
        return 4 * <size_t>len(item) + 16
    if isinstance(item, bytes):
        return <size_t>len(item) + 16
    if isinstance(item, dict):
        return 16 + sum(32 + python_size(k, depth - 1) + python_size(v, depth - 1)
                        for k, v in item.items())
    if isinstance(item, (list, tuple)):
        return 16 + sum(16 + python_size(entry, depth - 1) for entry in item)
    return 16
