"""The Open Bandit logs, and a small world whose policies' true values are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from nextbest.server.offpolicy import Feedback

pytest.importorskip("sklearn", reason="scikit-learn fits the reward model: nextbest[analysis]")

OBD = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "obd"


@pytest.fixture(scope="session")
def men() -> Callable[[str], Path]:
    """The log of a policy ("random" or "bts"), or the test is skipped."""

    def find(policy: str) -> Path:
        path = OBD / policy / "men" / "men.csv.gz"
        if not path.exists():
            pytest.skip("the public data set ../shared/data/obd is absent")
        return path

    return find


@dataclass(frozen=True)
class World:
    """Three kinds of people, two slots and four actions, with the chances of a reward of 1."""

    chance: np.ndarray  # (kinds x slots x actions)
    logging: np.ndarray  # (kinds x actions)
    evaluation: np.ndarray  # (kinds x actions)
    kinds: np.ndarray

    @property
    def truth(self) -> float:
        """The evaluated policy's mean reward, slots being equally frequent."""
        return float(np.einsum("k,ka,ksa->", self.kinds, self.evaluation, self.chance) / 2)

    def sample(self, rows: int, seed: int) -> Feedback:
        rng = np.random.default_rng(seed)
        kind = rng.choice(3, rows, p=self.kinds)
        slot = rng.integers(2, size=rows)
        drawn = rng.random((rows, 1))
        action = (drawn > np.cumsum(self.logging[kind], axis=1)).sum(axis=1).clip(max=3)
        reward = (rng.random(rows) < self.chance[kind, slot, action]).astype(float)
        return Feedback(
            action=action,
            slot=slot,
            reward=reward,
            propensity_logging=self.logging[kind, action],
            context=np.eye(3)[kind],
            evaluation=self.evaluation,
            evaluation_row=kind,
            actions=("a", "b", "c", "d"),
            slots=("1", "2"),
        )

    def predictions(self, feedback: Feedback) -> np.ndarray:
        """(rows x actions) the true chances."""
        return self.chance[feedback.context.argmax(axis=1), feedback.slot]


@pytest.fixture(scope="session")
def world() -> World:
    rng = np.random.default_rng(7)
    logging = np.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4], [0.25, 0.25, 0.25, 0.25]])
    evaluation = np.array([[0.1, 0.1, 0.2, 0.6], [0.5, 0.3, 0.1, 0.1], [0.0, 0.0, 0.7, 0.3]])
    kinds = np.array([0.5, 0.3, 0.2])
    return World(rng.uniform(0.1, 0.6, (3, 2, 4)), logging, evaluation, kinds)


@pytest.fixture
def small() -> Callable[..., Feedback]:
    """Four rows of two actions in one slot, with some fields replaced."""
    base = Feedback(
        action=np.array([0, 1, 0, 1]),
        slot=np.zeros(4, dtype=np.int64),
        reward=np.array([1.0, 0.0, 0.0, 1.0]),
        propensity_logging=np.full(4, 0.5),
        context=np.empty((4, 0)),
        evaluation=np.array([[0.25, 0.75]]),
        evaluation_row=np.zeros(4, dtype=np.int64),
        actions=("a", "b"),
        slots=("1",),
    )
    return lambda **fields: replace(base, **fields)
