"""Spans of the server's own work: the log, snapshots, publishing, the control plane.

Only OpenTelemetry's API is used.  Must not be used on a hot call's way: a span takes some 20 us,
and 1 us where nobody exports.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

from opentelemetry.context import Context
from opentelemetry.trace import (
    Span,
    SpanKind,
    Status,
    StatusCode,
    TracerProvider,
    get_current_span,
    get_tracer,
    set_tracer_provider,
)
from opentelemetry.util.types import AttributeValue

_TRACER = get_tracer("nextbest")
_EXPORTED = threading.Event()


def export(provider: TracerProvider) -> None:
    """Have spans made by a provider, for as long as the process lives."""
    set_tracer_provider(provider)
    _EXPORTED.set()


def exported() -> bool:
    """Whether spans go anywhere, so that it is worth telling what they are about."""
    return _EXPORTED.is_set()


def span(
    name: str,
    attributes: Mapping[str, AttributeValue] | None = None,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: Context | None = None,
    tells_errors: bool = True,
) -> AbstractContextManager[Span]:
    """The span of what is done within; a child of the one around it, unless `parent` says whose.

    An error is told by its kind alone, as its text may quote a caller; by who asks for the span
    without `tells_errors`.
    """
    if parent is None and not exported():
        # What OpenTelemetry would come to, by four context managers.
        return nullcontext(get_current_span())
    return _made(name, attributes, kind, parent, tells_errors)


@contextmanager
def _made(
    name: str,
    attributes: Mapping[str, AttributeValue] | None,
    kind: SpanKind,
    parent: Context | None,
    tells_errors: bool,
) -> Iterator[Span]:
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
