"""Feedback of two logs: what one policy earned, and what another was seen to do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nextbest.server.offpolicy.analysis import Outcomes
from nextbest.server.offpolicy.columns import Coded
from nextbest.server.offpolicy.errors import FeedbackError
from nextbest.server.offpolicy.feedback import Booleans, Feedback, Floats, Integers
from nextbest.server.offpolicy.log_file import LogFile


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """Feedback whose evaluated policy is another log's, and that log's own outcomes.

    left_out: rows of that log in slots that the feedback does not have.
    """

    feedback: Feedback
    on_policy: Outcomes | None
    left_out: int


def observe(log: LogFile, other: LogFile) -> Observed:
    """Evaluate, from `log`, the policy that chose as `other` did.

    In each slot it takes each action with the share with which the other log has it, whoever the
    person is: the mean of a policy that looks at people, and of one that has learnt meanwhile.

    The mean of the other log's `propensity_score` over the rows where it chose an action would
    not do, although it looks exact.  Those rows are there because the action was chosen, the more
    of them the likelier it was (length bias): the mean is E[p^2] / E[p], over the E[p] that is
    wanted wherever p differs from one decision to the next.

    The shares are taken as they are: intervals do not know that they are of a sample.
    """
    if log.reward is None or log.propensity is None:
        raise FeedbackError("log", "no reward or no propensity", "a log with both")
    actions = _union(log.action, other.action)
    slot = _recoded(other.slot, log.slot.names)
    known = slot >= 0
    evaluation = _shares(_recoded(other.action, actions)[known], slot[known], actions, log.slot)
    feedback = Feedback(
        action=_recoded(log.action, actions),
        slot=log.slot.code,
        reward=log.reward,
        propensity_logging=log.propensity,
        context=log.context,
        evaluation=evaluation,
        evaluation_row=log.slot.code,
        actions=actions,
        slots=log.slot.names,
        cluster=log.cluster,
    )
    return Observed(feedback, _outcomes(other, known), int(np.sum(~known)))


def _union(first: Coded, second: Coded) -> tuple[str, ...]:
    names = {*first.names, *second.names}
    return tuple(sorted(names, key=lambda name: (len(name), name)))


def _recoded(column: Coded, names: tuple[str, ...]) -> Integers:
    """The column by the places of its names in `names`; -1 for those that are not there."""
    place = {name: number for number, name in enumerate(names)}
    found = np.array([place.get(name, -1) for name in column.names], dtype=np.int64)
    return found[column.code]


def _shares(action: Integers, slot: Integers, actions: tuple[str, ...], slots: Coded) -> Floats:
    """(slots x actions) the share of each action in each slot."""
    size = len(slots.names), len(actions)
    counts = np.zeros(size)
    np.add.at(counts, (slot, action), 1.0)
    filled = counts.sum(axis=1, keepdims=True)
    if not filled.all():
        empty = slots.names[int(np.argmin(filled))]
        raise FeedbackError(f"policy log: slot {empty}", "no rows", "at least one for each slot")
    shares: Floats = counts / filled
    return shares


def _outcomes(other: LogFile, known: Booleans) -> Outcomes | None:
    if other.reward is None or known.sum() < 2:
        return None
    cluster = None if other.cluster is None else other.cluster[known]
    return Outcomes(other.reward[known], cluster)
