# The stack VM.

cdef Value evaluate(Machine* machine, const Program* program) noexcept nogil:
    """Run `program`; an error is a TAG_ERROR value that carries its code and input slot."""
    return value_error(ERROR_CODE, SLOT_NONE)


cdef int program_load(Program* program, object code) except -1:
    """Copy a Code into memory that `program` owns."""
    memset(program, 0, sizeof(Program))
    return 0


cdef void program_free(Program* program) noexcept nogil:
    arena_free(&program.memory)
