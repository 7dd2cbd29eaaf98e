"""Three hours of a shop's visitors: carts that were left, and a decision for each session."""

import csv
import gzip
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from nextbest.client import Client, anonymous
from nextbest.client.request import decide
from nextbest.server.command.child import Child

FILE = "rees46_ecommerce/2019-Oct_first_events.csv.gz"
NOW = datetime(2019, 10, 1, 2, 50, tzinfo=UTC)
BATCH = 500


def sessions(path: Path) -> dict[str, list[tuple[str, datetime]]]:
    """Each session's whole rows: what happened and when."""
    found: dict[str, list[tuple[str, datetime]]] = defaultdict(list)
    with gzip.open(path, "rt", newline="") as file:
        for row in csv.DictReader(file):
            if row["user_session"]:
                at = datetime.strptime(row["event_time"], "%Y-%m-%d %H:%M:%S UTC")
                found[row["user_session"]].append((row["event_type"], at.replace(tzinfo=UTC)))
    return found


def abandoned(events: list[tuple[str, datetime]]) -> bool:
    kinds = {kind for kind, _ in events}
    carts = [at for kind, at in events if kind == "cart"]
    return bool(carts) and "purchase" not in kinds and NOW - max(carts) >= timedelta(minutes=30)


def wanted_first(events: list[tuple[str, datetime]]) -> set[str]:
    """What may be proposed first: a cart that was left beats all, then a purchase."""
    if abandoned(events):
        return {"finish_order"}
    if any(kind == "purchase" for kind, _ in events):
        return {"thank_you"}
    return {"compare", "similar", "bestsellers"}


def test_each_session_gets_a_decision_and_the_cut_line_is_kept(
    data_file: Callable[[str], Path],
    load_file: Callable[..., Any],
    read_rejects: Callable[[Path], list[dict[str, Any]]],
    here: Path,
    tmp_path: Path,
) -> None:
    path, folder = data_file(FILE), here / "rees46"
    rejects = tmp_path / "rejects.jsonl"
    wanted = sessions(path)
    with Child(folder / "playbook") as child, Client(child.address) as client:
        summary = load_file(path, folder / "mapping.yaml", child.address, rejects)
        assert summary.rows == 17_434
        assert (summary.accepted, summary.refused) == (17_433, 1)
        (reject,) = read_rejects(rejects)
        assert reject["row"] == 17_434
        assert "columns: 8, allowed: 9" in reject["reason"]
        assert reject["raw"].endswith("elenberg,25.71,52040330")

        ids = sorted(wanted)
        answers = {}
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH]
            requests = [
                decide(anonymous(one), ["page"], now=NOW, seed=1, segments=True) for one in batch
            ]
            for one, result in zip(batch, client.decide_batch(requests).results, strict=True):
                answers[one] = result.response
        query = client.query_profiles("segment.abandoned_cart", limit=1_000_000, now=NOW)
        left = {person.identities[0].id for part in query for person in part.profiles}

    assert left == {one for one, events in wanted.items() if abandoned(events)}
    assert left
    for one, answer in answers.items():
        assert ("abandoned_cart" in answer.segments) == (one in left)
        first = answer.placements[0].propositions[0].action
        assert first in wanted_first(wanted[one]), one
