# Columns to rows: many identities' attributes at once.

from libc.stdint cimport int8_t, int16_t, int32_t

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_GET_SIZE
from cpython.float cimport PyFloat_AS_DOUBLE
from cpython.long cimport PyLong_AsLongLong
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_Check

cdef enum:
    IMPORT_TEXT_MAX = 1024
    IMPORT_ARENA = 1048576


@cython.final
cdef class Column:
    """One attribute's values: a sequence, or a buffer of numbers with a mask."""

    cdef uint32_t number
    cdef uint8_t type
    cdef char format
    cdef Py_buffer view
    cdef bint has_view
    cdef object values
    cdef const uint8_t* mask
    cdef Py_buffer mask_view
    cdef bint has_mask

    def __dealloc__(self):
        if self.has_view:
            PyBuffer_Release(&self.view)
        if self.has_mask:
            PyBuffer_Release(&self.mask_view)

    cdef int load(self, number, uint8_t type, values, Py_ssize_t rows) except -1:
        self.number = number
        self.type = type
        if isinstance(values, tuple) and len(values) == 2 and hasattr(values[1], "__len__") and (
            not isinstance(values[1], str)
        ) and len(values[1]) == rows and len(values[0]) == rows and rows != 2:
            self.load_mask(values[1])
            values = values[0]
        if len(values) != rows:
            raise errors.InvalidRequestError(
                f"columns[{number}]", f"{len(values)} values", f"{rows}, one for each id")
        if not self.load_buffer(values):
            # Rows point into the items' text: a list keeps what a lazy sequence would drop.
            self.values = values.tolist() if hasattr(values, "tolist") else list(values)
        return 0

    cdef int load_mask(self, values) except -1:
        """A mask is any sequence of truths; as bytes it is one byte each."""
        self.mask_view.buf = NULL
        data = bytes(bytearray(1 if item else 0 for item in values))
        PyObject_GetBuffer(data, &self.mask_view, PyBUF_STRIDES)
        self.has_mask = True
        self.mask = <const uint8_t*>self.mask_view.buf
        return 0

    cdef bint load_buffer(self, values) except? True:
        """Read numbers in place where `values` is a buffer of a format we know."""
        if isinstance(values, (list, tuple, str)):
            return False
        try:
            PyObject_GetBuffer(values, &self.view, PyBUF_FORMAT | PyBUF_STRIDES)
        except (TypeError, ValueError, BufferError):
            return False
        self.has_view = True
        format = (<bytes>self.view.format).lstrip(b"@=<") if self.view.format != NULL else b""
        if self.view.ndim != 1 or format not in (b"d", b"f", b"q", b"l", b"i", b"h", b"b", b"?"):
            self.has_view = False
            PyBuffer_Release(&self.view)
            return False
        self.format = (<char*><bytes>format)[0]
        return True

    cdef inline object item(self, Py_ssize_t row):
        """The value as Python sees it, for the slow ways."""
        cdef Value value
        if self.has_view:
            value = self.number_at(row)
            return value_to_python(value)
        return self.values[row]

    cdef inline Value number_at(self, Py_ssize_t row) noexcept:
        cdef const char* at = <const char*>self.view.buf + row * self.view.strides[0]
        if self.format == c"d":
            return value_double((<const double*>at)[0])
        if self.format == c"f":
            return value_double((<const float*>at)[0])
        if self.format == c"?":
            return value_bool((<const uint8_t*>at)[0])
        if self.format == c"i":
            return value_int((<const int32_t*>at)[0])
        if self.format == c"h":
            return value_int((<const int16_t*>at)[0])
        if self.format == c"b":
            return value_int((<const int8_t*>at)[0])
        return value_int((<const int64_t*>at)[0])

    cdef bint value_at(self, Py_ssize_t row, Value* value, Arena* arena) except? True:
        """One row's value in the column's type; False when it does not fit."""
        cdef object item
        cdef Py_ssize_t length = 0
        if self.has_mask and self.mask[row]:
            value[0] = value_null()
            return True
        if self.has_view:
            value[0] = self.number_at(row)
        else:
            item = self.values[row]
            if item is None:
                value[0] = value_null()
                return True
            if type(item) is str:
                value[0] = value_string(PyUnicode_AsUTF8AndSize(item, &length), 0)
                value.length = <uint32_t>length
                return self.type == STORED_STRING and length <= IMPORT_TEXT_MAX
            if type(item) is float:
                value[0] = value_double(PyFloat_AS_DOUBLE(item))
            elif type(item) is int:
                value[0] = value_int(PyLong_AsLongLong(item))
            else:
                value[0] = value_from_python(item, arena)
        return number_fits(self.type, value)


