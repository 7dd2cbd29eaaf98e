"""`nextbest ope`: what another policy would have earned, from the log of the one that ran."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NamedTuple, TypeAlias

import typer

from nextbest.server.command.console import (
    EXIT_REFUSED,
    EXIT_USAGE,
    AsJson,
    complain,
    out,
    show_json,
    table,
)
from nextbest.server.command.decisions import Since, Until
from nextbest.server.command.policy import FromRecords, Placements, Window, judge_draft
from nextbest.server.command.record import plan_of
from nextbest.server.offpolicy import (
    Analysis,
    Columns,
    Estimate,
    OffPolicyError,
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
from nextbest.server.record.errors import RecordError

RESAMPLES_MAX = 100_000
FOLDS_MAX = 100
_OBD = Columns()


Log: TypeAlias = Annotated[
    Path,
    typer.Argument(
        help="A log: CSV, JSON lines, Parquet; with --policy decision records.", metavar="FILE"
    ),
]
PolicyLog: TypeAlias = Annotated[
    Path | None, typer.Option("--policy-log", help="What the evaluated policy did.", metavar="FILE")
]
Policy: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="A draft playbook's folder, to evaluate from records.", metavar="FOLDER"),
]
More: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option("--and", help="Another node's records; repeatable.", metavar="FOLDER"),
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
Action: TypeAlias = Annotated[
    str, typer.Option(help="With --policy-log: what was chosen.", metavar="COLUMN")
]
Slot: TypeAlias = Annotated[
    str, typer.Option(help="With --policy-log: in which place; '' for none.", metavar="COLUMN")
]
Reward: TypeAlias = Annotated[
    str,
    typer.Option(
        help="What came of it; with --policy an event, or a property of one.", metavar="COLUMN"
    ),
]
Propensity: TypeAlias = Annotated[
    str,
    typer.Option(help="With --policy-log: the probability of what was chosen.", metavar="COLUMN"),
]
Context: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(help="What the reward model sees; user_feature_* by default.", metavar="COLUMN"),
]
Cluster: TypeAlias = Annotated[
    str, typer.Option(help="Whose rows depend on each other: a person's.", metavar="COLUMN")
]


def ope_command(
    file: Log,
    policy: Policy = None,
    policy_log: PolicyLog = None,
    clip: Clip = None,
    level: Level = 0.95,
    bootstrap: Bootstrap = 0,
    model: Model = MODELS[0],
    folds: Folds = 5,
    seed: Seed = 0,
    require: Require = None,
    plot: Plot = None,
    action: Action = _OBD.action,
    slot: Slot = _OBD.slot,
    reward: Reward = _OBD.reward,
    propensity: Propensity = _OBD.propensity,
    context: Context = None,
    cluster: Cluster = _OBD.cluster,
    placement: Placements = None,
    window: Window = "",
    since: Since = "",
    until: Until = "",
    more: More = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a policy without running it, from what another one did.

    With --policy FILE is a folder of decision records (records.share of the server) and the policy
    a draft playbook: with what probability it would show each action to whoever was decided for,
    by what was recorded of them.  Rows are the first slots of placements; --reward is an event
    that carries a decision id, or a property of one that is summed: purchase.amount.

    With --policy-log FILE has, for each filled slot, the action, the probability with which it was
    chosen, and the reward; the policy takes each action with the other log's share of it.

    Estimators: ips, clipped_ips, snips, dm, dr; beside them the log's own mean (logged), what the
    policy earned where it ran itself (on_policy), and how much more dr is (gain).  A requirement
    compares two figures, or one and a number: ESTIMATOR.FIELD (mean, standard_error, lower, upper,
    effective_size, weight_max, weight_mean, clipped), support.missing.  The exit code is 1 where
    one does not hold, and 2 where nothing can be evaluated.

    Examples:

      nextbest ope /tmp/shop/records --policy my/draft --reward purchase.amount --window 7d

      nextbest ope random.csv.gz --policy-log bts.csv.gz --require 'gain.lower > 0'
    """
    requirements = requirements_of(require or ())
    _check(clip, level, model)
    _check_source(policy, policy_log, context or ())
    settings = Settings(clip, model, folds, seed, Trust(level, bootstrap, seed))
    try:
        if plot is not None:
            plots.require()
        if policy:
            shown = tuple(placement or ())
            records = FromRecords([file, *(more or ())], reward, window, since, until, shown)
            found = _of_draft(policy, records, settings)
        else:
            named = tuple(context or _OBD.context)
            columns = Columns(action, slot, reward, propensity, named, cluster)
            found = _of_log(file, policy_log or file, columns, settings)
        verdicts = [judge(one, found.analysis.values()) for one in requirements]
    except (OffPolicyError, RecordError) as error:
        # Not 1, which says that a requirement does not hold.
        complain(str(error))
        raise typer.Exit(EXIT_USAGE) from error
    _tell(found, verdicts, plot, as_json)


def _check_source(policy: Path | None, policy_log: Path | None, context: Sequence[str]) -> None:
    if bool(policy) == bool(policy_log):
        seen = "both" if policy else "neither"
        hint = "--policy, --policy-log"
        raise typer.BadParameter(f"{seen}, allowed: a draft, or what a policy did", param_hint=hint)
    if policy and context:
        allowed = "none: records tell what was read"
        raise typer.BadParameter(f"given with --policy, allowed: {allowed}", param_hint="--context")


class _Found(NamedTuple):
    """An analysis, what else its JSON has, and what should be known besides its cautions."""

    analysis: Analysis
    more: dict[str, object]
    notes: tuple[str, ...]


def _of_log(file: Path, policy_log: Path, columns: Columns, settings: Settings) -> _Found:
    found = observe(read_log(file, columns), read_choices(policy_log, columns))
    count = found.left_out
    note = f"{count:,} rows of the policy log are in slots that the log never has"
    analysis = analyse(found.feedback, settings, found.on_policy)
    return _Found(analysis, {"left_out": count}, (note,) if count else ())


def _of_draft(draft: Path, records: FromRecords, settings: Settings) -> _Found:
    _, plan = plan_of(draft)
    judged = judge_draft(plan, records, settings)
    return _Found(judged.analysis, {"left_out": judged.left_out_dict()}, tuple(judged.notes()))


def _tell(found: _Found, verdicts: Sequence[Verdict], plot: Path | None, as_json: bool) -> None:
    """Show all of it; exit with 1 where a requirement does not hold."""
    if plot is not None:
        plots.draw(found.analysis, plot)
    if as_json:
        judged = [asdict(one) for one in verdicts]
        show_json({**found.analysis.as_dict(), **found.more, "requirements": judged})
    else:
        show_analysis(found.analysis)
    for text in (*found.analysis.cautions, *found.notes):
        complain(f"warning: {text}")
    for verdict in verdicts:
        if not verdict.holds:
            complain(str(verdict))
    if not all(verdict.holds for verdict in verdicts):
        raise typer.Exit(EXIT_REFUSED)


def requirements_of(texts: Sequence[str]) -> list[Requirement]:
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


def show_analysis(analysis: Analysis) -> None:
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
