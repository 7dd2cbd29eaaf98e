"""Nodes, Redis, Sentinels and the network, simulated: seeds hold, replay, and find mistakes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.simulator import kept
from tests.faults.simulator.__main__ import Sweep, arguments
from tests.faults.simulator.controls import CONTROLS, find
from tests.faults.simulator.features import Features, drawn, whole
from tests.faults.simulator.redis import Server
from tests.faults.simulator.run import MODES, Job, Outcome, run, run_job
from tests.faults.simulator.tally import Tally
from tests.faults.simulator.world import World

ROOT = Path(__file__).resolve().parents[2]
SEEDS = int(os.environ.get("NEXTBEST_SIM_SEEDS", "120"))
# Each mistake is found well within so many seeds.
CONTROL_SEEDS_MAX = 200


# Of so many seeds one is run in a world with everything, too: what takes a budget, a consent and a
# snapshot together is rare in the others.
WHOLE_EACH = 40


@pytest.mark.timeout(max(300, SEEDS))
def test_every_invariant_holds() -> None:
    tally = Tally()
    for seed in range(SEEDS):
        tally.add(held(run(seed)))
    happened = sum(tally.counts.values(), Counter())
    assert happened["acknowledged"] > 10 * SEEDS
    # Nothing that the invariants are about stays away, however short worlds are.
    assert {"proposed", "shown", "revocations", "snapshots", "horizons", "divergences"} <= {
        name for name, count in happened.items() if count > 0
    }


@pytest.mark.timeout(max(300, SEEDS))
def test_every_invariant_holds_in_worlds_with_everything() -> None:
    for seed in range(max(SEEDS // WHOLE_EACH, 1)):
        held(run(seed, features=whole(seed)))


def held(outcome: Outcome) -> Outcome:
    """It held, and something came of it."""
    assert not outcome.fault, f"seed {outcome.seed} ({outcome.mode}): {outcome.fault}"
    assert outcome.counts["acknowledged"] > 0
    return outcome


# Seeds that once broke an invariant, or the simulator: all were worlds with everything.
BROKEN_ONCE = (
    ("many", 19),
    ("many", 41),
    ("many", 78),
    ("many", 80),
    ("many", 342),
    ("many", 7676),
    ("many", 23171),
    ("many", 30120),
    ("many", 37010),
    ("many", 42931),
    ("many", 60626),
    ("many", 62402),
    ("many", 71247),
    ("many", 80687),
    ("many", 92451),
    ("single", 65),
    ("single", 29961),
    ("unsafe", 20),
    ("unsafe", 48),
    ("unsafe", 80),
    ("unsafe", 142),
    ("unsafe", 315),
    ("unsafe", 1864),
    ("unsafe", 12544),
    ("unsafe", 24010),
    ("unsafe", 46861),
    ("unsafe", 54643),
    ("unsafe", 88819),
)


@pytest.mark.parametrize(("mode", "seed"), BROKEN_ONCE)
def test_what_broke_once_holds(mode: str, seed: int) -> None:
    outcome = run(seed, mode=mode, features=whole(seed))
    assert not outcome.fault, outcome.fault


def test_a_snapshot_behind_an_own_last_word_says_what_waits() -> None:
    """Who starts from it leads, and returned nothing of it for ever."""
    outcome = run(198351, mode="many")
    assert not outcome.fault, outcome.fault


class Strict(World):
    """Excuses nothing that a failover has taken."""

    def _promoted(self, _server: Server) -> None:
        return


@pytest.mark.parametrize("seed", [31270, 180195])
def test_a_log_that_is_lost_in_a_failover_is_the_operators_to_begin_anew(seed: int) -> None:
    """One that has nothing is promoted: the others are down, or have no higher offset."""
    outcome = run(seed, mode="many", trace=True)
    assert not outcome.fault, outcome.fault
    assert outcome.counts["excused"]
    assert any("reseeded at" in line for line in outcome.trace)
    assert "needed another" in run(seed, mode="many", world_type=Strict).fault


def test_who_dies_while_a_failover_is_not_known_yet_is_a_second_fault() -> None:
    """A node that is killed 10 ms after its master's successor has taken the other replica."""
    outcome = run(144734, mode="many")
    assert not outcome.fault, outcome.fault
    assert outcome.counts["deaths between"] == 1
    assert "is lost" in run(144734, mode="many", world_type=Strict).fault


@pytest.mark.parametrize("features", [drawn(7), whole(7)], ids=["drawn", "whole"])
@pytest.mark.parametrize("mode", sorted(set(MODES)))
def test_a_seed_replays_exactly(mode: str, features: Features) -> None:
    first = run(7, mode=mode, features=features, trace=True)
    second = run(7, mode=mode, features=features, trace=True)
    assert first.trace == second.trace
    assert first.digest == second.digest
    assert run(7, mode=mode, features=features).digest == first.digest
    assert run(8, mode=mode, features=features).digest != first.digest


def test_worlds_lack_what_others_have() -> None:
    worlds = [drawn(seed) for seed in range(400)]
    whats = {(one.nodes, one.budget > 0, one.consents, one.ages) for one in worlds}
    assert len(whats) == 2**4
    lengths = [one.chaos_s for one in worlds]
    assert lengths.count(min(lengths)) > len(worlds) / 2
    assert lengths.count(max(lengths)) > 5


def test_a_seed_replays_exactly_in_another_process() -> None:
    command = [sys.executable, "-m", "tests.faults.simulator", "--replay", "11", "--trace"]
    texts = {
        subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1


def test_a_sweep_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[int] = []

    def counted(work: Iterable[Job]) -> Iterator[Outcome]:
        for job in work:
            ran.append(job[0])
            yield run_job(job)

    def swept(*seeds: str) -> Sweep:
        made = Sweep(arguments(["--keep", str(tmp_path), "--seeds", *seeds]), counted)
        made.run()
        return made

    first = swept("0:3")
    assert ran == [0, 1, 2]
    assert swept("0:3").tally.message() == first.tally.message()
    assert ran == [0, 1, 2]
    assert swept("3:4").tally.seeds == 1
    assert ran == [0, 1, 2, 3]
    # Of other code nothing is known.
    monkeypatch.setattr(kept, "code", lambda: "other")
    assert swept("0:3").tally.seeds == 3
    assert ran == [0, 1, 2, 3, 0, 1, 2]


@pytest.mark.parametrize("name", CONTROLS)
def test_a_known_mistake_is_found(name: str) -> None:
    control = CONTROLS[name]
    found = find(control, CONTROL_SEEDS_MAX)
    assert found is not None
    # It is the mistake that was found, and not the scenario.
    kept = {"faults": control.world.faults, "needs": control.world.needs}
    plain = type("Plain", (World,), kept)
    assert not run(found.seed, world_type=plain, mode=control.mode).fault


def test_what_broke_is_not_kept(tmp_path: Path) -> None:
    ran: list[int] = []

    def broken(work: Iterable[Job]) -> Iterator[Outcome]:
        for job in work:
            ran.append(job[0])
            yield replace(run_job(job), fault="a mistake")

    for _ in range(2):
        Sweep(arguments(["--keep", str(tmp_path), "--seeds", "0:1"]), broken).run()
    assert ran == [0, 0]
