"""What a draft would change, shown: of recorded decisions, and of those of a shadow."""

from __future__ import annotations

from dataclasses import asdict

from rich.table import Table

from nextbest.server.command.console import AGAIN, complain, counted, out, table
from nextbest.server.record.whatif import COMPARED_SHARE, NO_SEGMENT, Change, Effect, largest

SHOWN_MAX = 20
REFUSED = "request was refused, and is|requests were refused, and are left out"


def show_effect(effect: Effect) -> None:
    """What a draft would change, for people; no tables where nothing was compared."""
    share = effect.changed / effect.records if effect.records else 0.0
    decisions = counted(effect.records, "decision|decisions")
    out().print(
        f"{decisions}, {effect.changed:,} of them changed ({share:.1%}); "
        f"{effect.incomplete:,} left out, since the draft reads what was not recorded"
    )
    for name, count in effect.most_lacking()[:SHOWN_MAX]:
        out().print(f"{name} was not recorded: {counted(count, 'decision|decisions')}")
    if (more := len(effect.lacking) - SHOWN_MAX) > 0:
        out().print(f"and {more:,} more that were not recorded")
    if effect.refused:
        out().print(counted(effect.refused, REFUSED))
    if effect.again:
        out().print(counted(effect.again, AGAIN))
    for why, count in effect.failed.most_common(SHOWN_MAX):
        out().print(f"{count:,} refused by the draft: {why}")
    if not effect.records:
        return
    out().print(_actions(effect))
    out().print(_groups(effect))
    if set(effect.by_segment) - {NO_SEGMENT}:
        out().print(_segments(effect))


def warn_of_few(effect: Effect) -> None:
    """Say so where the decisions that were compared may not stand for all."""
    if 0 < effect.records < COMPARED_SHARE * effect.asked:
        share = effect.records / effect.asked
        complain(
            f"warning: {share:.1%} of the decisions could be compared: the others may be "
            "of another kind, and the figures are not those of all"
        )


def _actions(effect: Effect) -> Table:
    columns = ("placement", "action", "group", "before#", "after#", "more#")
    changes = largest(effect.by_action, SHOWN_MAX)
    rows = [(*key, *_numbers(change)) for key, change in changes]
    return table("propositions by action", columns, rows)


def _groups(effect: Effect) -> Table:
    changes = largest(effect.by_group, SHOWN_MAX)
    rows = [(key or "none", *_numbers(change)) for key, change in changes]
    return table("by group", ("group", "before#", "after#", "more#"), rows)


def _segments(effect: Effect) -> Table:
    rows = [
        (key or "none", f"{one.before:,}", f"{one.after:,}", f"{one.after / one.before:.1%}")
        for key, one in sorted(effect.by_segment.items())
    ]
    return table("by segment", ("segment", "decisions#", "changed#", "share#"), rows)


def _numbers(change: Change) -> tuple[str, str, str]:
    more = change.after - change.before
    return f"{change.before:,}", f"{change.after:,}", f"{more:+,}" if more else "0"


def effect_json(effect: Effect) -> dict[str, object]:
    """What a draft would change, for programs."""
    return {
        "records": effect.records,
        "changed": effect.changed,
        "incomplete": effect.incomplete,
        "lacking": dict(effect.most_lacking()),
        "failed": dict(effect.failed),
        "by_action": [
            {"placement": place, "action": action, "group": group} | asdict(change)
            for (place, action, group), change in sorted(effect.by_action.items())
        ],
        "by_group": {key: asdict(one) for key, one in sorted(effect.by_group.items())},
        "by_segment": {
            key: {"decisions": one.before, "changed": one.after}
            for key, one in sorted(effect.by_segment.items())
        },
    }
