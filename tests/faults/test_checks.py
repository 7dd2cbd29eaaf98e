"""Each check finds what it is for, and nothing in a history without fault."""

from __future__ import annotations

import pytest

from tests.faults import checks
from tests.faults.checks import Standing
from tests.faults.history import OK, REFUSED, UNKNOWN, Decides, Place, Write

PLACE = Place(2, 40, 7)


def written(number: int, outcome: int = OK, ended_s: float = 1.0) -> Write:
    return Write(number, f"w{number}", b"", ended_s - 0.001, ended_s, outcome, place=PLACE)


def present(*numbers: int, **more: int) -> dict[str, int]:
    return {**{f"w{number}": 1 for number in numbers}, **more}


def standing(node: str, place: Place = PLACE, digest: int = 5, ahead: int = 0) -> Standing:
    return Standing(node, place, ahead, 0, (1, digest))


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    writes = [written(0), written(1), written(2, UNKNOWN), written(3, REFUSED)]
    nodes = {"a": present(0, 1, 2), "b": present(0, 1, 2)}
    assert not checks.lost(writes, nodes)
    assert not checks.doubled(nodes)
    assert not checks.invented(writes, nodes)
    assert not checks.apart([standing("a"), standing("b")])
    assert not checks.unequal([standing("a"), standing("b")])


def test_a_loss_on_one_node_is_found() -> None:
    found = checks.lost([written(0), written(1)], {"a": present(0, 1), "b": present(1)})
    assert found == [f"b: w0 is missing (acknowledged at {PLACE} by node -1)"]


def test_what_was_never_acknowledged_may_be_missing() -> None:
    assert not checks.lost([written(0, UNKNOWN), written(1, REFUSED)], {"a": {}})


def test_a_double_is_found_even_of_an_unknown_write() -> None:
    assert checks.doubled({"a": present(0), "b": present(w0=2)}) == ["b: w0 counts 2 times"]


def test_what_nobody_wrote_is_found() -> None:
    assert checks.invented([written(0)], {"a": present(0, 1)}) == ["a: w1 was never written"]


def test_another_digest_at_the_same_place_is_found() -> None:
    nodes = [standing("a"), standing("b", digest=6)]
    assert len(checks.apart(nodes)) == 2
    assert len(checks.unequal(nodes)) == 1


def test_nodes_apart_or_ahead_are_found() -> None:
    assert len(checks.apart([standing("a"), standing("b", Place(2, 41, 9))])) == 2
    assert checks.apart([standing("a", ahead=3), standing("b")]) == ["a: 3 ahead of the log"]


def test_digests_of_other_places_or_with_something_ahead_are_not_compared() -> None:
    assert not checks.unequal([standing("a"), standing("b", Place(2, 41, 9), digest=6)])
    assert not checks.unequal([standing("a", ahead=1), standing("b", digest=6)])


def test_the_same_place_of_another_branch_is_another_place() -> None:
    assert checks.apart([standing("a"), standing("b", PLACE._replace(nonce=8))])


def test_many_findings_are_counted_not_listed() -> None:
    found = checks.lost([written(number) for number in range(100)], {"a": {}})
    assert len(found) == checks.FINDINGS_MAX + 1
    assert found[-1] == "and 80 more"


def test_the_gap_of_decisions_is_the_longest_time_without_a_success() -> None:
    decides = Decides()
    for tick in range(100):
        at = tick / 100
        failing = 40 <= tick < 60
        decides.add(at, at + 0.001, UNKNOWN if failing else OK)
    figures = checks.decide_figures(decides, 0.0, 1.0)
    assert (figures.calls, figures.failed) == (100, 20)
    assert figures.gap_s == pytest.approx(0.21)
    assert figures.p99_s == pytest.approx(0.001)


def test_a_slow_decision_raises_the_percentile() -> None:
    decides = Decides()
    for tick in range(100):
        decides.add(tick / 100, tick / 100 + (0.5 if tick % 20 == 0 else 0.001), OK)
    assert checks.decide_figures(decides, 0.0, 1.0).p99_s == pytest.approx(0.5)


def test_a_hiccup_does_not_move_the_steady_percentile_and_slowness_does() -> None:
    hiccup, slow = Decides(), Decides()
    for tick in range(1_000):
        at = tick / 200
        hiccup.add(at, at + (0.5 if 2.0 < at < 2.2 else 0.001), OK)
        slow.add(at, at + (0.5 if tick % 50 == 0 else 0.001), OK)
    assert checks.steady_p99(hiccup, 0.0, 5.0) == pytest.approx(0.001)
    assert checks.steady_p99(slow, 0.0, 5.0) > 0.1


def test_the_gap_of_writes_ends_with_the_first_acknowledged_one() -> None:
    writes = [written(0, ended_s=1.0), written(1, UNKNOWN, 2.0), written(2, ended_s=4.5)]
    assert checks.write_gap(writes, 0.5, 5.0) == pytest.approx(3.5)


def test_a_gap_without_end_lasts_until_the_span_ends() -> None:
    assert checks.write_gap([written(0, ended_s=1.0)], 0.0, 9.0) == pytest.approx(8.0)
