"""`nextbest experiment`: what a test of variants has shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from nextbest.server.command.console import (
    AGAIN,
    EXIT_REFUSED,
    EXIT_USAGE,
    REPEATED,
    AsJson,
    complain,
    counted,
    out,
    show_json,
)
from nextbest.server.experiment.errors import ExperimentError, OptionError
from nextbest.server.experiment.extra import need_analysis
from nextbest.server.experiment.recorded import NO_WINDOW_US, Asked, Features, Recorded
from nextbest.server.experiment.source import Columns, read
from nextbest.server.playbook.scalars import SPAN_TEXT, span_s
from nextbest.server.record.errors import RecordError
from nextbest.server.record.features import Feature
from nextbest.server.record.files import Files, folder_of
from nextbest.server.record.outcomes import Outcomes
from nextbest.v1 import record_pb2

if TYPE_CHECKING:
    from nextbest.server.experiment.report import Report
    from nextbest.server.experiment.subjects import Subjects

experiment_app = typer.Typer(
    help="Read tests of variants.", no_args_is_help=True, add_completion=False
)
COLUMN = "COLUMN"
# Of a file or a pipe: no table is wider, but for long names.
WIDTH = 120


File: TypeAlias = Annotated[
    Path,
    typer.Argument(
        help="CSV, JSON lines or Parquet, .gz too; with --experiment a folder of decision records.",
        metavar="FILE",
        exists=True,
    ),
]
Variant: TypeAlias = Annotated[str, typer.Option(help="Names each one's variant.", metavar=COLUMN)]
Experiment: TypeAlias = Annotated[
    str, typer.Option(help="Of decision records: the experiment.", metavar="NAME")
]
Control: TypeAlias = Annotated[
    str, typer.Option(help="The variant to compare with.", metavar="NAME")
]
Conversions: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(help="Whether it happened: 0, 1, true, false. Repeatable.", metavar=COLUMN),
]
Values: TypeAlias = Annotated[
    list[str] | None, typer.Option(help="How much; repeatable.", metavar=COLUMN)
]
Covariates: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(help="Known before the test (CUPED); repeatable.", metavar=COLUMN),
]
SubjectColumn: TypeAlias = Annotated[
    str, typer.Option(help="Checked: each id has one row.", metavar=COLUMN)
]
Weights: TypeAlias = Annotated[
    str, typer.Option(help="The planned split; equal by default.", metavar="a=1,b=1")
]
Guardrails: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        help="The difference to the control that is allowed, or in % of it; repeatable.",
        metavar="METRIC>=BOUND",
    ),
]
Level: TypeAlias = Annotated[float, typer.Option(help="Of all intervals.", metavar="LEVEL")]
AlarmBelow: TypeAlias = Annotated[
    float, typer.Option(help="The split's p-value that is an alarm.", metavar="P")
]
TunedFor: TypeAlias = Annotated[
    int,
    typer.Option(
        help="Subjects at which the always valid interval is narrowest; fixed at the start.",
        metavar="NUMBER",
    ),
]
Window: TypeAlias = Annotated[
    str, typer.Option(help="Of records: how long after the exposure events count.", metavar="SPAN")
]
More: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option("--and", help="Another node's records; repeatable.", metavar="FOLDER"),
]
Plot: TypeAlias = Annotated[
    Path | None, typer.Option(help="Draw it: .png, .svg or .pdf.", metavar="FILE")
]


# A lone command would become the group itself.
@experiment_app.callback()
def _group() -> None:
    """Read tests of variants."""


@experiment_app.command("report")
def report_command(
    file: File,
    control: Control,
    variant: Variant = "",
    experiment: Experiment = "",
    conversion: Conversions = None,
    value: Values = None,
    covariate: Covariates = None,
    subject: SubjectColumn = "",
    weights: Weights = "",
    guardrail: Guardrails = None,
    level: Level = 0.95,
    alarm_below: AlarmBelow = 0.001,
    tuned_for: TunedFor = 5_000,
    window: Window = "",
    more: More = None,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Compare the variants of a test, from a file with one row per subject or decision records.

    First comes the split: more or fewer subjects than planned (a sample-ratio mismatch) mean that
    the rest does not hold.  Then guardrails, means, differences and tests.  Intervals and p-values
    that may be looked at while the test runs are marked so; all others hold for one look, at the
    end that was planned.  P(higher) is the probability that a variant's mean is above the
    control's, from uniform priors.  A guardrail is kept when the whole interval is on the allowed
    side.

    With --experiment FILE is a folder of decision records (records.share of the server): subjects
    are identities, from their first exposure on; --conversion names an event that carries a
    decision id, and --value a property of one, such as purchase.amount.  --covariate names what
    the exposing decision has read (profile.orders), or such an event from before it.

    The exit code is 1 when the split raises an alarm or a guardrail is not kept, and 2 when the
    file or an option cannot be used.

    Examples:

      nextbest experiment report test.csv.gz --variant arm --control A --conversion bought

      nextbest experiment report test.parquet --variant arm --control A --value spend
      --covariate spend_before --guardrail 'spend>=-1%' --weights A=9,B=1 --plot test.png

      nextbest experiment report /tmp/shop/records --experiment free_shipping --control control
      --conversion purchase --value purchase.amount
    """
    named = tuple(conversion or ()), tuple(value or ()), tuple(covariate or ())
    numbers = level, alarm_below, tuned_for
    try:
        need_analysis()
        records = (file, *(more or ())), _window_us(window)
        source = _source(records, (variant, experiment, control, subject), named)
        metrics = [*named[0], *named[1]]
        report = _report(source, metrics, (weights, guardrail or []), numbers, plot)
    except (ExperimentError, RecordError) as error:
        # Not 1, which says that the test itself is alarming.
        complain(str(error))
        raise typer.Exit(EXIT_USAGE) from error
    if as_json:
        show_json(report.as_dict())
    else:
        _show(report)
    if not report.sound:
        raise typer.Exit(EXIT_REFUSED)


