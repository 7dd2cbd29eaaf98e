# Conversions between types: int(), string(), timestamp() and their like.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, strlen


cdef extern from "expression/number.h" namespace "nextbest" nogil:
    bint add_overflows(int64_t a, int64_t b, int64_t* out)
    bint sub_overflows(int64_t a, int64_t b, int64_t* out)
    bint mul_overflows(int64_t a, int64_t b, int64_t* out)
    bint add_overflows_u(uint64_t a, uint64_t b, uint64_t* out)
    bint mul_overflows_u(uint64_t a, uint64_t b, uint64_t* out)
    int double_to_text(double d, char* out)
    bint text_to_double(const char* s, size_t n, double* out)


cdef inline Value failed(uint8_t code) noexcept nogil:
    return value_error(code, SLOT_NONE)


cdef Value no_overload(Value a) noexcept nogil:
    """The error of an operand of a wrong type; it names the input a null came from."""
    if a.tag == TAG_ERROR:
        return a
    return value_error(ERROR_NO_OVERLOAD, a.extra if a.tag == TAG_NULL else <uint16_t>SLOT_NONE)


cdef bint text_to_uint(Cursor cursor, uint64_t* out) noexcept nogil:
    """Only digits; false when there are none or too many for 64 bits."""
    out[0] = 0
    if cursor.at == cursor.end:
        return False
    while cursor.at < cursor.end:
        if not 48 <= cursor.at[0] <= 57:
            return False
        if mul_overflows_u(out[0], 10, out) or add_overflows_u(out[0], cursor.at[0] - 48, out):
            return False
        cursor.at += 1
    return True


cdef Value int_from_text(Value text) noexcept nogil:
    cdef Cursor cursor = stripped(text)
    cdef uint64_t magnitude
    cdef bint negative = take_byte(&cursor, c"-")
    if not negative:
        take_byte(&cursor, c"+")
    if not text_to_uint(cursor, &magnitude):
        return failed(ERROR_CONVERSION)
    if magnitude > (<uint64_t>1 << 63) - (0 if negative else 1):
        return failed(ERROR_CONVERSION)
    return value_int(<int64_t>(0 - magnitude if negative else magnitude))


cdef Value to_int(Value a) noexcept nogil:
    if a.tag == TAG_INT:
        return a
    if a.tag == TAG_UINT:
        return value_int(a.as_.i) if a.as_.i >= 0 else failed(ERROR_RANGE)
    if a.tag == TAG_DOUBLE:
        # The limits themselves are refused, as CEL does.
        if -INT_LIMIT < a.as_.d < INT_LIMIT:
            return value_int(<int64_t>a.as_.d)
        return failed(ERROR_RANGE)
    if a.tag == TAG_STRING:
        return int_from_text(a)
    if a.tag == TAG_TIMESTAMP:
        return value_int(a.as_.i)
    return no_overload(a)


cdef Value to_uint(Value a) noexcept nogil:
    cdef Cursor cursor
    cdef uint64_t number
    if a.tag == TAG_UINT:
        return a
    if a.tag == TAG_INT:
        return value_uint(a.as_.u) if a.as_.i >= 0 else failed(ERROR_RANGE)
    if a.tag == TAG_DOUBLE:
        if 0 <= a.as_.d < UINT_LIMIT:
            return value_uint(<uint64_t>a.as_.d)
        return failed(ERROR_RANGE)
    if a.tag == TAG_STRING:
        cursor = stripped(a)
        take_byte(&cursor, c"+")
        return value_uint(number) if text_to_uint(cursor, &number) else failed(ERROR_CONVERSION)
    return no_overload(a)


cdef Value to_double(Value a) noexcept nogil:
    cdef Cursor cursor
    cdef double number
    if a.tag == TAG_DOUBLE:
        return a
    if a.tag == TAG_INT:
        return value_double(<double>a.as_.i)
    if a.tag == TAG_UINT:
        return value_double(<double>a.as_.u)
    if a.tag == TAG_STRING:
        cursor = stripped(a)
        if text_to_double(cursor.at, cursor.end - cursor.at, &number):
            return value_double(number)
        return failed(ERROR_CONVERSION)
    return no_overload(a)


cdef inline bint is_text(Value a, const char* text, uint32_t length) noexcept nogil:
    return a.length == length and memcmp(a.as_.s, text, length) == 0


cdef Value to_bool(Value a) noexcept nogil:
    if a.tag == TAG_BOOL:
        return a
    if a.tag != TAG_STRING:
        return no_overload(a)
    if (is_text(a, b"true", 4) or is_text(a, b"True", 4) or is_text(a, b"TRUE", 4)
            or is_text(a, b"t", 1) or is_text(a, b"1", 1)):
        return value_bool(True)
    if (is_text(a, b"false", 5) or is_text(a, b"False", 5) or is_text(a, b"FALSE", 5)
            or is_text(a, b"f", 1) or is_text(a, b"0", 1)):
        return value_bool(False)
    return failed(ERROR_CONVERSION)


