"""`nextbest ope`: what another policy would have earned, from the log of the one that ran."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from nextbest.server.command.console import EXIT_REFUSED, AsJson, complain, out, show_json, table
from nextbest.server.offpolicy import (
    Analysis,
    Columns,
    Estimate,
    Requirement,
    RequirementError,
    Settings,
    Trust,
    Verdict,
    analyse,
    doubt,
    judge,
    observe,
    parse,
    read_choices,
    read_log,
)
from nextbest.server.offpolicy import plot as plots
from nextbest.server.offpolicy.reward_model import MODELS
from nextbest.server.playbook.faults import one_of

RESAMPLES_MAX = 100_000
FOLDS_MAX = 100
_OBD = Columns()


Log: TypeAlias = Annotated[
    Path, typer.Argument(help="The log: CSV, JSON lines, Parquet.", metavar="FILE")
]
PolicyLog: TypeAlias = Annotated[
    Path, typer.Option("--policy-log", help="What the evaluated policy did.", metavar="FILE")
]
Clip: TypeAlias = Annotated[
    float | None,
    typer.Option(help="Largest weight of clipped_ips and dr; by default the root of the rows."),
]
Level: TypeAlias = Annotated[float, typer.Option(help="Of the intervals.")]
Bootstrap: TypeAlias = Annotated[
    int,
    typer.Option(help="Intervals by so many resamples; 0: normal ones.", min=0, max=RESAMPLES_MAX),
]
Model: TypeAlias = Annotated[str, typer.Option(help="Of the reward: linear or boosting.")]
Folds: TypeAlias = Annotated[
    int, typer.Option(help="Of the reward model's cross-fitting.", min=2, max=FOLDS_MAX)
]
Seed: TypeAlias = Annotated[int, typer.Option(help="Of folds and resamples.", min=0, max=2**32 - 1)]
Require: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--require", help="Must hold: 'dr.lower > logged.mean'.", metavar="A > B"),
]
Plot: TypeAlias = Annotated[
    Path | None, typer.Option("--plot", help="Draw the intervals.", metavar="FILE.png")
]
Column: TypeAlias = Annotated[str, typer.Option(metavar="COLUMN")]
Slot: TypeAlias = Annotated[str, typer.Option(help="'' for none.", metavar="COLUMN")]
Context: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(help="What the reward model sees; user_feature_* by default.", metavar="COLUMN"),
]
Cluster: TypeAlias = Annotated[
    str, typer.Option(help="Whose rows depend on each other: a person's.", metavar="COLUMN")
]


def ope_command(
    file: Log,
    policy_log: PolicyLog,
    clip: Clip = None,
    level: Level = 0.95,
    bootstrap: Bootstrap = 0,
    model: Model = MODELS[0],
    folds: Folds = 5,
    seed: Seed = 0,
    require: Require = None,
    plot: Plot = None,
    action: Column = _OBD.action,
    slot: Slot = _OBD.slot,
    reward: Column = _OBD.reward,
    propensity: Column = _OBD.propensity,
    context: Context = None,
    cluster: Cluster = _OBD.cluster,
    as_json: AsJson = False,
) -> None:
    """Evaluate a policy from the log of another one, without running it.

    FILE has, for each filled slot, the action, the probability with which it was chosen, and the
    reward.  The evaluated policy is what another log did: in each slot it takes each action with
    that log's share of it.  Five estimators answer (ips, clipped_ips, snips, dm, dr).  Beside
    them stand the log's own mean (logged), what the evaluated policy earned where it ran itself
    (on_policy), and how much more dr is than logged, row by row (gain).

    A requirement compares two of the table's figures, or one and a number: ESTIMATOR.FIELD, the
    fields being mean, standard_error, lower, upper, effective_size, weight_max, weight_mean and
    clipped; and support.missing, the share of the policy of which the log cannot tell.  The exit
    code is 1 where one does not hold.

    Examples:

      nextbest ope random.csv.gz --policy-log bts.csv.gz --require 'gain.lower > 0'

      nextbest ope log.parquet --policy-log draft.parquet --action offer --slot '' --reward value
    """
    requirements = _requirements(require or ())
    _check(clip, level, model)
    if plot is not None:
        plots.require()
    columns = Columns(action, slot, reward, propensity, tuple(context or _OBD.context), cluster)
    settings = Settings(clip, model, folds, seed, Trust(level, bootstrap, seed))
    found = observe(read_log(file, columns), read_choices(policy_log, columns))
    analysis = analyse(found.feedback, settings, found.on_policy)
    if plot is not None:
        plots.draw(analysis, plot)
    values = analysis.values()
    verdicts = [judge(one, values) for one in requirements]
    if as_json:
        judged = [asdict(one) for one in verdicts]
        show_json({**analysis.as_dict(), "left_out": found.left_out, "requirements": judged})
    else:
        _show(analysis)
    _end(analysis, found.left_out, verdicts)


def _requirements(texts: Sequence[str]) -> list[Requirement]:
    """Read before anything else is, and warned of where one says less than it seems to."""
    try:
        found = [parse(text) for text in texts]
    except RequirementError as error:
        raise typer.BadParameter(str(error), param_hint="--require") from None
    for doubted in filter(None, map(doubt, found)):
        complain(f"warning: {doubted}")
    return found


def _check(clip: float | None, level: float, model: str) -> None:
    """typer.BadParameter before anything is read."""
    if clip is not None and not 0 < clip < float("inf"):
        raise typer.BadParameter(f"{clip:g}, allowed: over 0", param_hint="--clip")
    if not 0 < level < 1:
        raise typer.BadParameter(f"{level:g}, allowed: over 0, below 1", param_hint="--level")
    if model not in MODELS:
        raise typer.BadParameter(
            f"{model!r}, allowed: {one_of(model, MODELS)}", param_hint="--model"
        )


def _show(analysis: Analysis) -> None:
    level = f"{100 * analysis.settings.trust.level:.4g} %"
    title = (
        f"{analysis.rows:,} rows, {analysis.actions:,} actions, {analysis.slots:,} slots; "
        f"intervals of {level}, weights clipped at {analysis.clip:.4g}"
    )
    columns = ("estimator", "mean#", "error#", "lower#", "upper#", "ESS#", "max w#", "clip#")
    digits = _digits(analysis.estimates["logged"].standard_error)
    rows = (_cells(name, one, digits) for name, one in analysis.estimates.items())
    out().print(table(title, columns, rows))


def _digits(error: float) -> int:
    """Digits behind the point with which an error has two that count."""
    return min(9, max(0, 1 - math.floor(math.log10(error)))) if error > 0 else 4


def _cells(name: str, one: Estimate, digits: int) -> tuple[str, ...]:
    figures = (one.mean, one.standard_error, one.lower, one.upper)
    size = "" if one.effective_size is None else f"{one.effective_size:,.0f}"
    largest = "" if one.weight_max is None else _weight(one.weight_max)
    clipped = "" if one.clipped is None else f"{one.clipped:.1%}"
    return name, *(f"{figure:,.{digits}f}" for figure in figures), size, largest, clipped


def _weight(value: float) -> str:
    return f"{value:.3g}" if value < 1_000 else f"{value:,.0f}"


def _end(analysis: Analysis, left_out: int, verdicts: Sequence[Verdict]) -> None:
    """Say what should be known; exit with 1 where a requirement does not hold."""
    for caution in analysis.cautions:
        complain(f"warning: {caution}")
    if left_out:
        complain(
            f"warning: {left_out:,} rows of the policy log are in slots that the log never has"
        )
    for verdict in verdicts:
        if not verdict.holds:
            complain(str(verdict))
    if not all(verdict.holds for verdict in verdicts):
        raise typer.Exit(EXIT_REFUSED)
