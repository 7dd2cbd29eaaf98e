"""Cautions: why the figures of an analysis may be worse than their intervals say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from nextbest.server.offpolicy.estimate import Estimate
from nextbest.server.offpolicy.estimators import plain
from nextbest.server.offpolicy.feedback import Feedback
from nextbest.server.offpolicy.interval import gather, normal
from nextbest.server.offpolicy.support import Missing
from nextbest.server.offpolicy.weights import weights

# Below this share of the rows, or this many, the normal interval is known to be too narrow.
EFFECTIVE_SHARE_MIN: Final = 0.01
EFFECTIVE_ROWS_MIN: Final = 100
# Standard errors between the weights' mean and what is expected of it; chance does 1 in 16,000.
ERRORS_MAX: Final = 4.0
SHOWN_MAX: Final = 5


def cautions(feedback: Feedback, ips: Estimate, missing: Sequence[Missing]) -> tuple[str, ...]:
    """Each caution as a sentence."""
    return (*_support(missing), *_size(feedback, ips), *_mean(feedback, missing))


def _support(missing: Sequence[Missing]) -> Iterator[str]:
    if missing:
        mass = math.fsum(one.mass for one in missing)
        named = [f"{one.action} in slot {one.slot} ({one.mass:.2%})" for one in missing]
        more = len(named) - SHOWN_MAX
        text = ", ".join(named[:SHOWN_MAX]) + (f" and {more:,} more" if more > 0 else "")
        yield (
            f"support is missing for {mass:.2%} of what the policy does, {text}, which the log "
            "does not have there: ips counts that as 0, snips as the rest, and dm and dr as the "
            "reward model guesses"
        )


def _size(feedback: Feedback, ips: Estimate) -> Iterator[str]:
    size = ips.effective_size or 0.0
    if size < max(EFFECTIVE_ROWS_MIN, EFFECTIVE_SHARE_MIN * feedback.rows):
        yield (
            f"the effective sample size is {size:,.0f} of {feedback.rows:,} rows: the intervals of "
            "ips and snips are too narrow"
        )


def _mean(feedback: Feedback, missing: Sequence[Missing]) -> Iterator[str]:
    found = weights(feedback)
    wanted = 1 - math.fsum(one.mass for one in missing)
    error = normal(gather(plain(found.each), feedback.cluster), 0.95).standard_error
    if abs(found.mean - wanted) > ERRORS_MAX * error + 1e-9:
        yield (
            f"the mean weight is {found.mean:.3g} where {wanted:.3g} is expected: the propensities "
            "are not what the log did, or a few rows stand for most"
        )