cdef int utf8_width(const uint8_t* s, size_t left) noexcept nogil:
    """Bytes of the code point at `s`; 0 when it is malformed."""
    cdef uint8_t first = s[0]
    cdef int width
    cdef int i
    if first < 0x80:
        return 1
    if first < 0xC2 or first > 0xF4:
        return 0
    width = 2 if first < 0xE0 else (3 if first < 0xF0 else 4)
    if <size_t>width > left:
        return 0
    for i in range(1, width):
        if s[i] & 0xC0 != 0x80:
            return 0
    # No overlong forms, no surrogates, nothing above 0x10FFFF.
    if (first == 0xE0 and s[1] < 0xA0) or (first == 0xED and s[1] > 0x9F):
        return 0
    if (first == 0xF0 and s[1] < 0x90) or (first == 0xF4 and s[1] > 0x8F):
        return 0
    return width


cdef Value string_from_bytes(Machine* machine, Value a) noexcept nogil:
    cdef size_t at = 0
    cdef int width
    charge(machine, a.length >> 3)
    while at < a.length:
        width = utf8_width(<const uint8_t*>a.as_.s + at, a.length - at)
        if width == 0:
            return failed(ERROR_UTF8)
        at += width
    a.tag = TAG_STRING
    return a


cdef int write_scalar(char* out, Value a) noexcept nogil:
    """The text of a number, bool or time; 0 for any other type.  At most 64 bytes."""
    if a.tag == TAG_INT:
        if a.as_.i >= 0:
            return write_number(out, a.as_.u, 1)
        out[0] = c"-"
        return 1 + write_number(out + 1, 0 - a.as_.u, 1)
    if a.tag == TAG_UINT:
        return write_number(out, a.as_.u, 1)
    if a.tag == TAG_DOUBLE:
        return double_to_text(a.as_.d, out)
    if a.tag == TAG_TIMESTAMP:
        return write_timestamp(out, a)
    if a.tag == TAG_DURATION:
        return write_duration(out, a)
    return 0


cdef Value to_string(Machine* machine, Value a) noexcept nogil:
    cdef char text[64]
    cdef int length
    cdef char* copy
    if a.tag == TAG_STRING:
        return a
    if a.tag == TAG_BYTES:
        return string_from_bytes(machine, a)
    if a.tag == TAG_BOOL:
        return value_string(b"true", 4) if a.as_.i else value_string(b"false", 5)
    length = write_scalar(text, a)
    if length == 0:
        return no_overload(a)
    copy = <char*>arena_take(&machine.arena, length)
    if copy == NULL:
        return failed(ERROR_MEMORY)
    memcpy(copy, text, length)
    return value_string(copy, length)


cdef Value to_bytes(Value a) noexcept nogil:
    if a.tag == TAG_STRING:
        a.tag = TAG_BYTES
    return a if a.tag == TAG_BYTES else no_overload(a)


cdef Value to_timestamp(Value a) noexcept nogil:
    if a.tag == TAG_TIMESTAMP:
        return a
    if a.tag == TAG_INT:
        return timestamp_checked(a.as_.i, 0)
    return timestamp_from_text(a) if a.tag == TAG_STRING else no_overload(a)


cdef Value to_duration(Value a) noexcept nogil:
    if a.tag == TAG_DURATION:
        return a
    return duration_from_text(a) if a.tag == TAG_STRING else no_overload(a)


cdef Value convert(Machine* machine, Value a, uint8_t tag) noexcept nogil:
    if a.tag == TAG_STRING:
        charge(machine, a.length >> 6)
    if tag == TAG_INT:
        return to_int(a)
    if tag == TAG_UINT:
        return to_uint(a)
    if tag == TAG_DOUBLE:
        return to_double(a)
    if tag == TAG_STRING:
        return to_string(machine, a)
    if tag == TAG_BYTES:
        return to_bytes(a)
    if tag == TAG_BOOL:
        return to_bool(a)
    if tag == TAG_TIMESTAMP:
        return to_timestamp(a)
    if tag == TAG_DURATION:
        return to_duration(a)
    return failed(ERROR_CODE)


cdef Value type_name(const char* text) noexcept nogil:
    cdef Value value = value_string(text, <uint32_t>strlen(text))
    value.tag = TAG_TYPE
    return value


cdef Value type_of(Value a) noexcept nogil:
    if a.tag == TAG_NULL:
        return type_name(b"null_type")
    if a.tag == TAG_BOOL:
        return type_name(b"bool")
    if a.tag == TAG_INT:
        return type_name(b"int")
    if a.tag == TAG_UINT:
        return type_name(b"uint")
    if a.tag == TAG_DOUBLE:
        return type_name(b"double")
    if a.tag == TAG_STRING:
        return type_name(b"string")
    if a.tag == TAG_BYTES:
        return type_name(b"bytes")
    if a.tag == TAG_TIMESTAMP:
        return type_name(b"google.protobuf.Timestamp")
    if a.tag == TAG_DURATION:
        return type_name(b"google.protobuf.Duration")
    if a.tag == TAG_LIST:
        return type_name(b"list")
    if a.tag == TAG_MAP:
        return type_name(b"map")
    return type_name(b"type") if a.tag == TAG_TYPE else a
