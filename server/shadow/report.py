"""The report: what a run has found, as the contract has it."""

from __future__ import annotations

from nextbest.server.record.whatif import Effect
from nextbest.server.shadow.run import Run
from nextbest.v1 import playbook_pb2


def report(run: Run) -> playbook_pb2.GetShadowResponse:
    """All of it, and what it costs."""
    effect = run.effect
    response = playbook_pb2.GetShadowResponse(
        playbook_hash=run.hash.hex(),
        description=run.request.description,
        share=run.budget.asked,
        share_now=run.budget.share,
        compared=effect.records,
        changed=effect.changed,
        incomplete=effect.incomplete,
        skipped=run.skipped,
        failed=effect.failed.total(),
        against=[
            playbook_pb2.ShadowAgainst(playbook_hash=hash_bytes.hex(), compared=count)
            for hash_bytes, count in run.against.items()
        ],
        cpu_us_per_decision=1e6 * run.deciding_s / run.decided if run.decided else 0.0,
        cpu_s=run.cpu_s,
        core_share=run.cpu_s / run.age_s,
        fault=run.fault,
        restarts=run.restarts,
    )
    response.started_at.FromMicroseconds(run.started_at_us)
    _add(response, effect)
    return response


def _add(response: playbook_pb2.GetShadowResponse, effect: Effect) -> None:
    for why, count in effect.failed.most_common():
        response.refusals.add(why=why, count=count)
    for name, count in effect.most_lacking():
        response.lacking.add(name=name, decisions=count)
    for (placement, action, group), change in sorted(effect.by_action.items()):
        response.by_action.add(
            placement=placement,
            action=action,
            group=group,
            before=change.before,
            after=change.after,
        )
    for name, change in sorted(effect.by_group.items()):
        response.by_group.add(group=name, before=change.before, after=change.after)
    for name, change in sorted(effect.by_segment.items()):
        response.by_segment.add(segment=name, decisions=change.before, changed=change.after)
