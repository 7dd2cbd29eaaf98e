"""The model of apply: it reads as the engine does, and each planted bug in it is found."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from nextbest.v1 import profile_pb2
from tests.core.apply_model import BUGS, Model, Reading, python_of
from tests.core.histories import NAMES, PLANS, History, Step, both_orders, histories, orders
from tests.core.test_converge import Node, read

EXAMPLES_MAX = 1_000
Pair = tuple[list[Step], list[Step]]


def profile_reading(data: bytes) -> tuple[Reading, set[str]]:
    """A profile as the model reads one, and the counters that are estimates."""
    profile = profile_pb2.Profile.FromString(data)
    found: Reading = {name: python_of(value) for name, value in profile.attributes.items()}
    for name, counter in profile.counters.items():
        found[name] = python_of(counter.value) or [python_of(value) for value in counter.values]
    estimates = {name for name, counter in profile.counters.items() if counter.approximate}
    return {name: value for name, value in found.items() if value not in (None, 0, [])}, estimates


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(history=histories(ties=False), data=st.data())
def test_the_model_reads_as_the_engine_does(history: History, data: st.DataObject) -> None:
    steps = data.draw(orders(history))
    node, expected = Node().walk(steps), Model().walk(steps).state()
    for number in range(len(PLANS)):
        node.activate(number)
        for name in NAMES:
            wanted = expected.pop(0)
            seen, estimates = profile_reading(read(node.engine, name))
            for estimate in estimates:
                assert wanted.pop(estimate) > 3  # type: ignore[operator]
                del seen[estimate]
            assert seen == wanted


def differ(pair: Pair, bug: str) -> bool:
    one, other = (Model(bug).walk(steps).state() for steps in pair)
    return one != other


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pair=both_orders(histories(ties=False)))
def test_the_model_does_not_mind_the_order(pair: Pair) -> None:
    assert not differ(pair, "")


@pytest.mark.parametrize("bug", BUGS)
def test_the_property_finds_the_planted_bug(bug: str) -> None:
    """Raises NoSuchExample when it does not within so many examples."""
    bounds = settings(
        max_examples=EXAMPLES_MAX,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    made = both_orders(histories(ties=False, sizes=(5, 20)))
    pair = find(made, lambda pair: differ(pair, bug), settings=bounds, random=Random(1))
    assert not differ(pair, "")
