"""Code: one lowered expression, as plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """Bytecode for the VM.

    `instructions` holds 8 bytes for each instruction: u8 op, u8 a, u16 b, i32 c, little-endian.
    `constants` are the values that instructions name by index.  `text` is the author's text.
    `slots` are the input slots that are read, ascending, each once.  `stack` and `locals_count`
    bound the run-time stack.  Two codes with equal `key()` compute the same.
    """

    instructions: bytes
    constants: tuple[object, ...]
    text: str
    slots: tuple[int, ...] = ()
    stack: int = 0
    locals_count: int = 0

    def key(self) -> tuple[bytes, str]:
        """What makes two codes the same, whatever their text."""
        # Python holds 1, 1.0 and True equal, also within tuples; their texts differ.
        return self.instructions, repr(self.constants)
