"""What if: a draft decides what was recorded."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from pathlib import Path

from nextbest.core.playbook.plan import Factor, Plan
from nextbest.server.examples import LEADS, SHOP, THRIFTY
from nextbest.server.playbook.compile import compile_playbook
from nextbest.server.playbook.folder import read_folder
from nextbest.server.record.frames import Frame
from nextbest.server.record.outcomes import Outcomes
from nextbest.server.record.playbooks import Playbooks
from nextbest.server.record.whatif import Draft, Effect, shown, whatif
from nextbest.v1 import record_pb2
from tests.record.people import live, plan_of, recording, taken
from tests.record.test_replay import forged


def revalued(plan: Plan, action: str, value: float) -> Plan:
    """The plan with another value of an action."""
    actions = []
    for one in plan.actions:
        factors = list(one.factors)
        if one.name == action:
            factors[Factor.VALUE] = value
        actions.append(dataclasses.replace(one, factors=tuple(factors)))
    return dataclasses.replace(plan, actions=tuple(actions), hash=b"d" * 16)


def effect_of(found: list[Frame], draft: Plan, plan: Plan, folder: Path) -> Effect:
    """What a draft changes of some records, which are all that there are."""
    playbooks = Playbooks(folder, {plan.hash: plan})
    with closing(Outcomes(found)) as outcomes:
        return whatif(found, Draft(draft, playbooks), outcomes)


def test_the_same_playbook_changes_nothing(tmp_path: Path) -> None:
    plan = plan_of(SHOP)
    engine = recording(plan)
    live(engine, plan, 300)
    _, found = taken(engine)
    effect = effect_of(found, plan, plan, tmp_path)
    assert (effect.records, effect.changed, effect.incomplete, effect.again) == (300, 0, 0, 0)
    assert all(one.before == one.after for one in effect.by_action.values())


def test_a_draft_changes_what_it_would_have_changed_live(tmp_path: Path) -> None:
    """The same people and requests, decided by the draft from the start."""
    plan = plan_of(SHOP)
    draft = revalued(plan, "bestsellers", 1_000.0)
    before, after = recording(plan), recording(draft)
    live(before, plan, 400)
    live(after, draft, 400)
    _, old = taken(before)
    _, new = taken(after)
    effect = effect_of(old, draft, plan, tmp_path)
    assert effect.records == 400
    lists = [[shown(frame.record.response) for frame in frames] for frames in (old, new)]
    assert effect.changed == sum(one != other for one, other in zip(*lists, strict=True)) > 50
    for shown_before, side in ((lists[0], "before"), (lists[1], "after")):
        flat = [one for answer in shown_before for one in answer]
        for key, change in effect.by_action.items():
            assert getattr(change, side) == flat.count(key), (key, side)


def changed(folder: Path, *changes: tuple[str, str, str]) -> Plan:
    """A playbook of which files have one text for another."""
    files = read_folder(folder)
    for name, old, new in changes:
        assert old in files[name].decode()
        files[name] = files[name].replace(old.encode(), new.encode(), 1)
    compiled = compile_playbook(files)
    assert compiled.plan is not None, compiled.faults
    return compiled.plan


def test_what_a_draft_reads_and_was_not_recorded_is_left_out(tmp_path: Path) -> None:
    """And counted by what that is, once for each decision."""
    plan = plan_of(SHOP)
    sandals = "actions:\n  sandals: {eligibility: profile.shoe > 40 || profile.shoe < 9, value: 1}"
    draft = changed(
        SHOP,
        ("schema.yaml", "attributes:", "attributes:\n  shoe: int"),
        ("actions.yaml", "actions:", sandals),
    )
    engine = recording(plan)
    live(engine, plan, 100)
    _, found = taken(engine)
    effect = effect_of(found, draft, plan, tmp_path)
    assert effect.incomplete > 50
    assert effect.records + effect.incomplete == effect.asked == 100
    assert effect.lacking == {"profile.shoe": effect.incomplete}


def test_what_was_not_recorded_has_its_authors_name(tmp_path: Path) -> None:
    plan = plan_of(THRIFTY)
    draft = changed(
        THRIFTY,
        ("contact.yaml", "per: month", "per: day"),
        (
            "contact.yaml",
            "budgets:",
            "caps: {news: {count: impression, max: 3, window: 7d}}\nbudgets:",
        ),
    )
    engine = recording(plan)
    live(engine, plan, 100)
    _, found = taken(engine)
    effect = effect_of(found, draft, plan, tmp_path)
    assert {"budget postage", "contact rule news"} <= set(effect.lacking)
    assert max(effect.lacking.values()) <= effect.incomplete
    twice = Effect()
    for _ in range(2):
        twice.merge(effect, 10)
        twice.merge(Effect(again=2, refused=3), 10)
    assert (twice.again, twice.refused) == (4, 6)
    assert twice.most_lacking() == [(name, 2 * n) for name, n in effect.most_lacking()]


def test_what_was_refused_is_told(tmp_path: Path) -> None:
    plan = plan_of(SHOP)
    engine = recording(plan)
    live(engine, plan, 20)
    _, found = taken(engine)
    record = record_pb2.DecisionRecord()
    record.CopyFrom(found[0].record)
    record.ClearField("response")
    record.error.code = 3
    effect = effect_of([*found[1:], forged(record)], plan, plan, tmp_path)
    assert (effect.records, effect.refused, effect.asked) == (19, 1, 19)


def test_what_a_draft_refuses_is_told(tmp_path: Path) -> None:
    plan, draft = plan_of(SHOP), plan_of(LEADS)
    engine = recording(plan)
    live(engine, plan, 20)
    _, found = taken(engine)
    effect = effect_of(found, draft, plan, tmp_path)
    assert sum(effect.failed.values()) == 20
    assert "placements" in next(iter(effect.failed))


def test_a_decision_made_again_counts_once(tmp_path: Path) -> None:
    """Another node has made it again, so that the files have each twice."""
    plan = plan_of(SHOP)
    engine = recording(plan)
    live(engine, plan, 50)
    _, found = taken(engine)
    again = []
    for one in found:
        record = record_pb2.DecisionRecord()
        record.CopyFrom(one.record)
        record.decided_at_us += 1
        again.append(forged(record))
    effect = effect_of([*found, *again], plan, plan, tmp_path)
    assert (effect.records, effect.changed, effect.again) == (50, 0, 50)
    once = effect_of(found, plan, plan, tmp_path)
    assert effect.by_action == once.by_action


def test_copies_of_a_record_count_once(tmp_path: Path) -> None:
    """As where a file is given besides its folder."""
    plan = plan_of(SHOP)
    engine = recording(plan)
    live(engine, plan, 50)
    _, found = taken(engine)
    effect = effect_of([*found, *found], plan, plan, tmp_path)
    assert (effect.records, effect.changed, effect.again) == (50, 0, 50)
