"""Spans of the server's own work: the log, snapshots, publishing, the control plane.

Only OpenTelemetry's API is used, which does next to nothing where nobody exports.  Must not be
used on a hot call's way: a span takes some 20 us.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, get_tracer
from opentelemetry.util.types import AttributeValue

_TRACER = get_tracer("nextbest")


@contextmanager
def span(
    name: str,
    attributes: Mapping[str, AttributeValue] | None = None,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: Context | None = None,
    tells_errors: bool = True,
) -> Iterator[Span]:
    """The span of what is done within; a child of the one around it, unless `parent` says whose.

    An error is told by its kind alone, as its text may quote a caller; by who asks for the span
    without `tells_errors`.
    """
    with _TRACER.start_as_current_span(
        name, parent, kind, attributes, record_exception=False, set_status_on_exception=False
    ) as made:
        try:
            yield made
        except Exception as error:
            if not tells_errors:
                raise
            made.set_attribute("error.type", type(error).__name__)
            made.set_status(Status(StatusCode.ERROR))
            raise
