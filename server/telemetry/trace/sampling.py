"""Sampling: which calls are traced, by the standard's variables, as the core decides it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from nextbest.server.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.sampling import Sampler

SAMPLER, SAMPLER_ARG = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
DEFAULT = "parentbased_always_on"
RATIOS = {"always_on": 1.0, "always_off": 0.0, "traceidratio": None}
PARENT_BASED = "parentbased_"
SAMPLERS = (*RATIOS, *(PARENT_BASED + name for name in RATIOS))


class Sampling(NamedTuple):
    """ratio: how many calls of 1 are sampled that have no caller's decision, or all of them
    where `parent_based` is false; `given`: whether somebody has said so."""

    ratio: float
    parent_based: bool
    given: bool = False

    def sampler(self) -> Sampler:
        """The same for spans that no call makes."""
        # Imported here: who exports nothing needs no SDK.
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

        root = TraceIdRatioBased(self.ratio)
        return ParentBased(root) if self.parent_based else root


def sampling(environment: Mapping[str, str]) -> Sampling:
    """What OTEL_TRACES_SAMPLER and its argument say; raises ConfigError for what they cannot."""
    given = environment.get(SAMPLER, "").strip().lower()
    name = given or DEFAULT
    if name not in SAMPLERS:
        raise ConfigError([f"{SAMPLER}: {name!r}, allowed: {', '.join(SAMPLERS)}"])
    ratio = RATIOS[name.removeprefix(PARENT_BASED)]
    ratio = _ratio(environment) if ratio is None else ratio
    return Sampling(ratio, name.startswith(PARENT_BASED), bool(given))


def _ratio(environment: Mapping[str, str]) -> float:
    text = environment.get(SAMPLER_ARG, "").strip() or "1.0"
    try:
        ratio = float(text)
        if not 0 <= ratio <= 1:
            raise ValueError
    except ValueError:
        raise ConfigError([f"{SAMPLER_ARG}: {text!r}, allowed: a number from 0 to 1"]) from None
    return ratio
