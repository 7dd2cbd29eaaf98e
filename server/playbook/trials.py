"""The author's language of experiments.yaml, as tables; `model` has the other files'."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from nextbest.core.playbook.plan import BucketHash
from nextbest.server.playbook import limits
from nextbest.server.playbook.faults import Faults
from nextbest.server.playbook.shapes import (
    MISSING,
    Choice,
    Expression,
    Flag,
    Many,
    Mapping,
    Missing,
    Name,
    Record,
    Schema,
    Shape,
    Share,
    Spec,
    Text,
    Whole,
    Words,
    key,
)
from nextbest.server.playbook.source import Kind, Node

IDENTITY = "identity"
HASHES = {each.name.lower(): each for each in BucketHash}

_NAME = Name()
_FIELD_NAME = Name(reserved=True)
_SALT = Words(limits.TITLE_BYTES_MAX)
_KEY = Name(
    pattern=re.compile(r"identity|(profile|context)\.[a-z][a-z0-9_]{0,63}"),
    allowed="identity, profile.NAME or context.NAME",
)
_KEYS = Many(_KEY, limits.KEYS_MAX, least=1, single=True)
_RANGE = Many(Share(), 2, least=2)
_KEYS_DOC = "the bucketing key, or some that stand in for one another; identity when not given"
_HASH = Choice(HASHES)
_HASH_DOC = "how keys become buckets; growthbook_1 and growthbook_2 are GrowthBook's versions"


@dataclass(frozen=True)
class Ranges(Shape):
    """A variant's weight, or the ranges of buckets that it has."""

    def read(self, node: Node, what: str, faults: Faults) -> Any:
        """See Shape; an int is a weight, a tuple has pairs."""
        if node.kind is not Kind.LIST:
            return Share().read(node, what, faults)
        return Many(_RANGE, limits.RANGES_MAX, least=1).read(node, what, faults)

    def schema(self) -> Schema:
        """See Shape."""
        ranges = Many(_RANGE, limits.RANGES_MAX, least=1).schema()
        return {"anyOf": [*Share().schema()["anyOf"], ranges]}

    def text(self) -> str:
        """See Shape."""
        return "a share, or a list of ranges such as [[0, 0.1], [0.5, 0.6]]"


@dataclass(frozen=True)
class Shares(Mapping):
    """A mapping of which a value with a fault is kept, as MISSING: the sum is not known then."""

    def read(self, node: Node, what: str, faults: Faults) -> dict[Text, Any] | Missing:
        """See Shape."""
        found = super().read(node, what, faults)
        if isinstance(found, Missing):
            return found
        names = [Text.at(name.text, name) for name, _ in node.entries]
        return {name: found.get(name, MISSING) for name in names}


@dataclass(frozen=True)
class Variants(Shape):
    """Names alone, of equal weights, or each with a weight; with `ranges`, or its ranges."""

    ranges: bool = False

    def read(self, node: Node, what: str, faults: Faults) -> dict[Text, Any] | Missing:
        """See Shape; None is an equal weight, MISSING one with a fault."""
        if node.kind is not Kind.LIST:
            return self._mapping().read(node, what, faults)
        names = self._names().read(node, what, faults)
        return names if isinstance(names, Missing) else dict.fromkeys(names)

    def schema(self) -> Schema:
        """See Shape."""
        return {"anyOf": [self._names().schema(), self._mapping().schema()]}

    def text(self) -> str:
        """See Shape."""
        return f"{self._names().text()}, or {self._mapping().text()}"

    def _mapping(self) -> Mapping:
        item = Ranges() if self.ranges else Share()
        return Shares("variant", item, limits.VARIANTS_MAX)

    def _names(self) -> Many:
        return Many(_NAME, limits.VARIANTS_MAX, least=2)


@dataclass(slots=True, kw_only=True)
class LayerSpec(Spec):
    """Experiments that exclude one another."""

    salt: Text | None = key(_SALT, "mixed into the key; the layer's name when not given")
    hash: BucketHash = key(_HASH, _HASH_DOC, default=BucketHash.XXH3)
    bucket_by: tuple[Text, ...] = key(_KEYS, _KEYS_DOC, default=())


