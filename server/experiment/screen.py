"""The report for people: tables, what is alarming first."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rich.console import RenderableType
from rich.text import Text

from nextbest.server.command.console import table
from nextbest.server.experiment.arm import Arm
from nextbest.server.experiment.comparison import Comparison
from nextbest.server.experiment.guardrail import State, Watch
from nextbest.server.experiment.interval import Interval
from nextbest.server.experiment.report import Adjusted, Report
from nextbest.server.experiment.split import Split
from nextbest.server.experiment.subjects import Kind

Form = Callable[[float], str]
_COLOURS = {State.KEPT: "green", State.NOT_SHOWN: "red", State.BROKEN: "red"}


def screen(report: Report) -> Iterator[RenderableType]:
    """The parts of the report, in the order they are read."""
    kinds = {one.metric: one.kind for one in report.arms}
    yield from _split(report.split)
    yield from _guardrails(report.guardrails, kinds)
    columns = ("metric", "variant", "subjects#", "total#", "mean#", _level(report))
    yield table("variants", columns, map(_arm, report.arms))
    yield from _comparisons(report, kinds)
    if report.adjusted:
        yield from _adjusted(report.adjusted, report, kinds)


def _split(split: Split) -> Iterator[RenderableType]:
    counts = ", ".join(f"{one.variant} {one.subjects:,}" for one in split.shares)
    planned = ", ".join(f"{one.expected:,.1f}" for one in split.shares)
    test = f"chi-square {split.chi_square:.2f}, p = {_p(split.p)}"
    if split.alarm:
        text = f"SAMPLE-RATIO MISMATCH: {test}, below {split.alarm_below:g}"
        yield Text(text, style="bold red")
        yield Text("what lost or added subjects has to be found: nothing below holds", style="red")
    elif split.doubt:
        yield Text(f"split: {test}: rare, look for what loses or adds subjects", style="yellow")
    else:
        yield Text(f"split: as planned, {test}", style="green")
    yield Text(f"       {counts}; planned {planned}")


def _guardrails(watches: list[Watch], kinds: dict[str, Kind]) -> Iterator[RenderableType]:
    for one in watches:
        form = percent if one.rule.endswith("%") else _form(kinds[one.metric], signed=True)
        seen = _interval(one.interval, form)
        text = f"guardrail {one.rule}: {one.state}, {one.variant} is {seen}"
        yield Text(text, style=_COLOURS[one.state])


def _comparisons(report: Report, kinds: dict[str, Kind]) -> Iterator[RenderableType]:
    pairs, level = report.comparisons, _level(report)
    columns = ("metric", "variant", "difference#", level, "lift#", level)
    rows = [_difference(one, kinds[one.metric]) for one in pairs]
    yield table(f"difference to {report.control}", columns, rows)
    tests = ("metric", "variant", "p#", f"p, Holm over {len(pairs)}#", "P(higher)#")
    yield table("at the planned end, read once", tests, map(_test, pairs))
    looked = ("metric", "variant", f"always valid {level}", "p#", "p, Holm#")
    looks = [_look(one, kinds[one.metric]) for one in pairs]
    yield table("while the test runs, look at this one", looked, looks)


def _adjusted(
    adjusted: Adjusted, report: Report, kinds: dict[str, Kind]
) -> Iterator[RenderableType]:
    level = _level(report)
    columns = ("metric", "variant", "variance out#", "difference#", level, "p#", "p, Holm#")
    rows = [_adjusted_row(one, adjusted, kinds[one.metric]) for one in adjusted.comparisons]
    title = f"CUPED: the same without what {', '.join(adjusted.covariates)} told before the test"
    yield table(title, columns, rows)
    for name in adjusted.uneven:
        text = f"{name} differs between variants: is it from before the test?"
        yield Text(text, style="red")


def _level(report: Report) -> str:
    return f"{100 * report.level:g} % interval#"


def _arm(one: Arm) -> tuple[str, ...]:
    form = _form(one.kind, signed=False)
    total = f"{one.total:,.0f}" if one.kind is Kind.CONVERSION else f"{one.total:,.6g}"
    ends = _interval(one.interval, form)
    return one.metric, one.variant, f"{one.subjects:,}", total, form(one.mean), ends


def _difference(one: Comparison, kind: Kind) -> tuple[str, ...]:
    form, found = _form(kind, signed=True), one.contrast
    lift = "-" if found.lift is None else percent(found.lift)
    ends = _interval(found.interval, form), _interval(found.lift_interval, percent)
    return one.metric, one.variant, form(found.difference), ends[0], lift, ends[1]


def _adjusted_row(one: Comparison, adjusted: Adjusted, kind: Kind) -> tuple[str, ...]:
    form, found = _form(kind, signed=True), one.contrast
    gone = f"{adjusted.reductions[one.metric]:.1%}"
    ends = _interval(found.interval, form)
    ours = one.metric, one.variant, gone, form(found.difference), ends
    return (*ours, _p(found.p), _p(one.p_holm))


def _test(one: Comparison) -> tuple[str, ...]:
    chance = "-" if one.chance is None else _chance(one.chance)
    return one.metric, one.variant, _p(one.contrast.p), _p(one.p_holm), chance


def _look(one: Comparison, kind: Kind) -> tuple[str, ...]:
    if one.sequential is None:
        return one.metric, one.variant, "too few yet", "-", "-"
    ends = _interval(one.sequential.interval, _form(kind, signed=True))
    return one.metric, one.variant, ends, _p(one.sequential.p), _p(one.sequential_p_holm)


def _form(kind: Kind, signed: bool) -> Form:
    """How a number of a metric is written: a rate in percent, and its differences in points."""
    if kind is Kind.VALUE:
        return (lambda value: f"{value:+.4g}") if signed else (lambda value: f"{value:.5g}")
    if signed:
        return lambda value: f"{100 * value:+.2f} pp"
    return lambda value: f"{value:.2%}"


def percent(value: float) -> str:
    """A change in percent, with its sign."""
    return f"{value:+.1%}"


def _interval(ends: Interval | None, form: Form) -> str:
    if ends is None:
        return "-"
    # The unit once is enough.
    return f"{form(ends.lower).removesuffix(' pp').removesuffix('%')} to {form(ends.upper)}"


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if value >= 0.0001 else f"{value:.1e}" if value else "0"


def _chance(value: float) -> str:
    """Never rounded up to certainty."""
    return "> 99.99 %" if value > 0.9999 else "< 0.01 %" if value < 0.0001 else f"{value:.2%}"
