"""`nextbest log`: how a node's log is, its snapshots, and what to do when something was lost."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict

from nextbest.server.command.console import (
    ADDRESS,
    EXIT_REFUSED,
    AsJson,
    To,
    complain,
    connect,
    out,
    refuse_given,
    show_json,
    table,
)
from nextbest.server.command.decisions import (
    AsRecorded,
    Candidates,
    Force,
    KeyFile,
    Output,
    Since,
    Until,
    Values,
    export_decisions,
    period_of,
    told_of,
)
from nextbest.server.command.units import STALENESS_MAX_MS
from nextbest.server.log.place import DATABASE, SNAPSHOTS
from nextbest.v1 import common_pb2, log_pb2, mutation_pb2

log_app = typer.Typer(
    help="Look after the log and its snapshots.", no_args_is_help=True, add_completion=False
)
DataFolder = Annotated[
    Path, typer.Argument(help="A server's data folder.", metavar="FOLDER", exists=True)
]


@log_app.command("status")
def status_command(
    digest: Annotated[
        bool, typer.Option("--digest", help="Sum up the state, to compare members.")
    ] = False,
    to: To = ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Show how the log, the node and the other members are.

    The exit code is 1 unless the node follows the log.

    Examples:

      nextbest log status

      nextbest log status --to 10.0.0.7:7600 --json
    """
    with connect(to) as client:
        status = client.log_status(digest=digest)
    if as_json:
        show_json(status)
    else:
        _show_status(status, digest)
    if status.state != "following":
        raise typer.Exit(EXIT_REFUSED)


@log_app.command("snapshot")
def snapshot_command(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Copy it here, too.", metavar="FILE")
    ] = None,
    to: To = ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Have a node write a snapshot, and copy it to this machine if asked.

    Examples:

      nextbest log snapshot

      nextbest log snapshot --to 10.0.0.7:7600 --output node-7.nbs
    """
    with connect(to) as client:
        taken = client.take_snapshot()
        if output is not None:
            _receive(client.read_snapshot(), output)
    if as_json:
        show_json(taken)
        return
    rate = taken.bytes / max(taken.took_ms, 1) / 1_000
    out().print(
        f"{taken.path}: {taken.bytes:,} bytes up to {_place(taken.position)} in "
        f"{taken.took_ms:,} ms ({rate:,.0f} MB/s)"
    )
    if output is not None:
        out().print(f"copied to {output}")


@log_app.command("restore")
def restore_command(
    file: Annotated[Path, typer.Argument(help="A snapshot.", metavar="FILE", exists=True)],
    data: Annotated[
        Path, typer.Option("--data", "-d", help="The server's data folder.", metavar="FOLDER")
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Put it there even if a newer one is there.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put a snapshot into the data folder of a server that does not run.

    Its next start begins with that snapshot, and reads the log on from there.  A snapshot that
    is damaged is refused, and so is one that is older than what the folder can start from; those
    that are there stay.

    Example:

      nextbest log restore node-7.nbs --data /var/lib/nextbest
    """
    from nextbest.server.folder import lock_folder
    from nextbest.server.log.snapshot import Snapshots, look_at

    lock = lock_folder(data)
    snapshots = Snapshots(data / SNAPSHOTS)
    try:
        if not force:
            _require_newer(file, data)
        path = snapshots.add(file)
    finally:
        snapshots.close()
        os.close(lock)
    verified = look_at(path).verified
    position = verified.head.position if verified else common_pb2.Position()
    if as_json:
        show_json({"path": str(path), "position": MessageToDict(position)})
        return
    out().print(f"{path}: the next start begins there, at {_place(position)}")
    if not (data / DATABASE).exists():
        out().print(
            "there is no local log: a server whose log is not in Redis waits, once started, for "
            "`nextbest log reseed`"
        )


def _require_newer(file: Path, data: Path) -> None:
    """Refuse a snapshot older than one of the folder: the log may no longer have what follows."""
    from nextbest.server.log.snapshot import look, look_at

    if (given := look_at(file).verified) is None:
        # Whoever adds it says what is wrong with it.
        return
    for found in look(data / SNAPSHOTS):
        there = found.verified
        if there and found.path.suffix == ".nbs" and _order(there) > _order(given):
            complain(
                f"{file}: at {_place(given.head.position)}, allowed: {found.path.name}'s "
                f"{_place(there.head.position)} or later; the log may no longer have what comes "
                "between.  --force restores it all the same"
            )
            raise typer.Exit(EXIT_REFUSED)


def _order(verified: Any) -> tuple[int, int]:
    position = verified.head.position
    return position.epoch, position.sequence


