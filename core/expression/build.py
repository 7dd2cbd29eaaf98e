"""Assembles a Code: instructions, constants, locals and the depth of the stack."""

from __future__ import annotations

import struct

from nextbest.core.expression.code import Code
from nextbest.core.expression.operation import Op
from nextbest.core.expression.values import Duration, Timestamp

INSTRUCTIONS_MAX = 65_536
LOCALS_MAX = 1_024
SLOT_OPS = {Op.LOAD, Op.HAS, Op.COMPARE_SLOT, Op.IN_SLOT}
PUSHES = SLOT_OPS | {Op.CONST, Op.LOCAL, Op.ERROR}
POPS = {Op.STORE, Op.AND, Op.OR, Op.JUMP_FALSE, Op.ITERATE, Op.MATCHES}
POPS |= {op for op in Op if Op.ADD <= op <= Op.INDEX or Op.CONTAINS <= op <= Op.ENDS_WITH}


class TooLongError(ValueError):
    """An expression needs more instructions or locals than the VM has."""


def frozen(value: object) -> object:
    """The value with lists as tuples; a timestamp or a duration stays what it is."""
    if isinstance(value, (Timestamp, Duration)):
        return value
    if isinstance(value, (list, tuple)):
        return tuple(frozen(item) for item in value)
    if isinstance(value, dict):
        return {key: frozen(item) for key, item in value.items()}
    return value


def effect(op: Op, c: int) -> int:
    """How many values an operation leaves on the stack, less those it takes."""
    if op in PUSHES:
        return 1
    if op in POPS:
        return -1
    if op is Op.MAP_INSERT:
        return -2
    if op is Op.LIST:
        return 1 - c
    return 1 - 2 * c if op is Op.MAP else 0


class Builder:
    """Appends instructions and keeps count; a jump's target is patched when it is known."""

    def __init__(self) -> None:
        self.instructions: list[tuple[Op, int, int, int]] = []
        self.constants: dict[str, int] = {}
        self.values: list[object] = []
        self.locals_count = 0
        self.depth = 0
        self.depth_max = 0

    def constant(self, value: object) -> int:
        """The index of a constant; equal ones of the same type are kept once."""
        value = frozen(value)
        index = self.constants.setdefault(f"{type(value).__name__} {value!r}", len(self.values))
        if index == len(self.values):
            self.values.append(value)
        return index

    def emit(self, op: Op, a: int = 0, b: int = 0, c: int = 0) -> int:
        """Append an instruction and return its index."""
        if len(self.instructions) >= INSTRUCTIONS_MAX:
            raise TooLongError
        self.instructions.append((op, a, b, c))
        self.depth += effect(op, c)
        self.depth_max = max(self.depth_max, self.depth)
        return len(self.instructions) - 1

    def push(self, value: object) -> None:
        self.emit(Op.CONST, c=self.constant(value))

    def land(self, *jumps: int) -> None:
        """Let jumps go to the next instruction."""
        for jump in jumps:
            op, a, b, _ = self.instructions[jump]
            self.instructions[jump] = (op, a, b, len(self.instructions))

    def take_locals(self, count: int) -> int:
        """The first of `count` new locals."""
        first = self.locals_count
        self.locals_count += count
        if self.locals_count > LOCALS_MAX:
            raise TooLongError
        return first

    def code(self, text: str) -> Code:
        slots = {b for op, _, b, _ in self.instructions if op in SLOT_OPS}
        return Code(
            instructions=b"".join(struct.pack("<BBHi", *i) for i in self.instructions),
            constants=tuple(self.values),
            text=text,
            slots=tuple(sorted(slots)),
            stack=self.depth_max,
            locals_count=self.locals_count,
        )
