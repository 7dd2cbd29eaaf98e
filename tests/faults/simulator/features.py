"""Features: what a world has and how long it lasts, drawn from its seed.

Most worlds are short and lack much: many of them take the time of one that has everything, and find
more in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

# A budget that is soon used up.
SMALL = 6


@dataclass(frozen=True, slots=True)
class Features:
    """The defaults are a world with everything."""

    nodes: int = 3
    # What the budget lets be shown; 0 for no budget.
    budget: int = 60
    # Whether upserts stand for revocations, and leases are short.
    consents: bool = True
    # Whether horizons move under old events.
    ages: bool = False
    clients: int = 4
    # Of each client.
    writes: int = 9
    # How long there are faults, and the longest time from one to the next where there may be many.
    chaos_s: float = 5.0
    apart_s: float = 1.5
    # What faults last, and hosts wait before they act, as a part of what is usual.
    tempo: float = 1.0


EVERYTHING = Features()
# What makes a world a long one, that has no budget.
LONG = {"budget": 0, "clients": 4, "writes": 9, "chaos_s": 5.0, "apart_s": 1.5, "tempo": 1.0}
# How long worlds are, by how many of a hundred.
SIZES = (
    (Features(budget=SMALL, clients=3, writes=6, chaos_s=0.8, apart_s=0.5, tempo=0.35), 80),
    (Features(budget=SMALL, clients=3, writes=9, chaos_s=2.0, apart_s=0.75, tempo=0.5), 15),
    (EVERYTHING, 5),
)


def whole(seed: int) -> Features:
    """A long world with everything; ages are a feature of one in five, long or short."""
    nodes = Random(f"nodes {seed}").choice((2, 3, 3))
    return Features(nodes=nodes, ages=Random(f"scenario {seed}").random() < 0.2)


def drawn(seed: int) -> Features:
    """What a seed draws."""
    random = Random(f"features {seed}")
    sizes, weights = zip(*SIZES, strict=True)
    size = random.choices(sizes, weights)[0]
    return replace(
        size,
        nodes=random.choice((2, 2, 2, 3)),
        budget=size.budget if random.random() < 0.55 else 0,
        # Leases of replaced masters come to light in long worlds only.
        consents=size.tempo == 1.0 or random.random() < 0.35,
        ages=whole(seed).ages,
    )
