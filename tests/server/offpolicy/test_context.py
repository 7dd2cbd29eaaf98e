"""The reward model's table: bounded, whatever decisions have read."""

from __future__ import annotations

import tracemalloc

import numpy as np

from nextbest.server.offpolicy.context import COLUMNS_MAX, TEXTS_MAX, Context
from nextbest.server.record.features import UNSET, Feature


def test_numbers_stand_before_the_commonest_texts() -> None:
    context = Context()
    for row in range(1_000):
        city = f"city {row // 100}" if row < 900 else f"village {row}"
        context.add(
            {
                "profile.age": Feature(float(row % 50)) if row % 2 else UNSET,
                "profile.same": Feature(3.0),
                "profile.kind": Feature(None, "person"),
                "profile.city": Feature(None, city),
            }
        )
    table, left_out = context.table()
    # A number, 9 cities and 100 villages.
    assert (table.shape, left_out) == ((1_000, 110), 0)
    assert np.isclose(table[0, 0], np.mean([row % 50 for row in range(1_000) if row % 2]))
    assert [table[:, at].sum() for at in range(1, 10)] == [100.0] * 9


def test_an_id_of_its_own_in_each_row_is_bounded_and_told() -> None:
    context = Context()
    rows = 2 * TEXTS_MAX
    for row in range(rows):
        context.add({f"profile.id{n}": Feature(None, f"{n}-{row}") for n in range(5)})
    tracemalloc.start()
    table, left_out = context.table()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert table.shape == (rows, COLUMNS_MAX)
    assert left_out == 5 * TEXTS_MAX - COLUMNS_MAX + 5
    assert most < 2 * table.nbytes


def test_with_nothing_known_it_has_no_columns() -> None:
    context = Context()
    for _ in range(3):
        context.add({})
    table, left_out = context.table()
    assert (table.shape, left_out) == ((3, 0), 0)