@log_app.command("verify")
def verify_command(data: DataFolder, as_json: AsJson = False) -> None:
    """Read the snapshots and the local log in a data folder, and say what is wrong.

    No entry is changed.  The log of a server that runs is in use and is not read.  The exit code
    is 1 when something is damaged.

    Example:

      nextbest log verify /var/lib/nextbest
    """
    from nextbest.server.log.snapshot import look

    folder = data / SNAPSHOTS
    found = look(folder) if folder.is_dir() else []
    rows = [_snapshot_row(each.path, each.verified, each.why) for each in found]
    wrong = any(each.why and each.path.suffix == ".nbs" for each in found)
    if (data / DATABASE).exists():
        row, sound = asyncio.run(_verify_log(data / DATABASE))
        rows.append(row)
        wrong = wrong or not sound
    if as_json:
        show_json([dict(zip(_VERIFY_COLUMNS, row, strict=True)) for row in rows])
    elif rows:
        out().print(table(str(data), _VERIFY_COLUMNS, rows))
    else:
        out().print(f"{data}: neither a snapshot nor a log")
    if wrong:
        raise typer.Exit(EXIT_REFUSED)


@log_app.command("export")
def export_command(
    places: Annotated[
        list[Path],
        typer.Argument(
            help="A data folder; with --output also folders and files of records.",
            metavar="FOLDER",
            exists=True,
        ),
    ],
    output: Output = None,
    since: Since = "",
    until: Until = "",
    value: Values = None,
    candidates: Candidates = True,
    as_recorded: AsRecorded = False,
    key_file: KeyFile = "",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write decisions and what came of them to a Parquet file, or the log as JSON lines.

    With --output: one row for each decision recorded (records.share of the server), with what was
    asked and read, every candidate's fate, both propensities, and the outcomes that name it. Give
    the folders of all nodes at once: an outcome may have come to another node than its decision. A
    server may run meanwhile. Ids are pseudonyms, and attributes tagged pii are left out, unless
    --as-recorded. Damaged records are named and left out, and the exit code is 1 then.

    Without it: the mutations of a local log, each with its entry's position, the oldest first. The
    server must not run.

    Examples:

      nextbest log export /var/lib/nextbest -o decisions.parquet --value purchase.amount

      nextbest log export node-1/records node-2/records -o may.parquet --since 2026-05-01T00:00Z

      nextbest log export /var/lib/nextbest > mutations.jsonl
    """
    if output is not None:
        told = told_of(value or (), candidates, as_recorded, key_file)
        export_decisions(places, output, told, period_of(since, until), force, as_json)
        return
    given = {"--since": since, "--until": until, "--value": value, "--key-file": key_file}
    refuse_given(
        {**given, "--as-recorded": as_recorded, "--force": force},
        "--output FILE.parquet",
    )
    path = places[0] / DATABASE
    if len(places) > 1 or not path.exists():
        complain(
            f"{path}: no local log; a log in Redis is read with redis-cli XRANGE, and decision "
            "records are written to a file: --output FILE.parquet"
        )
        raise typer.Exit(EXIT_REFUSED)
    from nextbest.server.log.log import LogInUseError

    try:
        asyncio.run(_export(path))
    except LogInUseError as error:
        complain(f"{error}; stop it, or add -o FILE.parquet for its decision records")
        raise typer.Exit(EXIT_REFUSED) from error


@log_app.command("reseed")
def reseed_command(
    force: Annotated[
        bool, typer.Option("--force", help="Give up the entries that the log has.")
    ] = False,
    to: To = ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Start a wiped log anew from what one node has in memory.

    Ask the node that is furthest: `nextbest log status` shows the members' positions.  The
    others come back by themselves, and each adds what it has and the log lacks.

    Example:

      nextbest log reseed --to 10.0.0.7:7600
    """
    with connect(to) as client:
        answer = client.reseed_log(force=force)
    if as_json:
        show_json(answer)
    else:
        out().print(
            f"the log goes on at {_place(answer.position)}, from {answer.profiles:,} profiles"
        )


_VERIFY_COLUMNS = ("file", "state", "position", "taken", "bytes#")


def _show_status(status: log_pb2.GetLogStatusResponse, digest: bool) -> None:
    console = out()
    console.print(f"{status.kind} log at {status.place}: {status.state}")
    if status.reason:
        console.print(f"  why: {status.reason}")
    rows = list(_status_rows(status))
    if digest:
        rows.append(("digest", f"{status.digest_events:016x} {status.digest_rows:016x}"))
    console.print(table(status.member, ("", ""), rows))
    if status.members:
        members = [
            (
                f"{member.name} (coordinates)"
                if member.name == status.lease.holder
                else member.name,
                _place(member.position),
                _place(member.snapshot),
                f"{_clock(member.now_ms * 1_000)}",
                member.address,
            )
            for member in status.members
        ]
        console.print(
            table("members", ("member", "position", "snapshot", "last seen", "address"), members)
        )
    for one in status.refused_playbooks:
        console.print(f"generation {one.generation} cannot be held by this node: {one.why}")
    for lost in status.lost_ids:
        console.print(f"could not be brought back: {lost}")


def _behind(staleness_ms: int) -> str:
    if staleness_ms == STALENESS_MAX_MS:
        return "unknown: this node has not seen the log's end"
    return f"{staleness_ms:,} ms"


def _status_rows(status: log_pb2.GetLogStatusResponse) -> Iterator[tuple[str, str]]:
    yield "applied up to", _place(status.position)
    yield "log's end, when last connected", _place(status.end)
    yield f"on {status.replicas} replicas up to", _place(status.committed)
    yield "behind the log by at most", _behind(status.staleness_ms)
    if status.HasField("lease_left_ms"):
        left_ms = status.lease_left_ms
        holds = (
            f"for {left_ms:,} ms, renewed each second" if left_ms else "no: the lease has run out"
        )
        yield "decides by consents", holds
    yield "applied here, not in the log yet", f"{status.ahead:,} mutations"
    yield (
        "REPLICATED",
        f"refused: {status.replicated_refused}" if (status.replicated_refused) else "taken",
    )
    snapshot = _place(status.snapshot)
    if status.snapshot_at_us:
        snapshot += f", taken {_clock(status.snapshot_at_us)}"
    yield "newest snapshot", snapshot
    yield "waiting for a playbook", f"{status.parked:,} mutations"
    if status.budget_ledgers:
        yield "ledgers of budgets", f"{status.budget_ledgers:,} of {status.budget_ledgers_max:,}"
    yield "skipped, unreadable", f"{status.dead_letters:,} entries"
    yield "lost branches left", f"{status.divergences:,}"
    if status.dropped:
        yield "dropped unreplicated (log.retained_bytes_max)", f"{status.dropped:,} entries"
    if status.purged:
        yield "purged of erased people", f"{status.purged:,} mutations"
    if status.horizon_ms:
        yield "event ids from", _clock(status.horizon_ms * 1_000)


def _snapshot_row(path: Path, verified: Any, why: str) -> tuple[str, ...]:
    if verified is None:
        return (path.name, f"damaged: {why}", "", "", f"{path.stat().st_size:,}")
    head = verified.head
    state = "sound" if path.suffix == ".nbs" else f"sound, set aside as {path.suffix[1:]}"
    return (
        path.name,
        state,
        _place(head.position),
        _clock(head.taken_at_us),
        f"{verified.bytes:,}",
    )


async def _verify_log(path: Path) -> tuple[tuple[str, ...], bool]:
    """The row of a local log, and whether it is sound."""
    from nextbest.server.log.log import LogInUseError

    size = f"{path.stat().st_size:,}"
    try:
        state, last, sound = await _read_log(path)
    except LogInUseError as error:
        return (path.name, f"in use by process {error.pid}, not read", "", "", size), True
    return (path.name, state, _place(last), "", size), sound


async def _read_log(path: Path) -> tuple[str, common_pb2.Position, bool]:
    """What is wrong with a local log, in words; its last entry; and whether it is sound."""
    from nextbest.server.log.contents import unpack
    from nextbest.server.log.log import LogError

    entries = 0
    last = common_pb2.Position()
    faults: list[str] = []
    async for record in _records(path):
        expected = (last.epoch, last.sequence + 1)
        if entries and (record.epoch, record.sequence) != expected and record.sequence:
            faults.append(f"{expected[0]}-{expected[1]} is missing")
        try:
            nonce = unpack(record).nonce
        except LogError as error:
            faults.append(str(error))
            nonce = 0
        last = common_pb2.Position(epoch=record.epoch, sequence=record.sequence, nonce=nonce)
        entries += 1
    state = f"{entries:,} entries, " + ("; ".join(faults[:3]) if faults else "sound")
    if len(faults) > 3:
        state += f" and {len(faults) - 3} more faults"
    return state, last, not faults


async def _export(path: Path) -> None:
    from nextbest.server.log.contents import unpack
    from nextbest.server.log.log import LogError

    async for record in _records(path):
        place = f"{record.epoch}-{record.sequence}"
        try:
            contents = unpack(record)
        except LogError as error:
            complain(str(error))
            continue
        if contents.kind == "batch":
            for mutation in mutation_pb2.MutationBatch.FromString(contents.body).mutations:
                content = MessageToDict(mutation, preserving_proto_field_name=True)
                show_json({"position": place, **content})
    sys.stdout.flush()


async def _records(path: Path) -> Any:
    from nextbest.server.log.settings import BackendSettings
    from nextbest.server.log.sqlite import SqliteLog

    log = SqliteLog(str(path), BackendSettings())
    try:
        await log.connect()
        after = (0, 0)
        while records := await log.read(after, 0):
            for record in records:
                yield record
            after = (records[-1].epoch, records[-1].sequence)
    finally:
        await log.close()


def _receive(pieces: Iterator[bytes], output: Path) -> None:
    """Write a file whole or not at all."""
    temporary = output.with_name(output.name + ".new")
    # People's data: for its owner alone.
    with open(temporary, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        for piece in pieces:
            file.write(piece)
    temporary.replace(output)


def _place(position: common_pb2.Position) -> str:
    return f"{position.epoch}-{position.sequence}" if position.epoch else "nothing"


def _clock(us: int) -> str:
    return datetime.fromtimestamp(us / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
