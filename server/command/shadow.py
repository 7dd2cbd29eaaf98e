"""`nextbest shadow`: a draft that decides beside the active playbook, without effect."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from typing import Annotated

import typer

from nextbest.server.command.console import (
    ADDRESS,
    EXIT_REFUSED,
    AsJson,
    To,
    complain,
    connect,
    out,
    show_json,
)
from nextbest.server.command.effect import effect_json, show_effect, warn_of_few
from nextbest.server.command.publishing import show_changes, show_faults
from nextbest.server.playbook import scalars
from nextbest.server.playbook.limits import BUCKETS
from nextbest.server.record.whatif import Change, Effect
from nextbest.v1 import playbook_pb2

HASH_SHOWN = 12

shadow_app = typer.Typer(
    help="Try a draft on live traffic, beside the active playbook and without effect.",
    no_args_is_help=True,
    add_completion=False,
)
Hash = Annotated[
    str, typer.Option("--hash", help="Only if the draft has this hash, whole.", metavar="HASH")
]


@shadow_app.command("start")
def start_command(
    folder: Annotated[Path, typer.Argument(help="The draft's folder.", metavar="FOLDER")],
    share: Annotated[
        str, typer.Option("--share", help="Of the decisions, by their ids.", metavar="SHARE")
    ] = "100%",
    description: Annotated[
        str, typer.Option("--description", "-m", help="What changed and why.", metavar="TEXT")
    ] = "",
    to: To = ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Have a draft decide beside the active playbook.

    It decides what that node decides, again, in a process of its own: no answer, no caller and no
    counter sees a thing of it. It takes at most shadow.core_percent_max of a core; what does not
    fit is skipped, and counted. A shadow is of one node and ends with its server: start one on each
    node that is to try the draft. Another share changes it; another draft has to wait for a stop.

    Examples:

      nextbest shadow start my/draft -m "the club is worth less"

      nextbest shadow start my/draft --share 10%
    """
    from nextbest.server.playbook.folder import read_folder

    wanted = scalars.share(share)
    if not wanted:
        allowed = f"{scalars.SHARE_TEXT}, above 0"
        raise typer.BadParameter(f"{share!r}, allowed: {allowed}", param_hint="--share")
    files = read_folder(folder)
    with connect(to) as client:
        response = client.start_shadow(files, share=wanted / BUCKETS, description=description)
    if as_json:
        show_json(response)
        return
    show_faults(response.faults)
    out().print(f"the draft {response.playbook_hash} is shadowed; see `nextbest shadow status`")


@shadow_app.command("status")
def status_command(to: To = ADDRESS, as_json: AsJson = False) -> None:
    """Show what the draft would have changed so far, and what it costs.

    The figures are those of `nextbest whatif`, of live decisions. The exit code is 1 when there is
    no shadow.

    Examples:

      nextbest shadow status

      nextbest shadow status --json
    """
    with connect(to) as client:
        response = client.get_shadow()
    if as_json:
        show_json(_as_json(response))
    elif response.playbook_hash:
        _show(response)
    warn_of_few(effect_of(response))
    if not response.playbook_hash:
        complain("no shadow runs on this node; start one with `nextbest shadow start FOLDER`")
        raise typer.Exit(EXIT_REFUSED)


@shadow_app.command("stop")
def stop_command(hash: Hash = "", to: To = ADDRESS, as_json: AsJson = False) -> None:
    """End the shadow and drop its draft.

    Examples:

      nextbest shadow stop
    """
    with connect(to) as client:
        response = client.stop_shadow(hash)
    if as_json:
        show_json(response)
    else:
        out().print(f"the shadow of {response.playbook_hash} has ended")


@shadow_app.command("promote")
def promote_command(hash: Hash = "", to: To = ADDRESS, as_json: AsJson = False) -> None:
    """Publish exactly the draft that is shadowed, for all nodes, and end the shadow.

    Other nodes' shadows of it go on, beside what is active then: stop them there. With --hash
    nothing is published but the draft that was looked at; `nextbest shadow status --json` has it.

    Examples:

      nextbest shadow promote
    """
    with connect(to) as client:
        response = client.promote_shadow(hash or client.get_shadow().playbook_hash)
    if as_json:
        show_json(response)
        return
    show_changes(response.budgets)
    out().print(
        f"generation {response.generation} is active, hash {response.playbook_hash}; before it was "
        f"{response.previous}"
    )


def effect_of(response: playbook_pb2.GetShadowResponse) -> Effect:
    """What the draft would have changed, as `whatif` counts it."""
    effect = Effect(
        records=response.compared, changed=response.changed, incomplete=response.incomplete
    )
    effect.lacking.update({one.name: one.decisions for one in response.lacking})
    effect.failed.update({one.why: one.count for one in response.refusals})
    for action in response.by_action:
        key = action.placement, action.action, action.group
        effect.by_action[key] = Change(action.before, action.after)
    for group in response.by_group:
        effect.by_group[group.group] = Change(group.before, group.after)
    for segment in response.by_segment:
        effect.by_segment[segment.segment] = Change(segment.decisions, segment.changed)
    return effect


def _show(response: playbook_pb2.GetShadowResponse) -> None:
    console = out()
    started = response.started_at.ToDatetime(UTC)
    console.print(
        f"the draft {response.playbook_hash[:HASH_SHOWN]}, since {started:%Y-%m-%d %H:%M:%S} UTC, "
        f"of {response.share:.1%} of the decisions, now of {response.share_now:.2%}"
    )
    if response.description:
        console.print(response.description)
    console.print(
        f"{response.cpu_us_per_decision:.0f} us of CPU each, {response.core_share:.2%} of a core "
        f"with its start; {response.skipped:,} skipped, for which its CPU was not enough "
        "(shadow.core_percent_max)"
    )
    for one in response.against:
        console.print(f"{one.compared:,} compared with {one.playbook_hash[:HASH_SHOWN]}")
    if response.fault:
        complain(f"it decides nothing at present: {response.fault}")
    show_effect(effect_of(response))


def _as_json(response: playbook_pb2.GetShadowResponse) -> dict[str, object]:
    """The figures are always there, also those that are 0."""
    return {
        "playbook_hash": response.playbook_hash,
        "description": response.description,
        "started_at": response.started_at.ToJsonString() if response.playbook_hash else "",
        "share": response.share,
        "share_now": response.share_now,
        "skipped": response.skipped,
        "against": {one.playbook_hash: one.compared for one in response.against},
        "cpu_us_per_decision": response.cpu_us_per_decision,
        "cpu_s": response.cpu_s,
        "core_share": response.core_share,
        "fault": response.fault,
        "restarts": response.restarts,
        **effect_json(effect_of(response)),
    }
