"""`nextbest check`, `schema`, `publish`, `activate` and `generations`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from nextbest.server import config
from nextbest.server.command.console import (
    ADDRESS,
    EXIT_REFUSED,
    MOMENT,
    AsJson,
    To,
    complain,
    connect,
    counted,
    out,
    refuse_given,
    show_json,
    table,
)
from nextbest.server.command.publishing import show_changes, show_faults
from nextbest.server.playbook.faults import Fault, render
from nextbest.server.playbook.folder import read_folder

if TYPE_CHECKING:
    from rich.table import Table

    from nextbest.core.playbook.plan import Plan
    from nextbest.server.playbook.compile import Compiled
    from nextbest.server.playbook.run import CaseResult

# Compiling needs CEL and YAML: each command imports what it needs of it.

Folder = Annotated[Path, typer.Argument(help="The playbook's folder.", metavar="FOLDER")]
Reward = Annotated[
    str,
    typer.Option(
        help="With --from: the outcome, or its property; click by default.", metavar="EVENT"
    ),
]
Requirements = Annotated[
    list[str] | None,
    typer.Option(help="Must hold of the records, as for `ope`; repeatable.", metavar="A > B"),
]
Records = Annotated[
    list[Path] | None,
    typer.Option(
        "--from", help="Decision records; repeatable, for each node.", metavar="FOLDER", exists=True
    ),
]
HASH_SHOWN = 12
WIDTH_MAX = 1_000  # of a table that is cut nowhere, so that it can be searched


def check_command(folder: Folder, as_json: AsJson = False) -> None:
    """Validate a playbook and run its own tests; nothing is published.

    The exit code is 1 where there is an error or a test fails; warnings alone are none.

    Examples:

      nextbest check server/examples/shop

      nextbest check server/examples/shop --json
    """
    from nextbest.server.playbook.compile import compile_playbook
    from nextbest.server.playbook.run import run_cases

    files = read_folder(folder)
    compiled = compile_playbook(files)
    results = run_cases(compiled.plan, compiled.tests) if compiled.plan else []
    failed = [result for result in results if not result.passed]
    if as_json:
        show_json(_report(compiled, results))
    else:
        _show(folder, files, compiled, results)
    if compiled.plan is None or failed:
        raise typer.Exit(EXIT_REFUSED)


def schema_command(
    file: Annotated[
        str,
        typer.Argument(
            help="one of a playbook's files, such as actions, or tests.", metavar="FILE"
        ),
    ] = "",
    keys: Annotated[
        bool, typer.Option("--keys", help="Tables of all keys for people instead.")
    ] = False,
    sample: Annotated[
        bool, typer.Option("--config", help="The server's sample configuration instead.")
    ] = False,
    observability: Annotated[
        Path | None,
        typer.Option(
            "--observability",
            help="Write Prometheus' rules, a dashboard and a Collector's configuration instead.",
            metavar="DIR",
        ),
    ] = None,
) -> None:
    """Print the JSON Schema of a playbook's file for your editor; of all files by default.

    Examples:

      nextbest schema --keys actions

      nextbest schema --keys | grep counters

      nextbest schema actions > actions.schema.json

      nextbest schema --config > nextbest.yaml

      nextbest schema --observability observability/
    """
    if observability is not None:
        from nextbest.server.telemetry.observability.files import write

        try:
            written = write(observability)
        except OSError as error:
            fault = f"{observability}: {error.strerror}, allowed: a folder that can be written to"
            raise typer.BadParameter(fault, param_hint="--observability") from None
        for path in written:
            out().print(str(path))
        return
    if sample:
        sys.stdout.write(config.sample())
        return
    from nextbest.server.playbook.schema import combined_schema, json_schema, names

    try:
        found = json_schema(file) if file else combined_schema()
    except KeyError:
        allowed = ", ".join(names())
        raise typer.BadParameter(f"{file!r}, allowed: {allowed}", param_hint="FILE") from None
    if keys:
        _show_keys([file] if file else names())
    else:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")


def _show_keys(parts: Iterable[str]) -> None:
    """A table for each part; where it is not a terminal's, a line for each key."""
    from nextbest.server.playbook.keys import rows, words

    console = out()
    if not sys.stdout.isatty():
        console.width = WIDTH_MAX
    for part in parts:
        console.print(keys_table(part))
        for line in words(rows(part)):
            console.print(line)


