"""`nextbest eval`: one CEL expression over given values, by our own compiler and VM."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nextbest.core.engine import Expression
from nextbest.core.expression.values import Duration, EvaluationError, Timestamp
from nextbest.core.playbook.plan import InputKind, Plan, ValueType
from nextbest.server.command.console import (
    EXIT_REFUSED,
    MOMENT,
    PAIR,
    AsJson,
    complain,
    moment,
    out,
    show_json,
    values,
)
from nextbest.server.errors import FaultyPlaybookError
from nextbest.server.playbook.cel import ExpressionError
from nextbest.server.playbook.compile import compile_playbook
from nextbest.server.playbook.evaluate import CelChecker
from nextbest.server.playbook.faults import one_of
from nextbest.server.playbook.folder import read_folder
from nextbest.server.playbook.scope import Variable, World, variables

if TYPE_CHECKING:
    from nextbest.client.value import Plain

_GIVEN = (InputKind.ATTRIBUTE, InputKind.COUNTER, InputKind.CONTEXT, InputKind.NOW)


def eval_command(
    expression: Annotated[str, typer.Argument(help="A CEL expression.", metavar="EXPRESSION")],
    playbook: Annotated[
        Path | None,
        typer.Option(
            "--playbook", "-p", help="Its schema names what may be read.", metavar="FOLDER"
        ),
    ] = None,
    attributes: Annotated[
        list[str] | None,
        typer.Option(
            "--attributes", "-a", help="Of the profile, counters too; repeatable.", metavar=PAIR
        ),
    ] = None,
    context: Annotated[
        list[str] | None,
        typer.Option("--context", "-c", help="What the request says; repeatable.", metavar=PAIR),
    ] = None,
    now: Annotated[str, typer.Option("--now", help="Now by default.", metavar=MOMENT)] = "",
    as_json: AsJson = False,
) -> None:
    """Evaluate a CEL expression without a server.

    With a playbook it may read profile, context and now; scores, segments and the stage are a
    server's to tell.

    Examples:

      nextbest eval '"pricing".startsWith("pri") && size([1, 2]) == 2'

      nextbest eval "profile.spend_30d > 100" -p server/examples/shop -a spend_30d=400
    """
    plan = _plan(playbook)
    known = [one for one in variables(plan, World.PERSON) if plan.inputs[one.slot].kind in _GIVEN]
    given = {f"profile.{n}": v for n, v in values(attributes or (), "--attributes").items()}
    given |= {f"context.{n}": v for n, v in values(context or (), "--context").items()}
    given["now"] = moment(now, "--now") or datetime.now(UTC)
    inputs = _inputs(plan, known, given)
    try:
        compiled = CelChecker(known).compile(expression)
    except ExpressionError:
        if playbook is None and any(root in expression for root in ("profile", "context", "now")):
            complain("profile, context and now need --playbook FOLDER, whose schema has them")
        raise
    for warning in compiled.warnings:
        complain(f"warning: {warning}")
    try:
        result = _plain(Expression(compiled.code).evaluate(inputs))
    except EvaluationError as error:
        source = [one.name for one in known if one.slot == error.slot]
        complain(": ".join([*source, error.reason]))
        raise typer.Exit(EXIT_REFUSED) from error
    if as_json:
        show_json({"type": compiled.type, "value": result})
    else:
        out().print(f"{json.dumps(result, ensure_ascii=False)}  ({compiled.type})")


def _plan(folder: Path | None) -> Plan:
    if folder is None:
        return Plan(hash=b"")
    compiled = compile_playbook(read_folder(folder))
    if compiled.plan is None:
        raise FaultyPlaybookError(compiled.faults)
    return compiled.plan


def _inputs(plan: Plan, known: Sequence[Variable], given: Mapping[str, Plain]) -> list[object]:
    """The value of each input slot: what is given, or else the default."""
    names = {one.name for one in known}
    for name in given:
        if name not in names and name != "now":
            raise typer.BadParameter(f"{name}: unknown, allowed: {one_of(name, names)}")
    inputs: list[object] = [None] * len(plan.inputs)
    for one in known:
        source = plan.inputs[one.slot]
        default = plan.attributes[source.index].default if source.kind is _GIVEN[0] else None
        if one.type is ValueType.STRING_LIST or one.many:
            default = default or ()
        value = given.get(one.name)
        inputs[one.slot] = default if value is None else _native(one, value)
    return inputs


def _native(one: Variable, value: Plain) -> object:
    """A given value as the VM has it; typer.BadParameter when it is of another type."""
    if isinstance(value, datetime) and one.type is ValueType.TIMESTAMP:
        stamp = value if value.tzinfo else value.replace(tzinfo=UTC)
        seconds, micros = divmod(round(stamp.timestamp() * 1_000_000), 1_000_000)
        return Timestamp(seconds, micros * 1_000)
    if isinstance(value, bool) and one.type is ValueType.BOOL and not one.many:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and one.type is ValueType.INT:
        return value
    if isinstance(value, int | float) and one.type is ValueType.DOUBLE:
        return float(value)
    if isinstance(value, str) and one.type is ValueType.STRING and not one.many:
        return value
    if isinstance(value, list) and (one.many or one.type.name in ("STRING_LIST", "VECTOR")):
        return tuple(float(v) if one.type is ValueType.VECTOR else v for v in value)
    allowed = one.type.name.lower().replace("_", " ")
    raise typer.BadParameter(f"{one.name}: {type(value).__name__}, allowed: {allowed}")


def _plain(value: object) -> object:
    """A result as people and JSON read it."""
    if isinstance(value, Timestamp):
        moment = datetime.fromtimestamp(value.seconds, UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S") + _fraction(value.nanos) + "Z"
    if isinstance(value, Duration):
        seconds, nanos = value.seconds, value.nanos
        if seconds < 0 and nanos:
            return f"-{-seconds - 1}{_fraction(1_000_000_000 - nanos)}s"
        return f"{seconds}{_fraction(nanos)}s"
    if isinstance(value, dict):
        return {str(_plain(key)): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value


def _fraction(nanos: int) -> str:
    return f".{nanos:09d}".rstrip("0") if nanos else ""
