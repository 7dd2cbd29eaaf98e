# The VM's face: what decisions, counter filters and tests use to run a Code.

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset


cdef enum:
    STEPS_MAX = 200000  # for one evaluation: instructions, or as much other work; about 2 ms
    STACK_MAX = 4096  # values on one machine's stack, over all nested evaluations
    ARENA_MAX = 1 << 20  # bytes that one machine's evaluations may take between resets

ctypedef void (*Resolve)(void* owner, uint32_t slot) noexcept nogil

cdef struct Machine:
    # One for each serving thread.  `resolve` may evaluate on the same machine: it runs above
    # `top`.  The caller resets `arena` and `steps_left`.
    Value* inputs
    uint32_t inputs_count
    Resolve resolve  # called when an input is TAG_ABSENT; must fill inputs[slot]
    void* owner
    Arena arena
    Value* stack
    uint32_t stack_size
    uint32_t top
    uint32_t steps_left

cdef struct Instruction:
    uint8_t op
    uint8_t a
    uint16_t b
    int32_t c

cdef struct Program:
    # Most programs are one predicate on one slot.  Its instruction and constant stand here, so
    # that running it touches one cache line; `instructions` serves the others.
    uint32_t fused
    Instruction only
    Value operand
    Instruction* instructions
    uint32_t instructions_count
    uint32_t constants_count
    Value* constants
    void** patterns  # compiled regular expressions, by constant; NULL where it is none
    uint32_t stack
    uint32_t locals_count
    Arena memory  # of the constants


cdef bint machine_init(Machine* machine, size_t arena_max) noexcept nogil:
    """Take the machine's stack and arena; the caller sets inputs, resolve and owner.

    False when there is no memory; `machine_free` is due all the same.
    """
    memset(machine, 0, sizeof(Machine))
    machine.stack = <Value*>malloc(STACK_MAX * sizeof(Value))
    machine.stack_size = STACK_MAX
    machine.steps_left = STEPS_MAX
    return arena_init(&machine.arena, arena_max) and machine.stack != NULL


cdef void machine_free(Machine* machine) noexcept nogil:
    arena_free(&machine.arena)
    free(machine.stack)
    machine.stack = NULL
