"""Objectives: how they are written, and what they say of the calls of a server."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextbest.client import Client
from nextbest.core.engine import CallCount
from nextbest.server import config
from nextbest.server.errors import ConfigError
from nextbest.server.telemetry.buckets import bounds_s
from nextbest.server.telemetry.slo.burn import BAD_LEAST, WINDOWS
from nextbest.server.telemetry.slo.history import DENSE_S, SPARSE_S, History
from nextbest.server.telemetry.slo.objective import Objective, parse, parse_all
from nextbest.server.telemetry.slo.slos import Slos
from nextbest.server.telemetry.slo.state import SloState
from nextbest.server.telemetry.slo.tally import Tally, tally
from tests.server.telemetry.process import COMMAND, Server
from tests.server.telemetry.test_metrics import page

DAY_S = 86_400.0
# Of one method, its threshold between two usual bounds.
DECIDE = parse("Decide 99.9% < 4ms over 30d")
BOUNDS_S = bounds_s([DECIDE.threshold_s])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Decide 99.9% < 5ms over 30d", Objective("Decide", 0.999, 0.005, 30 * DAY_S)),
        ("Track 99% <250us over 7 d", Objective("Track", 0.99, 0.00025, 7 * DAY_S)),
        ("  Check 99.9999%  < 1.5 s over 90d ", Objective("Check", 0.999999, 1.5, 90 * DAY_S)),
    ],
)
def test_an_objective_is_read(text: str, expected: Objective) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Decide", "METHOD PERCENT% < TIME over DAYSd"),
        ("Decide 99.9% < 5 over 30d", "METHOD PERCENT%"),
        ("Decided 99.9% < 5ms over 30d", "'Decided', allowed methods: Decide,"),
        ("Decide 100% < 5ms over 30d", "100%, allowed: 50% to 99.9999%"),
        ("Decide 10% < 5ms over 30d", "10%, allowed: 50% to 99.9999%"),
        ("Decide 99.9% < 1us over 30d", "1us, allowed: 5us to 10s"),
        ("Decide 99.9% < 11s over 30d", "11s, allowed: 5us to 10s"),
        ("Decide 99.9% < 1234.567ms over 30d", "1234.567ms, allowed: at most six digits"),
        ("Decide 99.9% < 5ms over 0d", "0d, allowed: 1d to 90d"),
        ("Decide 99.9% < 5ms over 91d", "91d, allowed: 1d to 90d"),
    ],
)
def test_an_objective_is_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(flags={"slo.objectives": [text]})
    assert f"slo.objectives: {told}" in str(caught.value) or told in str(caught.value)
    assert "slo.objectives" in str(caught.value)


def test_a_method_has_one_objective() -> None:
    with pytest.raises(ValueError, match="Decide twice, allowed: one objective for a method"):
        parse_all(["Decide 99% < 5ms over 30d", "Decide 99.9% < 50ms over 30d"])


def test_objectives_come_from_the_environment() -> None:
    given = {"NEXTBEST_SLO_OBJECTIVES": "Decide 99% < 2.5ms over 7d, Track 98% < 1s over 7d"}
    found = parse_all(config.load(environment=given).slo.objectives)
    assert [one.threshold_s for one in found] == [0.0025, 1.0]


def test_a_threshold_is_a_bound() -> None:
    assert 0.004 in BOUNDS_S
    assert len(BOUNDS_S) == len(bounds_s()) + 1
    # One that is there already is not there twice.
    assert bounds_s([0.005]) == bounds_s()


def counted(method: str, code: int, times_s: list[float], each: int = 1) -> CallCount:
    """Calls of those durations, `each` of them, as the engine counts them."""
    buckets = [0] * (len(BOUNDS_S) + 1)
    for time_s in times_s:
        buckets[sum(bound < time_s for bound in BOUNDS_S)] += each
    return CallCount(method, code, buckets, sum(times_s) * each, "fast")


def test_what_is_good() -> None:
    counts = [
        # Exactly the threshold is within it.
        counted("Decide", 0, [0.000_1, 0.004, 0.004_001]),
        # A caller's mistake is judged by its time, a failure of the server's is bad.
        counted("Decide", 3, [0.000_1, 1.0]),
        counted("Decide", 8, [0.000_1]),
        counted("Decide", 14, [0.000_1]),
        counted("Track", 0, [0.000_1]),
    ]
    assert tally(DECIDE, counts, BOUNDS_S) == Tally(good=3, calls=7)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.5, 40_000), st.integers(0, 50), st.integers(0, 50)), min_size=1)
)
def test_windows_are_those_of_all_tallies_ever(steps: list[tuple[float, int, int]]) -> None:
    now_s, total = 0.0, Tally(0, 0)
    history = History(now_s, total, 30 * DAY_S)
    every = [(now_s, total)]
    for pause_s, good, bad in steps:
        now_s, total = now_s + pause_s, Tally(total.good + good, total.calls + good + bad)
        history.add(now_s, total)
        every.append((now_s, total))
        for length_s in (*WINDOWS.values(), 30 * DAY_S):
            step_s = DENSE_S[0] if length_s <= DENSE_S[1] else SPARSE_S
            found = history.window(now_s, total, length_s)
            # A tally is kept when the one kept before is a step old: the window begins less than
            # a step before the last tally that is not in it.
            last_s, last = [one for one in every if one[0] <= max(now_s - length_s, 0.0)][-1]
            before = [t for at_s, t in every if at_s <= last_s - step_s] or [Tally(0, 0)]
            assert total.since(last).calls <= found.tally.calls
            assert found.tally.calls <= total.since(before[-1]).calls
            assert found.covered_s == pytest.approx(min(length_s, now_s))


def test_a_history_is_bounded() -> None:
    history = History(0.0, Tally(0, 0), 2 * DAY_S)
    for second in range(0, 12 * 24 * 3_600, 10):
        history.add(second, Tally(second, second))
    assert len(history._dense._kept) <= 2_162
    assert len(history._sparse._kept) <= 290


class Made:
    """Calls as a test makes them, and a clock that it sets."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.good = self.bad = 0
        self.slos = Slos([DECIDE], self.calls, BOUNDS_S, lambda: self.now_s)

    def calls(self) -> list[CallCount]:
        made = [(0, self.good), (14, self.bad)]
        return [counted("Decide", code, [0.001], number) for code, number in made]

    def run(self, seconds: float, good: int, bad: int) -> SloState:
        """So many calls each 10 s."""
        for _ in range(int(seconds / 10)):
            self.now_s += 10
            self.good += good
            self.bad += bad
            (state,) = self.slos.look()
        return state


