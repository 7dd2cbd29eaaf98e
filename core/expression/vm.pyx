# The stack VM: runs a loaded Code without the GIL, over values it never frees.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp


# The numbers of operation.Op.
cdef enum Op:
    OP_RETURN = 0
    OP_CONST = 1
    OP_LOAD = 2
    OP_HAS = 3
    OP_LOCAL = 4
    OP_STORE = 5
    OP_JUMP = 6
    OP_AND_JUMP = 7
    OP_OR_JUMP = 8
    OP_AND = 9
    OP_OR = 10
    OP_CONDITION = 11
    OP_JUMP_FALSE = 12
    OP_COMPARE_SLOT = 13
    OP_IN_SLOT = 14
    OP_ITERATE = 15
    OP_NEXT = 16
    OP_APPEND = 17
    OP_ERROR = 18
    OP_NOT = 19
    OP_NEGATE = 20
    OP_NOT_FALSE = 21
    OP_ADD = 22
    OP_SUBTRACT = 23
    OP_MULTIPLY = 24
    OP_DIVIDE = 25
    OP_MODULO = 26
    OP_EQUAL = 27
    OP_NOT_EQUAL = 28
    OP_LESS = 29
    OP_LESS_EQUAL = 30
    OP_GREATER = 31
    OP_GREATER_EQUAL = 32
    OP_IN = 33
    OP_INDEX = 34
    OP_SELECT = 35
    OP_HAS_KEY = 36
    OP_LIST = 37
    OP_MAP = 38
    OP_SIZE = 39
    OP_CONTAINS = 40
    OP_STARTS_WITH = 41
    OP_ENDS_WITH = 42
    OP_MATCHES = 43
    OP_MATCHES_CONST = 44
    OP_CONVERT = 45
    OP_TYPE = 46
    OP_TIME_PART = 47
    OP_MAP_INSERT = 48
    OP_COUNT = 49

cdef enum:
    REQUIRED = 0x80
    # Of >=, >, <=, <, != and ==, from the highest bits: see ordered().
    ORDERS_ALLOWED = 0b110100011001101010


cdef inline Value load(Machine* machine, uint16_t slot, bint required) noexcept nogil:
    """An input, resolved when it is absent.  A null remembers its slot for errors."""
    cdef Value value = machine.inputs[slot]
    if value.tag == TAG_ABSENT:
        machine.resolve(machine.owner, slot)
        value = machine.inputs[slot]
    if value.tag <= TAG_NULL:
        if required or value.tag == TAG_ABSENT:
            return value_error(ERROR_UNSET, slot)
        value.extra = slot
    return value


cdef inline Value has_slot(Machine* machine, uint16_t slot, bint negated) noexcept nogil:
    """Whether an input is set: not null, not an empty list or map, not a default."""
    cdef Value value = load(machine, slot, False)
    if value.tag == TAG_ERROR:
        return value
    if value.flag == FLAG_DEFAULT:
        return value_bool(negated)
    if value.tag == TAG_LIST or value.tag == TAG_MAP:
        return value_bool((value.length != 0) != negated)
    return value_bool((value.tag != TAG_NULL) != negated)


cdef inline bint ordered(uint8_t op, int order) noexcept nogil:
    # Three bits for each comparison: whether it holds for less, same and greater.
    return ORDERS_ALLOWED >> (3 * (op - OP_EQUAL) + order + 1) & 1


cdef inline bint ordered_double(uint8_t op, double a, double b) noexcept nogil:
    if a != a or b != b:
        return op == OP_NOT_EQUAL
    return ordered(op, (a > b) - (a < b))


cdef inline Value compare_slot(
    Machine* machine, const Instruction* at, const Value* constant,
) noexcept nogil:
    """A predicate `input OP constant`."""
    cdef Value value = load(machine, at.b, at.a & REQUIRED)
    cdef uint8_t op = at.a & 0x7F
    if value.tag == constant.tag:
        if value.tag == TAG_INT:
            return value_bool(ordered(op, order_int(value.as_.i, constant.as_.i)))
        if value.tag == TAG_DOUBLE:
            return value_bool(ordered_double(op, value.as_.d, constant.as_.d))
        if value.tag == TAG_STRING and op <= OP_NOT_EQUAL:
            return value_bool((op == OP_EQUAL) == (
                value.length == constant.length
                and memcmp(value.as_.s, constant.as_.s, value.length) == 0))
    return compare(machine, op, value, constant[0])


