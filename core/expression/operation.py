"""The VM's operations.  The numbers are those of the enum in vm.pyx."""

from __future__ import annotations

from enum import IntEnum


class Op(IntEnum):
    """One operation; `b` and `c` are the instruction's fields, `top` the value on the stack."""

    RETURN = 0
    CONST = 1  # push constant c
    LOAD = 2  # push input b; a = 1: an error when it is null
    HAS = 3  # push whether input b is set; a = 1: negated
    LOCAL = 4  # push local c
    STORE = 5  # pop into local c
    JUMP = 6  # to c
    AND_JUMP = 7  # to c, when top is false
    OR_JUMP = 8  # to c, when top is true
    AND = 9
    OR = 10
    CONDITION = 11  # when top is no bool: make it an error and jump to c
    JUMP_FALSE = 12  # pop; to c, when it is false
    COMPARE_SLOT = 13  # push input b OP constant c; a: the operation, + 0x80: as LOAD a = 1
    IN_SLOT = 14  # push whether input b is in constant c; a = 1: negated
    ITERATE = 15  # pop a range into locals b, b + 1; no range: push an error, jump to c
    NEXT = 16  # set the a variables from local b + 2 on, or jump to c at the end
    APPEND = 17  # pop; push local c with it appended
    ERROR = 18  # push error a
    NOT = 19
    NEGATE = 20
    NOT_FALSE = 21  # an error or anything but false is true
    ADD = 22
    SUBTRACT = 23
    MULTIPLY = 24
    DIVIDE = 25
    MODULO = 26
    EQUAL = 27
    NOT_EQUAL = 28
    LESS = 29
    LESS_EQUAL = 30
    GREATER = 31
    GREATER_EQUAL = 32
    IN = 33
    INDEX = 34
    SELECT = 35  # top.constant c
    HAS_KEY = 36  # has(top.constant c)
    LIST = 37  # pop c items
    MAP = 38  # pop c keys and values
    SIZE = 39
    CONTAINS = 40
    STARTS_WITH = 41
    ENDS_WITH = 42
    MATCHES = 43  # pops the pattern
    MATCHES_CONST = 44  # the pattern is constant c
    CONVERT = 45  # to the tag a
    TYPE = 46
    TIME_PART = 47  # part a in zone constant c; c = -1: UTC
    MAP_INSERT = 48  # pop value, key, map


class Part(IntEnum):
    """What TIME_PART reads of a timestamp or a duration."""

    FULL_YEAR = 0
    MONTH = 1
    DATE = 2
    DAY_OF_MONTH = 3
    DAY_OF_WEEK = 4
    DAY_OF_YEAR = 5
    HOURS = 6
    MINUTES = 7
    SECONDS = 8
    MILLISECONDS = 9


class Tag(IntEnum):
    """The tags of value.pyx that CONVERT names."""

    BOOL = 2
    INT = 3
    UINT = 4
    DOUBLE = 5
    STRING = 6
    BYTES = 7
    TIMESTAMP = 8
    DURATION = 9
