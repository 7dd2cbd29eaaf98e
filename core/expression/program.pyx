# Programs: a Code copied into C memory, and the Python face that runs one.

from cython cimport final
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from nextbest.core.expression.code import Code


cdef void program_free(Program* program) noexcept nogil:
    cdef uint32_t i
    if program.patterns != NULL:
        for i in range(program.constants_count):
            if program.patterns[i] != NULL:
                regex_free(program.patterns[i])
    free(program.patterns)
    free(program.instructions)
    free(program.constants)
    arena_free(&program.memory)
    memset(program, 0, sizeof(Program))


cdef int program_load(Program* program, object code) except -1:
    """Copy a Code into memory that `program` owns; ValueError when it is not sound."""
    memset(program, 0, sizeof(Program))
    try:
        load_constants(program, code.constants)
        load_instructions(program, code.instructions)
        program.stack = code.stack
        program.locals_count = code.locals_count
        check_instructions(program)
        load_patterns(program)
    except BaseException:
        program_free(program)
        raise
    return 0


cdef int load_constants(Program* program, tuple constants) except -1:
    cdef uint32_t i
    cdef size_t size = sum(python_size(c, VALUE_DEPTH_MAX) for c in constants)
    program.constants = <Value*>calloc(len(constants) + 1, sizeof(Value))
    if not arena_init(&program.memory, size) or program.constants == NULL:
        raise MemoryError
    program.constants_count = <uint32_t>len(constants)
    for i in range(program.constants_count):
        program.constants[i] = value_from_python(constants[i], &program.memory)
    return 0


cdef int load_instructions(Program* program, bytes data) except -1:
    cdef size_t size = len(data)
    if size % sizeof(Instruction):
        raise ValueError("code: cut instruction")
    # One more, zeroed: OP_RETURN.
    program.instructions = <Instruction*>calloc(size + sizeof(Instruction), 1)
    if program.instructions == NULL:
        raise MemoryError
    memcpy(program.instructions, <const char*>data, size)
    program.instructions_count = <uint32_t>(size // sizeof(Instruction))
    return 0


cdef bint is_jump(uint8_t op) noexcept nogil:
    return OP_JUMP <= op <= OP_OR_JUMP or op == OP_CONDITION or op == OP_JUMP_FALSE \
        or op == OP_ITERATE or op == OP_NEXT


cdef bint names_constant(uint8_t op) noexcept nogil:
    return op == OP_CONST or op == OP_COMPARE_SLOT or op == OP_IN_SLOT or op == OP_SELECT \
        or op == OP_HAS_KEY or op == OP_MATCHES_CONST


cdef bint reads_input(uint8_t op) noexcept nogil:
    return op == OP_LOAD or op == OP_HAS or op == OP_COMPARE_SLOT or op == OP_IN_SLOT


cdef int check_instructions(Program* program) except -1:
    """Refuse operands out of range; the depth of the stack is the compiler's word."""
    cdef uint32_t i
    cdef Instruction at
    for i in range(program.instructions_count):
        at = program.instructions[i]
        if at.op >= OP_COUNT:
            raise ValueError("code: unknown operation")
        if is_jump(at.op) and not 0 <= at.c <= <int64_t>program.instructions_count:
            raise ValueError("code: jump out of range")
        if names_constant(at.op) and not 0 <= at.c < <int64_t>program.constants_count:
            raise ValueError("code: constant out of range")
        if at.op == OP_TIME_PART and not -1 <= at.c < <int64_t>program.constants_count:
            raise ValueError("code: zone out of range")
        if (at.op == OP_LOCAL or at.op == OP_STORE or at.op == OP_APPEND) \
                and not 0 <= at.c < <int64_t>program.locals_count:
            raise ValueError("code: local out of range")
        if (at.op == OP_ITERATE or at.op == OP_NEXT) and <uint32_t>at.b + 3 >= program.locals_count:
            raise ValueError("code: loop out of range")
    if program.instructions_count == 1 and reads_input(program.instructions[0].op):
        fuse(program)
    return 0


cdef void fuse(Program* program) noexcept nogil:
    """Put the only instruction, and the constant that it names, into the program itself."""
    program.fused = True
    program.only = program.instructions[0]
    if names_constant(program.only.op):
        program.operand = program.constants[program.only.c]
        program.only.c = 0


cdef int load_patterns(Program* program) except -1:
    """Compile the constant patterns; one that does not compile is an error when it is run."""
    cdef uint32_t i
    cdef Value text
    cdef int32_t c
    program.patterns = <void**>calloc(program.constants_count + 1, sizeof(void*))
    if program.patterns == NULL:
        raise MemoryError
    for i in range(program.instructions_count):
        c = program.instructions[i].c
        if program.instructions[i].op == OP_MATCHES_CONST and program.patterns[c] == NULL:
            text = program.constants[c]
            if text.tag == TAG_STRING:
                program.patterns[c] = regex_compile(text.as_.s, text.length)
    return 0


cdef void resolve_nothing(void* owner, uint32_t slot) noexcept nogil:
    """Leaves the input absent, which reads as an error."""


def supports_patterns() -> bool:
    """Whether `matches` is available: the engine was built with RE2."""
    return regex_supported() != 0


@final
cdef class Expression:
    """A Code that can be evaluated from Python: for tests, tools and constant folding."""

    cdef Program program
    cdef Machine machine
    cdef uint32_t inputs_max

    def __cinit__(self, code: Code, arena_max: int = ARENA_MAX) -> None:
        """Load `code`; `arena_max` bounds the bytes of one evaluation, inputs included."""
        self.inputs_max = max(code.slots) + 1 if code.slots else 0
        program_load(&self.program, code)
        if not machine_init(&self.machine, arena_max):
            raise MemoryError
        self.machine.resolve = resolve_nothing
        self.machine.inputs = <Value*>calloc(self.inputs_max + 1, sizeof(Value))
        if self.machine.inputs == NULL:
            raise MemoryError
        self.machine.inputs_count = self.inputs_max

    def __dealloc__(self) -> None:
        program_free(&self.program)
        machine_free(&self.machine)
        free(self.machine.inputs)

    cdef Value _run(self, object inputs, uint32_t steps_max) except *:
        cdef uint32_t i
        arena_reset(&self.machine.arena)
        self.machine.steps_left = steps_max
        if len(inputs) < self.inputs_max:
            raise ValueError(f"inputs: {len(inputs)}, allowed: at least {self.inputs_max}")
        for i in range(self.inputs_max):
            self.machine.inputs[i] = value_from_python(inputs[i], &self.machine.arena)
        return evaluate(&self.machine, &self.program)

    def evaluate(self, inputs: Sequence[object] = (), steps_max: int = STEPS_MAX) -> object:
        """The value for these inputs, by slot; None is an unset one.

        Raises EvaluationError when the result is an error, TypeError, OverflowError,
        MemoryError or ValueError for an input that is no value.
        """
        cdef Value value = self._run(inputs, steps_max)
        result = value_to_python(value)
        if value.tag == TAG_ERROR:
            raise result
        return result

    def measure(self, inputs: Sequence[object], times: int) -> int:
        """How many of `times` evaluations gave true, for benchmarks."""
        cdef uint64_t found = 0
        cdef uint64_t count = times
        cdef Value value = self._run(inputs, STEPS_MAX)
        cdef size_t used = self.machine.arena.used
        with nogil:
            for _ in range(count):
                self.machine.arena.used = used
                self.machine.steps_left = STEPS_MAX
                value = evaluate(&self.machine, &self.program)
                found += 1 if value.tag == TAG_BOOL and value.as_.i != 0 else 0
        return found