def _window_us(text: str) -> int:
    if not text:
        return NO_WINDOW_US
    seconds = span_s(text)
    if not seconds:
        raise OptionError("--window", repr(text), SPAN_TEXT)
    return seconds * 1_000_000


def _source(
    records: tuple[Sequence[Path], int],
    names: tuple[str, str, str, str],
    numbers: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]],
) -> Callable[[], Subjects]:
    """What reads the subjects; options are checked at once."""
    places, window_us = records
    variant, experiment, control, subject = names
    if bool(variant) == bool(experiment):
        seen = "both" if variant else "neither"
        raise OptionError("--variant, --experiment", seen, "--variant of a file's column, or one")
    if experiment:
        if subject:
            raise OptionError("--subject", "given", "none with --experiment")
        asked = Asked(experiment, control, *numbers, window_us)
        return lambda: _recorded(places, asked)
    if len(places) > 1 or window_us != NO_WINDOW_US:
        raise OptionError("--and, --window", "given", "with --experiment only")
    if places[0].is_dir():
        raise OptionError("FILE", "a folder", "a file, or --experiment for a folder of records")
    conversions, values, covariates = numbers
    columns = Columns(variant, control, conversions, values, covariates, subject)
    return lambda: read(places[0], columns)


def _recorded(places: Sequence[Path], asked: Asked) -> Subjects:
    """The subjects of decision records; what is odd about them is told."""
    files = Files(*map(folder_of, places))
    outcomes = Outcomes(files.frames())
    asked.check(outcomes.events())
    found = Recorded(asked, _features(files) if asked.read else lambda _: {}, outcomes.take)
    again = 0
    for frame in files.frames():
        if not frame.record.HasField("outcome"):
            outcomes.meet(frame.decision_id)
            if not outcomes.take_decision(frame):
                again += 1
                continue
        found.add(frame.record)
    subjects = found.subjects()
    unknown = outcomes.counts().unknown
    outcomes.close()
    for count, what in (
        (len(files.damaged), "record|records is|are damaged, and left out"),
        (again, AGAIN),
        (found.crossed, "exposure|exposures to another variant than a subject's first: left out"),
        (found.unexposed, "outcome|outcomes of people who were not exposed before: left out"),
        (found.late, "outcome|outcomes after the window: left out"),
        (found.repeated, REPEATED),
        (unknown, "outcome|outcomes used of decisions that are not among the records"),
        (found.young, "subject|subjects younger than the window: more may come"),
        *(
            (found.unknown(one), f"subject|subjects has|have the mean of {one}")
            for one in asked.covariates
        ),
    ):
        if count:
            complain(counted(count, what))
    return subjects


def _features(files: Files) -> Features:
    """What decisions have read, by the playbooks beside the records."""
    # Compiling needs CEL and YAML: only a covariate needs it.
    from nextbest.server.record.features import Names
    from nextbest.server.record.playbooks import Playbooks

    playbooks = Playbooks(files.folder, {}, files.folders[1:])
    names: dict[bytes, Names] = {}

    def of(record: record_pb2.DecisionRecord) -> Mapping[str, Feature]:
        if record.playbook not in names:
            names[record.playbook] = Names(playbooks.plan(record.playbook), private=True)
        return names[record.playbook].features(record)

    return of


def _report(
    source: Callable[[], Subjects],
    metrics: Sequence[str],
    planned: tuple[str, list[str]],
    numbers: tuple[float, float, int],
    plot: Path | None,
) -> Report:
    """The report, drawn where wanted; options are checked before anything is read."""
    # Imported here: they are an extra, and take a second.
    from nextbest.server.experiment.design import Design
    from nextbest.server.experiment.guardrail import parse_guardrail
    from nextbest.server.experiment.plot import check_target, draw
    from nextbest.server.experiment.report import analyse
    from nextbest.server.experiment.split import parse_weights

    guardrails = tuple(parse_guardrail(rule, metrics) for rule in planned[1])
    design = Design(numbers[0], parse_weights(planned[0]), numbers[1], guardrails, numbers[2])
    if plot:
        check_target(plot)
    report = analyse(source(), design)
    if plot:
        draw(report, plot)
    return report


def _show(report: Report) -> None:
    from nextbest.server.experiment.screen import screen

    console = out()
    if not console.is_terminal:
        console.width = WIDTH
    for part in screen(report):
        console.print(part)
