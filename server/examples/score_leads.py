"""Loads the public lead data set, scores every lead over gRPC, and prints the AUC.

    python -m nextbest.server.examples.score_leads [FILE]

The server it starts has the `leads` playbook, whose points come of the training split alone.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from nextbest.client import Client
from nextbest.client.request import decide
from nextbest.server.command.child import Child
from nextbest.server.examples import LEADS, MAPPINGS
from nextbest.server.examples.data_sets import LEADS as PUBLIC
from nextbest.server.examples.lead_data import DEFAULT_FILE, auc, in_training, read_leads
from nextbest.server.load import Summary, load, read_mapping

BATCH = 500


def score_leads(file: Path) -> dict[str, Any]:
    """Load, score and compare; the figures by name."""
    leads = read_leads(file)
    with Child(LEADS) as child, Client(child.address) as client:
        summary = _load(file, child.address)
        points = _score(client, [lead.id for lead in leads])
    figures: dict[str, Any] = {
        "rows": summary.rows,
        "accepted": summary.accepted,
        "refused": summary.refused,
        "scored": len(points),
    }
    for train, name in ((True, "training"), (False, "unseen")):
        own = [lead for lead in leads if in_training(lead.id) == train]
        area = auc([lead.converted for lead in own], [points[lead.id] for lead in own])
        figures[f"{name}_leads"], figures[f"{name}_auc"] = len(own), round(area, 4)
    return figures


def _load(file: Path, address: str) -> Summary:
    mapping = read_mapping(MAPPINGS / "leads.yaml")
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(load(file, mapping, address, rejects=Path(folder, "rejects")))


def _score(client: Client, ids: list[str]) -> dict[str, float]:
    """Fit and engagement added up, for each lead that the server knows."""
    points: dict[str, float] = {}
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH]
        requests = [decide(one, scores=["fit", "engagement"]) for one in batch]
        answer = client.decide_batch(requests)
        for one, result in zip(batch, answer.results, strict=True):
            if result.HasField("error") or not result.response.profile_known:
                raise ValueError(f"{one}: {result.error.message or 'not stored'}")
            points[one] = float(sum(score.points for score in result.response.scores))
    return points


def main(
    file: Annotated[Path, typer.Argument(help="The lead data set.")] = DEFAULT_FILE,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Load and score the leads, and print the AUC of the unseen ones."""
    try:
        figures = score_leads(PUBLIC.require(file))
    except FileNotFoundError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(json.dumps(figures))
        return
    typer.echo(f"loaded  {figures['accepted']:,} of {figures['rows']:,} rows")
    typer.echo(f"scored  {figures['scored']:,} leads over gRPC")
    for name in ("training", "unseen"):
        typer.echo(
            f"{name:8}  {figures[f'{name}_leads']:,} leads, AUC {figures[f'{name}_auc']:.4f}"
        )


if __name__ == "__main__":
    typer.run(main)
