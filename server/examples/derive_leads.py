"""Derives the points of the `leads` playbook from the training split alone.

    python -m nextbest.server.examples.derive_leads [FILE] [--check]

A ridge logistic regression over one level for each answer or range; a level's points are its
weight above the attribute's lowest level, scaled and rounded.  `--check` writes nothing and
fails when `leads/scores.yaml` isn't what the file gives.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from nextbest.server.examples import LEADS
from nextbest.server.examples.data_sets import LEADS as PUBLIC
from nextbest.server.examples.lead_data import DEFAULT_FILE, FLAGS, TEXTS, Lead, auc, read_leads

Floats = NDArray[np.float64]

RARE = 40  # answers given less often in the training split share one level
RIDGE = 2.0
STEPS_MAX = 50
POINTS_MAX = 100  # of the scorecard that reaches higher
ENGAGEMENT = ("visits", "time_on_site", "pages_per_visit", "interview_copy", "do_not_email")
REASONS = {
    ("do_not_email", False): "may_be_mailed",
    ("interview_copy", False): "did_not_ask_for_guide",
    ("interview_copy", True): "asked_for_guide",
}
EDGES = {
    "visits": (1.0, 2.0, 3.0, 5.0, 8.0),
    "time_on_site": (1.0, 60.0, 180.0, 300.0, 480.0, 700.0, 900.0, 1100.0, 1300.0, 1600.0),
    "pages_per_visit": (1.0, 2.0, 2.5, 4.0, 6.0),
}


@dataclass(frozen=True, slots=True)
class Level:
    """One answer or range of an attribute: a condition, its reason code, who is in it."""

    attribute: str
    condition: str
    reason: str
    members: Floats  # 1.0 for a lead that is in it


def levels(leads: list[Lead]) -> list[Level]:
    """Every level of every attribute; each lead is in exactly one of each attribute's."""
    found: list[Level] = []
    for name in TEXTS:
        found += _text_levels(name, leads)
    for name in FLAGS:
        for value in (False, True):
            condition = f"profile.{name}" if value else f"!profile.{name}"
            reason = REASONS.get((name, value), name)
            found.append(_level(name, condition, reason, leads, [value]))
    for name, edges in EDGES.items():
        found += _number_levels(name, edges, leads)
    return [level for level in found if level.members.any()]


def _level(name: str, condition: str, reason: str, leads: list[Lead], of: list[object]) -> Level:
    members = np.array([float(lead.attributes[name] in of) for lead in leads])
    return Level(name, condition, reason, members)


def _text_levels(name: str, leads: list[Lead]) -> list[Level]:
    answers = [lead.attributes[name] for lead in leads if lead.train]
    known = sorted({str(answer) for answer in answers if answer is not None})
    common = [answer for answer in known if answers.count(answer) >= RARE]
    found = [_level(name, f"!has(profile.{name})", f"{name}_unknown", leads, [None])]
    for answer in common:
        reason = f"{name}_{_code(answer)}"
        found.append(
            _level(name, f"profile.{name} == {json.dumps(answer)}", reason, leads, [answer])
        )
    rest = sorted({str(lead.attributes[name]) for lead in leads} - set(common) - {"None"})
    condition = f"has(profile.{name}) && !(profile.{name} in {json.dumps(common)})"
    found.append(_level(name, condition, f"{name}_other", leads, list(rest)))
    return found


def _code(answer: str) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in answer.lower())
    return "_".join(words.split())


def _number_levels(name: str, edges: tuple[float, ...], leads: list[Lead]) -> list[Level]:
    values = np.array(
        [np.nan if (value := lead.attributes[name]) is None else float(value) for lead in leads]
    )
    unknown = np.isnan(values).astype(np.float64)
    found = [Level(name, f"!has(profile.{name})", f"{name}_unknown", unknown)]
    bounds = [-np.inf, *edges, np.inf]
    for low, high in itertools.pairwise(bounds):
        parts = [f"profile.{name} >= {_literal(name, low)}"] if np.isfinite(low) else []
        parts += [f"profile.{name} < {_literal(name, high)}"] if np.isfinite(high) else []
        limits = f"from_{_literal(name, low)}" if np.isfinite(low) else "lowest"
        members = ((values >= low) & (values < high)).astype(np.float64)
        found.append(Level(name, " && ".join(parts), f"{name}_{limits}".replace(".", "_"), members))
    return found


def _literal(name: str, edge: float) -> str:
    """An edge as a literal of the attribute's type."""
    return f"{edge:.1f}" if name == "pages_per_visit" else f"{edge:.0f}"


def fit(matrix: Floats, converted: Floats) -> Floats:
    """Weights of a ridge logistic regression by Newton's method; the last one is the constant."""
    matrix = np.hstack([matrix, np.ones((len(matrix), 1))])
    penalty = np.full(matrix.shape[1], RIDGE)
    penalty[-1] = 1e-6
    weights = np.zeros(matrix.shape[1])
    for _ in range(STEPS_MAX):
        chance = 1.0 / (1.0 + np.exp(-matrix @ weights))
        slope = matrix.T @ (converted - chance) - penalty * weights
        curve = (matrix * (chance * (1.0 - chance))[:, None]).T @ matrix + np.diag(penalty)
        step = np.linalg.solve(curve, slope)
        weights += step
        if np.abs(step).max() < 1e-9:
            break
    return weights


