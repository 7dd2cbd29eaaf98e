"""Nodes, Redis, Sentinels and the network, simulated: seeds hold, replay, and find mistakes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.simulator.controls import CONTROLS, find
from tests.faults.simulator.run import MODES, run
from tests.faults.simulator.world import World

ROOT = Path(__file__).resolve().parents[2]
SEEDS = int(os.environ.get("NEXTBEST_SIM_SEEDS", "120"))
# Each mistake is found well within so many seeds.
CONTROL_SEEDS_MAX = 200


@pytest.mark.timeout(max(300, SEEDS))
def test_every_invariant_holds() -> None:
    for seed in range(SEEDS):
        outcome = run(seed)
        assert not outcome.fault, f"seed {seed} ({outcome.mode}): {outcome.fault}"
        assert outcome.counts["acknowledged"] > 20


# Seeds that once broke an invariant, or the simulator.
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
    outcome = run(seed, mode=mode)
    assert not outcome.fault, outcome.fault


@pytest.mark.parametrize("mode", sorted(set(MODES)))
def test_a_seed_replays_exactly(mode: str) -> None:
    first, second = run(7, mode=mode, trace=True), run(7, mode=mode, trace=True)
    assert first.trace == second.trace
    assert first.digest == second.digest
    assert run(7, mode=mode).digest == first.digest
    assert run(8, mode=mode).digest != first.digest


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


@pytest.mark.parametrize("name", CONTROLS)
def test_a_known_mistake_is_found(name: str) -> None:
    control = CONTROLS[name]
    found = find(control, CONTROL_SEEDS_MAX)
    assert found is not None
    # It is the mistake that was found, and not the scenario.
    plain = type("Plain", (World,), {"faults": control.world.faults})
    assert not run(found.seed, world_type=plain, mode=control.mode).fault
