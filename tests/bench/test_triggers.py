"""The benchmark of triggers checks what it measures."""

from bench.micro.triggers import FEW, MANY, conditions, figures_of


def test_both_sizes_have_the_crossings_that_they_are_said_to_have() -> None:
    """It ends by itself where somebody is in a segment that was not told, or one was cut."""
    found = figures_of(1, 400)
    for name, few, many in (("still", 0, 0), ("same", FEW, FEW), ("near", FEW, FEW)):
        told = [found[f"triggers_{name}_crossings_{size}"] for size in (FEW, MANY)]
        assert told == [few * 40 / 400, many * 40 / 400]
    assert found["triggers_all_crossings_1000"] == 100 * found["triggers_all_crossings_10"]


def test_all_segments_are_distinct_and_the_first_are_the_same() -> None:
    for name in ("still", "same", "near"):
        few, many = (list(conditions(name, size, 4_000)) for size in (FEW, MANY))
        assert len(set(many)) == MANY
        assert many[:FEW] == few