def points(found: list[Level], leads: list[Lead]) -> list[int]:
    """Whole points for each level, 0 for the lowest of its attribute."""
    train = np.array([lead.train for lead in leads])
    matrix = np.array([level.members for level in found]).T
    converted = np.array([float(lead.converted) for lead in leads])
    weights = fit(matrix[train], converted[train])[:-1]
    above = np.empty_like(weights)
    reach = {True: 0.0, False: 0.0}
    for name in dict.fromkeys(level.attribute for level in found):
        own = [index for index, level in enumerate(found) if level.attribute == name]
        above[own] = weights[own] - weights[own].min()
        reach[name in ENGAGEMENT] += float(above[own].max())
    return [int(value) for value in np.rint(above * POINTS_MAX / max(reach.values()))]


HEADER = """\
# Written by `python -m nextbest.server.examples.derive_leads`: change that, not this.
# Points come from the 70% training split of a public lead data set; 100 is the most a card gives.
# A lead's rank for the sales team is fit + engagement.
scores:
"""
# What a lead does after the form: set by hand, since the data set has no events.
LIVE_RULES = """\
      - {on: page_view, when: event.path == "/pricing", points: 4, max: 12, window: 30d, \
reason: read_pricing}
      - {on: webinar_joined, points: 8, max: 16, window: 30d, reason: joined_webinar}
      - {on: email_click, points: 3, max: 9, window: 30d, reason: clicked_email}
"""
STAGES = """\
stages:
  names: [subscriber, lead, mql, sql, opportunity, customer, disqualified]
  transitions:
    - {from: subscriber, to: lead, when: has(profile.origin)}
    - {from: lead, to: mql, when: segment.promising}
    - {from: mql, to: sql, when: profile.calls_30d > 0}
    - {from: sql, to: opportunity, when: profile.offers_sent > 0}
    - {from: [lead, mql, sql, opportunity], to: customer, when: profile.enrolments > 0}
    - {from: "*", to: disqualified, when: profile.do_not_contact}
"""


def document(found: list[Level], given: list[int], leads: list[Lead]) -> str:
    """The text of scores.yaml."""
    parts = [HEADER]
    totals: dict[str, Floats] = {}
    for card, engagement in (("fit", False), ("engagement", True)):
        own = [
            (lv, p)
            for lv, p in zip(found, given, strict=True)
            if (lv.attribute in ENGAGEMENT) == engagement
        ]
        totals[card] = _total(own)
        parts.append(f"  {card}:\n    min: 0\n    max: {150 if engagement else 100}\n")
        parts.append("    half_life: 14d\n    rules:\n" if engagement else "    rules:\n")
        parts += [_rule(level, earned) for level, earned in own if earned]
        parts += [LIVE_RULES] if engagement else []
    parts.append("grades:\n  lead:\n")
    train = np.array([lead.train for lead in leads])
    for card, names in (("fit", "ABCD"), ("engagement", "1234")):
        cuts = [int(cut) for cut in np.quantile(totals[card][train], (0.8, 0.55, 0.3))]
        bands = ", ".join(f'"{n}": {cut}' for n, cut in zip(names, [*cuts, 0], strict=True))
        parts.append(f"    {card}: {{score: {card}, bands: {{{bands}}}}}\n")
    return "".join([*parts, STAGES])


def _total(earned: list[tuple[Level, int]]) -> Floats:
    """Each lead's points."""
    total = np.zeros(len(earned[0][0].members))
    for level, each in earned:
        total += level.members * each
    return total


def _rule(level: Level, earned: int) -> str:
    return (
        f"      - when: {json.dumps(level.condition)}\n"
        f"        points: {earned}\n        reason: {level.reason}\n"
    )


def main(
    file: Annotated[Path, typer.Argument(help="The lead data set.")] = DEFAULT_FILE,
    check: Annotated[bool, typer.Option("--check", help="Compare, write nothing.")] = False,
) -> None:
    """Derive the points and write leads/scores.yaml."""
    try:
        leads = read_leads(PUBLIC.require(file))
    except FileNotFoundError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    found = levels(leads)
    given = points(found, leads)
    text = document(found, given, leads)
    target = LEADS / "scores.yaml"
    total = _total(list(zip(found, given, strict=True)))
    for train, name in ((True, "training split"), (False, "unseen split")):
        own = [index for index, lead in enumerate(leads) if lead.train == train]
        area = auc([leads[i].converted for i in own], [float(total[i]) for i in own])
        typer.echo(f"{name}: {len(own)} leads, AUC {area:.4f}")
    if check and target.read_text(encoding="utf-8") != text:
        typer.echo(f"{target}: not what {file} gives", err=True)
        raise typer.Exit(1)
    if not check:
        target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
