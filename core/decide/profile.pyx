"""A profile written as the fields of nextbest.v1.Profile."""

cdef void write_profile_attributes(Decision* decision, Writer* writer) noexcept nogil:
    """The attributes that are set, hidden ones left out."""
    cdef const PlaybookState* playbook = decision.playbook
    cdef Value value
    cdef uint32_t i
    for i in range(playbook.attribute_names.visible):
        value = person_attribute(
            decision.person, playbook.attributes[i].column, &decision.machine.arena
        )
        if value.tag == TAG_NULL or (value.tag == TAG_LIST and value.length == 0):
            continue
        write_value_entry(writer, 2, playbook.attributes[i].name, &value)


cdef void write_profile_counters(Decision* decision, Writer* writer) noexcept nogil:
    """Every counter that expressions can read, with its value now."""
    cdef const PlaybookState* playbook = decision.playbook
    cdef size_t entry
    cdef uint32_t i
    for i in range(playbook.counters_visible):
        entry = message_open(writer, 3)
        write_text_always(writer, 1, playbook.counters[i].name)
        write_counter(decision, writer, &playbook.counters[i])
        message_close(writer, entry)


cdef void write_counter(
    Decision* decision, Writer* writer, const CounterSpec* counter
) noexcept nogil:
    """A nextbest.v1.CounterValue as field 2 of its map entry."""
    cdef bint approximate = False
    cdef size_t start = message_open(writer, 2)
    cdef int64_t step = counter.resolution_s * 1000000
    cdef Value value = person_counter(
        decision.person, counter.column, decision.now_us, &decision.machine.arena, &approximate
    )
    cdef uint32_t i
    if counter.aggregate == LAST_N:
        for i in range(value.length):
            write_value(writer, 2, &value.as_.items[i])
    elif value.tag != TAG_NULL:
        write_value(writer, 1, &value)
    write_uint(writer, 3, approximate)
    if counter.window_s and step:
        write_time(
            writer, 4,
            floor_divide(decision.now_us - counter.window_s * 1000000, step) * step,
        )
    message_close(writer, start)