def test_no_calls_burn_nothing() -> None:
    (state,) = Made().slos.look()
    assert (state.compliance, state.budget_remaining) == (1.0, 1.0)
    assert set(state.burn_rates.values()) == {0.0}
    assert not state.burning("page")
    assert not state.burning("ticket")


def test_burn_rates_and_alerts_follow_the_calls() -> None:
    made = Made()
    state = made.run(7 * 3_600, good=1_000, bad=0)
    assert state.budget_remaining == 1.0
    # 2 % of calls are bad: 20 times what 99.9 % allows.  5 min are over it long before 1 h is.
    state = made.run(300, good=980, bad=20)
    assert state.burn_rates["5m"] == pytest.approx(20.0, rel=0.05)
    assert state.burn_rates["1h"] == pytest.approx(20.0 / 12, rel=0.05)
    assert not state.burning("page")
    state = made.run(3_000, good=980, bad=20)
    assert state.burn_rates["1h"] > 14.4
    assert made.slos.burning() == {"Decide"}
    # It is over: the short window says so first.
    state = made.run(400, good=1_000, bad=0)
    assert state.burn_rates["5m"] == 0.0
    assert state.burn_rates["1h"] > 14.4
    assert state.burning("ticket")
    assert made.slos.burning() == frozenset()
    assert made.slos.burning("ticket") == {"Decide"}
    assert state.budget_remaining == pytest.approx(1 - made.bad / (made.good + made.bad) / 0.001)