def keys_table(part: str) -> Table:
    """The keys of a playbook's part.  Raises KeyError."""
    from nextbest.server.playbook.keys import rows, title

    return table(title(part), ["key", "allowed", "default", "meaning"], rows(part))


def publish_command(
    folder: Folder,
    description: Annotated[
        str, typer.Option("--description", "-m", help="What changed and why.", metavar="TEXT")
    ] = "",
    write_id: Annotated[str, typer.Option(help="The same id publishes once.", metavar="ID")] = "",
    require: Requirements = None,
    records: Records = None,
    reward: Reward = "",
    placement: Annotated[
        list[str] | None, typer.Option(help="With --from: only this one.", metavar="NAME")
    ] = None,
    window: Annotated[
        str, typer.Option(help="With --from: how long outcomes count.", metavar="SPAN")
    ] = "",
    since: Annotated[
        str, typer.Option(help=f"With --from: {MOMENT}, or 7d, before now.", metavar="TIME")
    ] = "",
    until: Annotated[str, typer.Option(help="With --from, likewise.", metavar="TIME")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would do; publish nothing.")
    ] = False,
    to: To = ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Publish a playbook and make it active.

    With --require it is first evaluated from decision records, as `nextbest ope` does, and is
    published only if each requirement holds: else the exit code is 1, and 2 where nothing can be
    evaluated.

    Budgets that begin anew by it, that are gone, or that have less than is claimed of them by now
    are warned of; they stop nothing. --dry-run asks the server to tell the same, and publishes
    nothing.

    Examples:

      nextbest publish server/examples/shop -m "spring offers"

      nextbest publish my/draft --dry-run

      nextbest publish my/draft --require 'dr.lower > logged.mean' --from /tmp/shop/records
    """
    if not (require or records):
        gate = {"--reward": reward, "--placement": placement, "--window": window}
        gate |= {"--since": since, "--until": until}
        refuse_given(gate, "--require and --from")
    files = read_folder(folder)
    plan = _plan_of(files, as_json)
    if require or records:
        from nextbest.server.command.gate import pass_gate, records_of

        pass_gate(
            plan,
            require or (),
            records_of(records, reward or "click", window, (since, until), placement),
            as_json,
        )
    if dry_run:
        _try(files, to, as_json)
        return
    with connect(to) as client:
        response = client.publish_playbook(files, description=description, write_id=write_id)
    if as_json:
        show_json(response)
        return
    show_faults(response.faults)
    show_changes(response.budgets)
    out().print(f"generation {response.generation} is active, hash {response.playbook_hash}")


def _try(files: dict[str, bytes], to: str, as_json: bool) -> None:
    """Ask a server what publishing would do; exit with 1 where it would refuse."""
    with connect(to) as client:
        response = client.validate_playbook(files)
    if as_json:
        show_json(response)
    else:
        show_faults(response.faults)
        show_changes(response.budgets)
        out().print(f"nothing is published, hash {response.playbook_hash or 'none'}")
    if not response.playbook_hash:
        raise typer.Exit(EXIT_REFUSED)


def _plan_of(files: dict[str, bytes], as_json: bool) -> Plan:
    """A playbook's plan; where it has none, show why and exit with 1."""
    from nextbest.server.playbook.compile import compile_playbook

    compiled = compile_playbook(files)
    if compiled.plan is not None:
        return compiled.plan
    if as_json:
        show_json(_report(compiled, []))
    else:
        out().print(render(compiled.faults, files), end="")
    raise typer.Exit(EXIT_REFUSED)


def activate_command(
    generation: Annotated[
        int, typer.Argument(min=1, help="As `generations` lists it.", metavar="NUMBER")
    ],
    to: To = ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Make an earlier generation active again.

    Examples:

      nextbest activate 3
    """
    with connect(to) as client:
        response = client.activate_generation(generation)
    if as_json:
        show_json(response)
    else:
        show_changes(response.budgets)
        out().print(f"generation {generation} is active, before it was {response.previous}")


def generations_command(to: To = ADDRESS, as_json: AsJson = False) -> None:
    """List the generations that can be activated.

    Examples:

      nextbest generations
    """
    with connect(to) as client:
        response = client.list_generations()
    if as_json:
        show_json(response)
        return
    rows = [
        (
            each.number,
            "active" if each.active else "refused" if each.refused else "",
            _time(each.published_at.ToDatetime(UTC)),
            each.playbook_hash[:HASH_SHOWN],
            each.description,
        )
        for each in response.generations
    ]
    for each in response.generations:
        if each.refused:
            complain(f"generation {each.number} cannot be held by this node: {each.refused}")
    if rows:
        out().print(table("Generations", ("number#", "", "published", "hash", "description"), rows))
    else:
        out().print("no generation yet: publish one with `nextbest publish FOLDER`")


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def _show(
    folder: Path, files: dict[str, bytes], compiled: Compiled, results: list[CaseResult]
) -> None:
    console = out()
    if compiled.faults:
        console.print(render(compiled.faults, files), end="")
    for result in results:
        if not result.passed:
            console.print(Text(f"{result.file}:{result.line}: {result.name}", style="red"))
            for difference in result.differences:
                console.print(f"  {difference}")
    if compiled.plan is None:
        console.print(f"{folder}: {counted(len(compiled.faults), 'fault|faults')}")
        return
    plan = compiled.plan
    counts = (
        ("attribute|attributes", len(plan.attributes)),
        ("event|events", len(plan.events)),
        ("counter|counters", len(plan.counters)),
        ("segment|segments", len(plan.segments)),
        ("score|scores", len(plan.scorecards)),
        ("action|actions", len(plan.actions)),
        ("placement|placements", len(plan.placements)),
        ("condition|conditions", len(plan.conditions)),
    )
    console.print(f"{folder}: valid, hash {plan.hash.hex()}")
    console.print("  " + ", ".join(counted(count, name) for name, count in counts))
    if plan.triggers is not None:
        console.print(f"  triggers: {_triggers(plan)}")
    passed = sum(result.passed for result in results)
    console.print(f"  {passed} of {counted(len(results), 'test|tests')} passed")


def _triggers(plan: Plan) -> str:
    """What is told, and how many conditions a write cannot pass by."""
    triggers, found = plan.triggers, plan.watch
    if triggers is None or found is None:
        return "none"
    parts = [
        counted(len(triggers.segments), "segment|segments"),
        counted(len(triggers.grades), "grade|grades"),
    ]
    parts += ["the stage"] if triggers.stage else []
    plain = counted(found.plain(), "is|are looked at whenever something read changes")
    conditions = counted(len(found.of_conditions), "condition|conditions")
    return f"{', '.join(parts)}; {conditions}, of which {plain}"


def _report(compiled: Compiled, results: list[CaseResult]) -> dict[str, object]:
    return {
        "valid": compiled.plan is not None,
        "playbook_hash": compiled.plan.hash.hex() if compiled.plan else "",
        "faults": [_fault(fault) for fault in compiled.faults],
        "tests": [
            {
                "name": result.name,
                "file": result.file,
                "line": result.line,
                "passed": result.passed,
                "differences": list(result.differences),
            }
            for result in results
        ],
    }


def _fault(fault: Fault) -> dict[str, object]:
    return {
        "file": fault.file,
        "line": fault.line,
        "column": fault.column,
        "what": fault.what,
        "seen": fault.seen,
        "allowed": fault.allowed,
        "severity": fault.severity.name.lower(),
    }