@dataclass(slots=True, kw_only=True)
class HoldoutSpec(Spec):
    """People who are kept out, to see what all the rest together brings."""

    share: int = key(Share(), "the share of people", required=True)
    of: str = key(
        Choice({"experiments": "experiments", "actions": "actions"}),
        "what they are kept out of: experiments, or all actions but fallbacks as well",
        default="experiments",
    )
    salt: Text | None = key(_SALT, "mixed into the key; the holdout's name when not given")
    hash: BucketHash = key(_HASH, _HASH_DOC, default=BucketHash.XXH3)
    bucket_by: tuple[Text, ...] = key(_KEYS, _KEYS_DOC, default=())


@dataclass(slots=True, kw_only=True)
class MembershipSpec(Spec):
    """An experiment's part of a layer."""

    name: Text = key(_NAME, "the layer", required=True)
    range: tuple[int, ...] = key(_RANGE, "its part of the layer, from and to", required=True)


@dataclass(slots=True, kw_only=True)
class ExperimentSpec(Spec):
    """An experiment."""

    variants: dict[Text, Any] | None = key(
        Variants(ranges=True),
        "the variants: their names alone, of equal weights, or with weights or ranges",
    )
    factors: dict[Text, dict[Text, int | None]] | None = key(
        Mapping("factor", Variants(), limits.FACTORS_MAX),
        "instead of variants: factors with their levels, every combination is a variant",
    )
    earlier: tuple[dict[Text, int], ...] = key(
        Many(Shares("variant", Share(), limits.VARIANTS_MAX), limits.PHASES_MAX),
        "the weights that it had before, oldest first: nobody moves who need not",
        default=(),
    )
    audience: tuple[Text, ...] = key(
        Many(Expression(what="a condition in CEL"), limits.CONDITIONS_MAX, single=True),
        "who takes part: a condition, or a list of them; everybody when not given",
        default=(),
    )
    coverage: int = key(
        Share(), "the share of the audience that takes part", default=limits.BUCKETS
    )
    bucket_by: tuple[Text, ...] = key(_KEYS, _KEYS_DOC, default=())
    salt: Text | None = key(_SALT, "mixed into the key; the experiment's name when not given")
    hash: BucketHash = key(_HASH, _HASH_DOC, default=BucketHash.XXH3)
    layer: MembershipSpec | None = key(
        Record("layer", MembershipSpec), "experiments of one layer exclude one another"
    )
    holdouts: tuple[Text, ...] | None = key(
        Many(_NAME, limits.HOLDOUTS_MAX), "the holdouts that keep people out; all when not given"
    )
    sticky: bool = key(
        Flag(), "whether who was exposed keeps the variant, whatever changes", default=True
    )
    version: int = key(
        Whole(1, limits.VERSION_MAX), "a new one forgets earlier exposures", default=1
    )


@dataclass(slots=True, kw_only=True)
class ExperimentsFile(Spec):
    """experiments.yaml: experiments, their layers and holdouts."""

    experiments: dict[Text, ExperimentSpec] = key(
        Mapping(
            "experiment",
            Record("experiment", ExperimentSpec, one_of=("variants", "factors")),
            limits.EXPERIMENTS_MAX,
            _FIELD_NAME,
        ),
        "the experiments, read as experiment.NAME",
        factory=dict,
    )
    layers: dict[Text, LayerSpec] = key(
        Mapping("layer", Record("layer", LayerSpec), limits.LAYERS_MAX), "the layers", factory=dict
    )
    holdouts: dict[Text, HoldoutSpec] = key(
        Mapping(
            "holdout",
            Record("holdout", HoldoutSpec, short="share"),
            limits.HOLDOUTS_MAX,
            _FIELD_NAME,
        ),
        "people kept out, read as holdout.NAME",
        factory=dict,
    )