def test_a_few_bad_calls_wake_nobody() -> None:
    made = Made()
    # Every call is bad, far over any rate.
    state = made.run((BAD_LEAST - 1) * 10, good=0, bad=1)
    assert state.burn_rates["5m"] > 100
    assert made.slos.burning() == frozenset()
    made.run(10, good=0, bad=1)
    assert made.slos.burning() == {"Decide"}


def test_what_is_not_covered_is_said() -> None:
    state = Made().run(60, good=1, bad=1)
    assert state.windows["5m"].covered_s == 60
    assert state.windows["3d"].covered_s == 60
    assert state.window.covered_s == 60
    assert state.budget_remaining == pytest.approx(1 - 0.5 / 0.001)


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose decisions are all slower than they should be, and whose tracks are not."""
    objectives = "Decide 99.9% < 5us over 30d,Track 50% < 10s over 7d"
    with (
        Server(tmp_path_factory.mktemp("slo"), "--set", f"slo.objectives={objectives}") as server,
        Client(server.address) as client,
    ):
        for number in range(20):
            client.decide(f"p{number}", ["home"])
            client.track("p1", "login")
        yield server


def test_a_client_is_told(failing: Server) -> None:
    with Client(failing.address) as client:
        decide, track = client.slo().slos
    assert decide.method == "nextbest.v1.DecisionService/Decide"
    assert (decide.calls, decide.threshold_s, decide.window_s) == (20, 5e-6, 30 * DAY_S)
    assert decide.good_calls < 20
    assert decide.burning == ["page", "ticket"]
    assert [rate.window for rate in decide.burn_rates] == list(WINDOWS)
    assert (track.calls, track.good_calls, track.compliance) == (20, 20, 1.0)
    assert track.budget_remaining == 1.0
    assert not track.burning


def slo_command(address: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`nextbest slo` on a terminal that is wide enough."""
    command = [*COMMAND, "slo", "--to", address, *arguments]
    wide = {**os.environ, "COLUMNS": "120"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=wide)


def test_the_command_shows_it_and_says_what_burns(failing: Server) -> None:
    shown = slo_command(failing.address)
    assert shown.returncode == 1, shown.stderr
    assert "99.9 % < 5 us over 30 d" in shown.stdout
    assert "page, ticket" in shown.stdout
    assert "as far as this process has run" in shown.stdout
    given = slo_command(failing.address, "--json")
    assert [one["method"][-6:] for one in json.loads(given.stdout)["slos"]] == ["Decide", "/Track"]


def test_the_pages_tell_it(failing: Server) -> None:
    _, _, body = page(f"{failing.http}/metrics")
    method = 'rpc_method="nextbest.v1.DecisionService/Decide"'
    assert f"nextbest_slo_calls_total{{{method}}} 20.0" in body
    assert f"nextbest_slo_threshold_seconds{{{method}}} 5e-06" in body
    assert f'nextbest_slo_burning{{{method},severity="page"}} 1.0' in body
    status, _, ready = page(f"{failing.http}/readyz?verbose")
    # Others are as slow: sending calls elsewhere would not help.
    assert status == 200
    assert "slo Decide: " in ready
    assert "burns: page, ticket" in ready


def test_each_of_several_nodes_is_shown(failing: Server, tmp_path: Path) -> None:
    with Server(tmp_path, "--set", "slo.objectives=") as server:
        shown = slo_command(server.address)
        both = [
            slo_command(f"{one.address},{other.address}") for one, other in orders(failing, server)
        ]
        plain = slo_command(f"{server.address},{failing.address}", "--json")
    assert (shown.returncode, shown.stdout) == (0, "no objectives: set slo.objectives\n")
    for answer in both:
        assert answer.returncode == 1, "a page of either"
        assert f"{failing.address}:\nobjectives" in answer.stdout
        assert f"{server.address}:\nno objectives" in answer.stdout
    assert [*json.loads(plain.stdout)] == [server.address, failing.address]


def orders(one: Server, other: Server) -> list[tuple[Server, Server]]:
    """Of two, both."""
    return [(one, other), (other, one)]