cdef inline Value in_slot(
    Machine* machine, const Instruction* at, const Value* constant,
) noexcept nogil:
    cdef Value found = is_in(machine, load(machine, at.b, at.a & REQUIRED), constant[0])
    return inverted(found) if at.a & 1 else found


cdef inline Value predicate(
    Machine* machine, const Value* constants, const Instruction* at,
) noexcept nogil:
    """What an instruction on one input pushes."""
    if at.op == OP_COMPARE_SLOT:
        return compare_slot(machine, at, constants + at.c)
    if at.op == OP_HAS:
        return has_slot(machine, at.b, at.a)
    if at.op == OP_IN_SLOT:
        return in_slot(machine, at, constants + at.c)
    return load(machine, at.b, at.a)


cdef Value evaluate(Machine* machine, const Program* program) noexcept nogil:
    """Run `program`; an error is a TAG_ERROR value that carries its code and input slot.

    A string, list or map of the result lies in the machine's arena, in the inputs or in the
    program, and lives as long as they do.
    """
    cdef Value result
    # Most conditions are one predicate, and need neither stack nor loop.
    if program.fused:
        result = predicate(machine, &program.operand, &program.only)
        return failed(ERROR_STEPS) if machine.steps_left == 0 else result
    return run(machine, program)


cdef Value run(Machine* machine, const Program* program) noexcept nogil:
    cdef uint32_t base = machine.top
    cdef uint32_t room = program.locals_count + program.stack
    cdef Value* locals = machine.stack + base
    cdef Value result
    if room > machine.stack_size - base:
        return failed(ERROR_STACK)
    # An input that is resolved meanwhile evaluates above this.
    machine.top = base + room
    result = interpret(machine, program, locals, locals + program.locals_count - 1)
    machine.top = base
    return result


cdef Value interpret(
    Machine* machine, const Program* program, Value* locals, Value* top,
) noexcept nogil:
    """The loop: control flow, inputs and locals.  `top` is the value on top of the stack."""
    cdef const Instruction* at = program.instructions
    cdef const Instruction* code = program.instructions
    cdef uint8_t op
    while machine.steps_left:
        machine.steps_left -= 1
        op = at.op
        if op == OP_RETURN:
            return top[0]
        elif op == OP_CONST:
            top += 1
            top[0] = program.constants[at.c]
        elif op == OP_LOAD or op == OP_COMPARE_SLOT or op == OP_HAS or op == OP_IN_SLOT:
            top += 1
            top[0] = predicate(machine, program.constants, at)
        elif op == OP_LOCAL:
            top += 1
            top[0] = locals[at.c]
        elif op == OP_STORE:
            locals[at.c] = top[0]
            top -= 1
        elif op == OP_JUMP:
            at = code + at.c
            continue
        elif op == OP_AND_JUMP or op == OP_OR_JUMP:
            if top.tag == TAG_BOOL and top.as_.i == (op == OP_OR_JUMP):
                at = code + at.c
                continue
        elif op == OP_AND or op == OP_OR:
            top -= 1
            top[0] = both(top[0], top[1], op == OP_OR)
        elif op == OP_CONDITION:
            if top.tag != TAG_BOOL:
                top[0] = no_overload(top[0])
                at = code + at.c
                continue
        elif op == OP_JUMP_FALSE:
            top -= 1
            if not top[1].as_.i:
                at = code + at.c
                continue
        elif op == OP_ITERATE:
            if top.tag != TAG_LIST and top.tag != TAG_MAP:
                top[0] = no_overload(top[0])
                at = code + at.c
                continue
            locals[at.b] = top[0]
            locals[at.b + 1] = value_int(0)
            top -= 1
        elif op == OP_NEXT:
            if not advance(locals + at.b, at.a):
                at = code + at.c
                continue
        elif op == OP_APPEND:
            top[0] = append(machine, locals[at.c], top[0])
        elif op == OP_ERROR:
            top += 1
            top[0] = failed(at.a)
        elif OP_ADD <= op <= OP_DIVIDE and top.tag == (top - 1).tag == TAG_DOUBLE:
            # In place: copies of values stall on what was just stored in parts.
            top -= 1
            top.as_.d = double_of(op, top.as_.d, top[1].as_.d)
        else:
            top = operate(machine, program, at, top)
        at += 1
    return failed(ERROR_STEPS)


