"""Compiles a playbook: files in, a plan or faults out.  Pure: no clock, no disk, no network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from nextbest.core.playbook.plan import Attribute, Field, Plan, Reading, ValueType
from nextbest.core.playbook.watch import watch
from nextbest.server.playbook import (
    consent,
    contact,
    evaluate,
    experiments,
    offers,
    rules,
    triggers,
)
from nextbest.server.playbook.canonical import plan_hash
from nextbest.server.playbook.cases import Case, read_cases
from nextbest.server.playbook.cycles import check_cycles
from nextbest.server.playbook.faults import Fault, Faults
from nextbest.server.playbook.read import Playbook, read_playbook
from nextbest.server.playbook.scope import Checker, Scope, World, make_scope
from nextbest.server.playbook.tables import (
    EXPOSURE,
    STAGE_ATTRIBUTE,
    Tables,
    declare_counters,
    schema_tables,
)


@dataclass(frozen=True, slots=True)
class Compiled:
    """A compiled playbook.  `plan` is None when one of `faults` is an error.

    `checker` compiles further expressions over a stored person, with the plan's inputs.
    """

    plan: Plan | None
    faults: tuple[Fault, ...]
    tests: tuple[Case, ...] = ()
    checker: Checker | None = None


def compile_playbook(files: Mapping[str, bytes]) -> Compiled:
    """Compile the files of a playbook's folder, by their path in it.

    Never raises for any content: what is wrong is in `faults`, all at once, by file and line.
    """
    faults = Faults()
    playbook = read_playbook(files, faults)
    if not playbook.readable:
        return Compiled(None, faults.sorted())
    tables = schema_tables(playbook, faults)
    declare_counters(playbook, tables, faults)
    fields = offers.action_attributes(playbook, faults)
    readings = experiments.readings(playbook, faults)
    scope = make_scope(playbook, tables, fields, readings, evaluate.make_checker, faults)
    triggers.know_names(playbook, scope)
    rules.visible_counters(playbook, scope)
    plan = _plan(playbook, tables, scope, fields, readings)
    tests = read_cases(playbook, plan, faults)
    if not faults.errors():
        triggers.check(plan, playbook, faults)
    if faults.errors():
        return Compiled(None, faults.sorted())
    plan = dataclasses.replace(plan, hash=plan_hash(plan), watch=watch(plan))
    return Compiled(plan, faults.sorted(), tests, scope.checkers[World.QUERY])


def _plan(
    playbook: Playbook,
    tables: Tables,
    scope: Scope,
    fields: tuple[Field, ...],
    readings: tuple[Reading, ...],
) -> Plan:
    segments = rules.segments(playbook, scope)
    scorecards = rules.scorecards(playbook, scope)
    grades = rules.grades(playbook, scope)
    stages, transitions = rules.stages(playbook, scope)
    holdouts = experiments.holdouts(playbook, scope)
    trials = experiments.experiments(playbook, scope)
    check_cycles(playbook, scope, segments, scorecards, grades, transitions, trials)
    actions = offers.actions(playbook, fields, scope)
    placements = offers.placements(playbook, actions, fields, scope, evaluate.holds)
    policy = contact.policy(playbook, actions, placements, scope)
    attributes = tuple(tables.attributes)
    if stages:
        attributes += (Attribute(STAGE_ATTRIBUTE, ValueType.STRING),)
    plan = Plan(
        hash=b"",
        attributes=attributes,
        events=tuple(tables.events),
        counters=tuple(tables.counters),
        context=tuple(tables.context),
        inputs=tuple(scope.inputs),
        conditions=tuple(scope.conditions),
        expressions=tuple(scope.expressions),
        segments=segments,
        scorecards=scorecards,
        grades=grades,
        stages=stages,
        transitions=transitions,
        stage_attribute=len(attributes) - 1 if stages else -1,
        action_attributes=fields,
        actions=policy.actions,
        placements=policy.placements,
        holdouts=holdouts,
        experiments=trials,
        readings=readings,
        exposure=tables.event_index.get(EXPOSURE, -1) if trials else -1,
        contact=policy.rules,
        time_zone=policy.time_zone,
        budgets=policy.budgets,
        reservations=policy.reservations,
        triggers=triggers.triggers(playbook, segments, grades, scope),
    )
    return consent.with_consents(plan, playbook, scope)
