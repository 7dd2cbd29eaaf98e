"""The schema of exported decisions: Parquet, one row for each decision.  pyarrow is an extra.

It is stable: columns are added at the end, and whatever else changes is a new version.
"""

from __future__ import annotations

from typing import Any, Final

from nextbest.server.record.errors import MissingLibraryError

VERSION: Final = "decisions/1"
SCHEMA_KEY: Final = b"nextbest.schema"


def library() -> Any:
    """pyarrow.  Raises MissingLibraryError."""
    try:
        import pyarrow
    except ImportError:
        raise MissingLibraryError("pyarrow", "parquet") from None
    return pyarrow


def schema(metadata: dict[str, str]) -> Any:
    """The Arrow schema, with these entries beside its version; README.md has what each means."""
    pa = library()
    moment = pa.timestamp("us", "UTC")
    feature = pa.map_(pa.string(), pa.struct({"number": pa.float64(), "text": pa.string()}))
    columns = {
        "decision_id": pa.string(),
        "decided_at": moment,
        "decided_for": moment,
        "identity_kind": pa.string(),
        "identity": pa.string(),
        "profile_known": pa.bool_(),
        "preview": pa.bool_(),
        "playbook_hash": pa.string(),
        "generation": pa.uint64(),
        "seed": pa.uint64(),
        "degraded": pa.list_(pa.string()),
        "error_code": pa.int32(),
        "error": pa.string(),
        "context": feature,
        "inputs": feature,
        "placements": pa.list_(_placement(pa)),
        "experiments": pa.list_(_experiment(pa)),
        "scores": pa.list_(pa.struct({"score": pa.string(), "points": pa.int64()})),
        "grades": pa.list_(pa.struct({"grade": pa.string(), "value": pa.string()})),
        "stage": pa.string(),
        "segments": pa.list_(pa.string()),
        "steps_ns": pa.map_(pa.string(), pa.uint64()),
        "outcomes": pa.list_(_outcome(pa, moment, feature)),
        "sampled": pa.bool_(),
    }
    told = {"nextbest.schema": VERSION, **metadata}
    return pa.schema(list(columns.items()), told)


def _placement(pa: Any) -> Any:
    proposition = {
        "slot": pa.uint32(),
        "action": pa.string(),
        "treatment": pa.string(),
        "group": pa.string(),
        "priority": pa.float64(),
        "propensity_outcome": pa.float64(),
        "propensity_logging": pa.float64(),
        "fallback": pa.bool_(),
        "explored": pa.bool_(),
        "reasons": pa.list_(pa.string()),
    }
    candidate = {
        "action": pa.string(),
        "fate": pa.string(),
        "condition": pa.string(),
        "missing": pa.string(),
        "priority": pa.float64(),
        "factors": pa.map_(pa.string(), pa.float64()),
        "propensity_logging": pa.float64(),
    }
    return pa.struct(
        {
            "placement": pa.string(),
            "propositions": pa.list_(pa.struct(proposition)),
            "candidates": pa.list_(pa.struct(candidate)),
        }
    )


def _experiment(pa: Any) -> Any:
    return pa.struct(
        {
            "experiment": pa.string(),
            "variant": pa.string(),
            "exposed": pa.bool_(),
            "reason": pa.string(),
            "bucket": pa.float64(),
        }
    )


def _outcome(pa: Any, moment: Any, feature: Any) -> Any:
    return pa.struct(
        {
            "event": pa.string(),
            "event_id": pa.string(),
            "slot": pa.uint32(),
            "placement": pa.string(),
            "action": pa.string(),
            "occurred_at": moment,
            "recorded_at": moment,
            "value": pa.float64(),
            "properties": feature,
        }
    )