cdef inline double double_of(uint8_t op, double a, double b) noexcept nogil:
    if op == OP_MULTIPLY:
        return a * b
    if op == OP_ADD:
        return a + b
    return a - b if op == OP_SUBTRACT else a / b


cdef bint advance(Value* state, uint8_t variables) noexcept nogil:
    """Set the loop's variables to the next item; false at the end.

    `state` is the range, the next index, then the variables: an item or key, or two of
    index and item, or key and value.
    """
    cdef int64_t next = state[1].as_.i
    if next >= state[0].length:
        return False
    state[1].as_.i = next + 1
    if state[0].tag == TAG_MAP:
        state[2] = state[0].as_.items[2 * next]
        if variables == 2:
            state[3] = state[0].as_.items[2 * next + 1]
    elif variables == 2:
        state[2] = value_int(next)
        state[3] = state[0].as_.items[next]
    else:
        state[2] = state[0].as_.items[next]
    return True


cdef Value* operate(
    Machine* machine, const Program* program, const Instruction* at, Value* top,
) noexcept nogil:
    """One operation on the values on top of the stack; the new top."""
    cdef uint8_t op = at.op
    if OP_ADD <= op <= OP_INDEX or OP_CONTAINS <= op <= OP_MATCHES:
        top -= 1
        top[0] = binary(machine, op, top[0], top[1])
    elif op == OP_LIST:
        top -= at.c - 1
        top[0] = make_list(machine, top, at.c)
    elif op == OP_MAP:
        top -= 2 * at.c - 1
        top[0] = make_map(machine, top, at.c)
    elif op == OP_MAP_INSERT:
        top -= 2
        top[0] = map_insert(machine, top[0], top[1], top[2])
    else:
        top[0] = unary(machine, program, at, top[0])
    return top


cdef Value binary(Machine* machine, uint8_t op, Value a, Value b) noexcept nogil:
    if op == OP_ADD:
        return add(machine, a, b)
    elif op == OP_SUBTRACT:
        return subtract(a, b)
    elif op == OP_MULTIPLY:
        return multiply(a, b)
    elif op == OP_DIVIDE:
        return divide(a, b)
    elif op == OP_MODULO:
        return modulo(a, b)
    elif op == OP_IN:
        return is_in(machine, a, b)
    elif op == OP_INDEX:
        return index_value(machine, a, b)
    elif op == OP_MATCHES:
        return matches(machine, a, b, NULL)
    elif op >= OP_CONTAINS:
        return text_test(machine, op, a, b)
    return compare(machine, op, a, b)


cdef Value unary(
    Machine* machine, const Program* program, const Instruction* at, Value a,
) noexcept nogil:
    cdef uint8_t op = at.op
    if op == OP_NOT_FALSE:
        return value_bool(a.tag != TAG_BOOL or a.as_.i != 0)
    elif a.tag == TAG_ERROR:
        return a
    elif op == OP_NOT:
        return inverted(a)
    elif op == OP_NEGATE:
        return negate(a)
    elif op == OP_SELECT:
        if a.tag != TAG_MAP:
            return no_overload(a)
        return index_value(machine, a, program.constants[at.c])
    elif op == OP_HAS_KEY:
        return has_key(machine, a, program.constants[at.c])
    elif op == OP_SIZE:
        return size_of(machine, a)
    elif op == OP_MATCHES_CONST:
        return matches(machine, a, program.constants[at.c], program.patterns[at.c])
    elif op == OP_CONVERT:
        return convert(machine, a, at.a)
    elif op == OP_TYPE:
        return type_of(a)
    elif op == OP_TIME_PART:
        if at.c < 0:
            return time_part(a, at.a, NULL)
        return time_part(a, at.a, program.constants + at.c)
    return failed(ERROR_CODE)
