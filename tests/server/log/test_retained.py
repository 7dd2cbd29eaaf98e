"""Retained entries: enough to bring a lost tail back, and no more than the bound."""

from nextbest.server.log.log import BEFORE, Position
from nextbest.server.log.retained import ENTRY_BYTES, Retained

DATA = bytes(100)


def kept(count: int, bytes_max: int = 10_000) -> Retained:
    retained = Retained(BEFORE, retain_ms=10_000, bytes_max=bytes_max)
    for number in range(count):
        retained.add(Position(1, number, number + 1), DATA, float(number))
    return retained


def test_old_entries_go_once_they_are_committed() -> None:
    retained = kept(20)
    retained.cut(Position(1, 3, 4), now_s=25.0)
    # Those of before 15 s are old, but only four are known to be committed.
    assert retained.base == (1, 3, 4)
    assert len(retained) == 16
    retained.cut(Position(1, 19, 20), now_s=25.0)
    assert retained.base == (1, 14, 15)


def test_the_bound_cuts_committed_entries_and_twice_the_bound_all() -> None:
    retained = kept(30, bytes_max=10 * (len(DATA) + ENTRY_BYTES))
    retained.cut(Position(1, 5, 6), now_s=0.0)
    assert len(retained) == 20
    assert retained.uncommitted == 4
    retained.cut(Position(1, 29, 30), now_s=0.0)
    assert len(retained) == 10
    assert retained.uncommitted == 4


def test_what_lies_behind_a_position_is_taken() -> None:
    retained = kept(10)
    assert retained.has(Position(1, 4, 5))
    assert not retained.has(Position(1, 4, 99))
    assert retained.index((1, 4)) == 4
    lost = retained.take_after(Position(1, 4, 5))
    assert [entry.position.sequence for entry in lost] == [5, 6, 7, 8, 9]
    assert len(retained) == 5
    assert not retained.has(Position(1, 5, 6))
    assert retained.has(BEFORE)