cdef bint number_fits(uint8_t type, Value* value) noexcept nogil:
    """Bring a number to the column's type where that loses nothing."""
    cdef uint32_t i
    if value.tag == TAG_INT and type == STORED_DOUBLE:
        if not <int64_t>-9007199254740992 <= value.as_.i <= <int64_t>9007199254740992:
            return False
        value[0] = value_double(<double>value.as_.i)
    elif value.tag == TAG_DOUBLE and type == STORED_INT:
        if not (-9.2e18 < value.as_.d < 9.2e18) or floor(value.as_.d) != value.as_.d:
            return False
        value[0] = value_int(<int64_t>value.as_.d)
    elif value.tag == TAG_INT and type == STORED_TIMESTAMP:
        value[0] = value_timestamp_us(value.as_.i)
    elif value.tag == TAG_DOUBLE and value.as_.d - value.as_.d != 0.0:
        return False
    elif value.tag == TAG_LIST:
        if value.length > (1024 if type == STORED_STRING_LIST else 4096):
            return False
        for i in range(value.length):
            if value.as_.items[i].tag == TAG_STRING and (
                value.as_.items[i].length > IMPORT_TEXT_MAX
            ):
                return False
    return fits(type, value)


cdef bint identity_at(object id, IdentityRef* identity) except? True:
    cdef Py_ssize_t length = 0
    if PyUnicode_Check(id):
        identity.id = PyUnicode_AsUTF8AndSize(id, &length)
    elif PyBytes_Check(id):
        identity.id = PyBytes_AS_STRING(id)
        length = PyBytes_GET_SIZE(id)
    else:
        return False
    identity.length = <uint32_t>length
    return 1 <= length <= 256


cdef object refusal(Py_ssize_t row, Column column):
    try:
        seen = repr(column.item(row))[:80]
    except OverflowError:
        seen = "a number out of 64 bits"
    allowed = ("", "a bool", "a 64-bit int", "a finite number", "text of at most 1,024 bytes",
               "a timestamp in years 1 to 9999", "at most 1,024 texts", "at most 4,096 numbers")
    return row, column.number, seen, allowed[column.type]


cdef object import_rows(StoreState* store, uint8_t kind, ids, columns, uint64_t stamp):
    """The loop of Store.import_columns."""
    cdef Arena arena
    cdef Py_ssize_t rows = len(ids)
    cdef vector[AttributeInput] inputs
    cdef Layout* layout = atomic_pointer_read(&store.layout)
    cdef Column column
    loaded = []
    for number, values in columns.items():
        if not 0 <= number < layout.attributes:
            raise errors.InvalidRequestError("columns", repr(number), "a known column")
        column = Column()
        column.load(number, store.attributes[<uint32_t>number].type, values, rows)
        loaded.append(column)
    inputs.resize(len(loaded))
    if not arena_init(&arena, IMPORT_ARENA):
        raise MemoryError
    try:
        return import_loop(store, kind, ids, loaded, stamp, inputs.data(), &arena)
    finally:
        arena_free(&arena)


cdef object import_loop(
    StoreState* store, uint8_t kind, ids, list columns, uint64_t stamp, AttributeInput* inputs,
    Arena* arena,
):
    cdef Py_ssize_t row, rows = len(ids), created_count = 0, updated = 0
    cdef uint32_t count = <uint32_t>len(columns)
    cdef IdentityRef identity
    cdef StoreStatus status
    cdef bint created = False
    refused = []
    identity.kind = kind
    for row in range(rows):
        id = ids[row]
        try:
            named = identity_at(id, &identity)
        except UnicodeEncodeError:
            named = False
        if not named:
            refused.append((row, "id", repr(id)[:80], "1 to 256 bytes of UTF-8"))
            continue
        arena_reset(arena)
        problem = import_row(columns, row, inputs, arena)
        if problem is not None:
            refused.append(problem)
            continue
        if not store_has_room(store, identity):
            refused.append((row, "id", repr(id)[:80], "a known id: the store is full"))
            continue
        status = store_set(
            store, identity, store_incarnation(store, identity), stamp, inputs, count,
            &created,
        )
        if status != STORE_OK:
            raise MemoryError("import")
        created_count += created
        updated += not created
    return ImportResult(created_count, updated, refused)


cdef object import_row(list columns, Py_ssize_t row, AttributeInput* inputs, Arena* arena):
    """Fill the inputs of one row; a refusal, or None when all fit."""
    cdef Column column
    cdef uint32_t i = 0
    cdef bint good
    for column in columns:
        inputs[i].column = column.number
        try:
            good = column.value_at(row, &inputs[i].value, arena)
        except (TypeError, ValueError, OverflowError, MemoryError):
            return refusal(row, column)
        if not good:
            return refusal(row, column)
        i += 1
    return None
