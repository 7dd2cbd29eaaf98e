"""The analysis: every estimator over one feedback, and what should be known of the result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from nextbest.server.offpolicy import estimators
from nextbest.server.offpolicy.cautions import cautions
from nextbest.server.offpolicy.errors import FeedbackError
from nextbest.server.offpolicy.estimate import Estimate, Trust, estimate
from nextbest.server.offpolicy.feedback import Feedback, Floats, Integers
from nextbest.server.offpolicy.reward_model import predict
from nextbest.server.offpolicy.support import Missing, missing
from nextbest.server.offpolicy.weights import clip, weights


@dataclass(frozen=True, slots=True)
class Settings:
    """How to evaluate.

    clip: the largest weight that clipped IPS and DR use, over 0; None: the square root of the
        number of rows, with which the bias goes away as rows come (Ionides, 2008).
    folds, model, seed: of the reward model.
    """

    clip: float | None = None
    model: str = "linear"
    folds: int = 5
    seed: int = 0
    trust: Trust = field(default_factory=Trust)


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What came of the evaluated policy where it ran itself: the answer the others estimate."""

    reward: Floats
    cluster: Integers | None = None


@dataclass(frozen=True, slots=True)
class Analysis:
    """What is known of the evaluated policy; `estimates` by the names of ESTIMATORS."""

    rows: int
    actions: int
    slots: int
    clip: float
    settings: Settings
    estimates: Mapping[str, Estimate]
    missing: tuple[Missing, ...]
    cautions: tuple[str, ...]

    @property
    def missing_mass(self) -> float:
        """The share of the evaluated policy's choices of which the log cannot tell."""
        return math.fsum(one.mass for one in self.missing)

    def values(self) -> dict[str, float | None]:
        """Every number that a requirement may name: "dr.lower", "support.missing"."""
        found: dict[str, float | None] = {"support.missing": self.missing_mass}
        for name, one in self.estimates.items():
            found |= {f"{name}.{field}": value for field, value in asdict(one).items()}
        return found

    def as_dict(self) -> dict[str, object]:
        """The analysis as JSON has it."""
        trust = self.settings.trust
        return {
            "rows": self.rows,
            "actions": self.actions,
            "slots": self.slots,
            "clip": self.clip,
            "level": trust.level,
            "bootstrap": trust.resamples,
            "model": self.settings.model,
            "estimates": {name: asdict(one) for name, one in self.estimates.items()},
            "support": {
                "missing": self.missing_mass,
                "actions": [asdict(one) for one in self.missing],
            },
            "warnings": list(self.cautions),
        }


def analyse(
    feedback: Feedback,
    settings: Settings | None = None,
    on_policy: Outcomes | None = None,
    predicted: Floats | None = None,
    lacking: tuple[Missing, ...] | None = None,
) -> Analysis:
    """Evaluate a policy from feedback.

    on_policy: outcomes of the evaluated policy itself, where there are some, to compare with.
    predicted: (rows x actions) rewards of a model of the caller's instead of ours; it must not
    have seen the row's own reward.
    lacking: what the log could not have, where the caller knows it of each row; else it is found
    by what was never logged.
    """
    settings = settings or Settings()
    most = _clip(feedback, settings)
    if predicted is None:
        predicted = predict(feedback, settings.model, settings.folds, settings.seed)
    _check_shape(feedback, predicted)
    estimates = _estimates(feedback, most, predicted, settings.trust)
    if on_policy is not None:
        terms = estimators.plain(on_policy.reward)
        estimates["on_policy"] = estimate(terms, settings.trust, on_policy.cluster)
    ordered = {name: estimates[name] for name in estimators.ESTIMATORS if name in estimates}
    lacking = missing(feedback) if lacking is None else lacking
    return Analysis(
        feedback.rows,
        len(feedback.actions),
        len(feedback.slots),
        most,
        settings,
        ordered,
        lacking,
        cautions(feedback, ordered["ips"], lacking),
    )


def _clip(feedback: Feedback, settings: Settings) -> float:
    most = math.sqrt(feedback.rows) if settings.clip is None else settings.clip
    if not (math.isfinite(most) and most > 0):
        raise FeedbackError("clip", most, "a finite number over 0")
    return most


def _check_shape(feedback: Feedback, predicted: Floats) -> None:
    allowed = feedback.rows, len(feedback.actions)
    if predicted.shape != allowed:
        raise FeedbackError("predicted", f"shape {predicted.shape}", f"{allowed}")


def _estimates(
    feedback: Feedback, most: float, predicted: Floats, trust: Trust
) -> dict[str, Estimate]:
    whole = weights(feedback)
    clipped = clip(whole, most)
    terms = {
        "logged": estimators.plain(feedback.reward),
        "ips": estimators.ips(feedback, whole),
        "clipped_ips": estimators.ips(feedback, clipped),
        "snips": estimators.snips(feedback, whole),
        "dm": estimators.dm(feedback, predicted),
        "dr": estimators.dr(feedback, clipped, predicted),
    }
    terms["gain"] = estimators.gain(terms["dr"], feedback.reward)
    return {name: estimate(one, trust, feedback.cluster) for name, one in terms.items()}
