"""Shapes: whether bytes are a message at all, told apart from whether they are within bounds.

The readers stop at a bound; what follows may still be malformed, and only a look at all of
it gives the official parsers' answer.  Nothing is kept.
"""

cdef enum Shape:
    SHAPE_UNKNOWN = 0
    SHAPE_TEXT = 1
    SHAPE_NUMBERS = 2
    SHAPE_EMPTY = 3
    SHAPE_IDENTITY = 4
    SHAPE_VALUE = 5
    SHAPE_ENTRY = 6
    SHAPE_DECIDE = 7
    SHAPE_DECIDE_BATCH = 8
    SHAPE_TRACK = 9
    SHAPE_UPSERT = 10
    SHAPE_LINK = 11
    SHAPE_MUTATION = 12
    SHAPE_STRINGS = 13
    SHAPE_VECTOR = 14
    SHAPE_PROFILE = 15
    SHAPE_ERASURE = 16
    SHAPE_ERASED = 17
    SHAPE_PUBLICATION = 18
    SHAPE_PUBLISH = 19
    SHAPE_FILE = 20
    SHAPES = 21


cdef enum:
    SHAPE_FIELDS_MAX = 12


cdef extern from *:
    """
    /* What the length-delimited fields of a message hold, by field number.  SHAPE_EMPTY (3)
       is a message of numbers alone; 0 is bytes, or a field that is skipped. */
    static const unsigned char nextbest_shapes[21][12] = {
        {0},
        {0},
        {0},
        {0},
        {0, 0, 1},                               /* Identity */
        {0, 0, 0, 0, 1, 3, 13, 14},              /* Value */
        {0, 1, 5},                               /* an entry of a map<string, Value> */
        {0, 1, 4, 1, 1, 6, 6, 3, 0, 0, 3},       /* DecideRequest */
        {0, 7},                                  /* DecideBatchRequest */
        {0, 1, 4, 1, 3, 6, 0, 1},                /* TrackRequest */
        {0, 1, 4, 6, 3},                         /* UpsertProfileRequest */
        {0, 1, 4, 4, 0, 3},                      /* LinkIdentityRequest */
        {0, 0, 0, 0, 0, 9, 10, 11, 16, 18, 3},   /* Mutation */
        {0, 1},                                  /* StringList */
        {0, 2},                                  /* DoubleList */
        {0, 4, 3, 3},                            /* GetProfileRequest */
        {0, 17, 0, 1},                           /* Erasure */
        {0, 4},                                  /* ErasedIdentity */
        {0, 0, 0, 0, 19},                        /* Publication */
        {0, 1, 20, 1},                           /* PublishPlaybookRequest */
        {0, 1},                                  /* PlaybookFile */
    };
    """
    const uint8_t nextbest_shapes[SHAPES][SHAPE_FIELDS_MAX]


cdef void shape_read(Reader* reader, Shape shape) noexcept nogil:
    """Read a message of that shape to its end; the nesting of the shapes bounds the recursion."""
    cdef uint32_t field = 0, wire = 0
    cdef Shape inner_shape
    cdef Reader inner
    while read_tag(reader, &field, &wire):
        inner_shape = SHAPE_UNKNOWN
        if wire == WIRE_BYTES and field < SHAPE_FIELDS_MAX:
            inner_shape = <Shape>nextbest_shapes[<int>shape][field]
        if inner_shape == SHAPE_UNKNOWN:
            read_skip(reader, field, wire)
        elif inner_shape == SHAPE_TEXT:
            read_string(reader)
        elif inner_shape == SHAPE_NUMBERS:
            if read_bytes(reader).length % 8 != 0:
                reader.failed = True
        else:
            inner = read_message(reader)
            shape_read(&inner, inner_shape)
            reader.failed = reader.failed or inner.failed


cdef bint shape_holds(const Reader* reader, Shape shape) noexcept nogil:
    """Whether the rest of `reader`, which stays where it is, is a message of that shape."""
    cdef Reader all = reader[0]
    shape_read(&all, shape)
    return not all.failed
