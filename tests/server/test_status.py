"""Each error has its status, its details and nothing that breaks a trailer."""

from __future__ import annotations

import logging

import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from nextbest.core import errors
from nextbest.server.errors import (
    BusyError,
    CompilerGoneError,
    CompileTimeError,
    DataError,
    FaultyPlaybookError,
)
from nextbest.server.playbook import limits
from nextbest.server.playbook.faults import Fault, Faults, Severity
from nextbest.server.rpc.status import status_of

CASES = [
    (errors.InvalidRequestError("a.b", "1", "2"), "INVALID_ARGUMENT", "INVALID_REQUEST"),
    (errors.UnknownNameError("a.b", "x", "y"), "INVALID_ARGUMENT", "UNKNOWN_NAME"),
    (errors.AlreadyUsedError("write_id", "w"), "ALREADY_EXISTS", "ALREADY_USED"),
    (errors.StoreFullError("full"), "RESOURCE_EXHAUSTED", "STORE_FULL"),
    (errors.TooLargeError("request", "9 bytes", "at most 8"), "RESOURCE_EXHAUSTED", "TOO_LARGE"),
    (errors.LogBusyError(), "RESOURCE_EXHAUSTED", "LOG_BUSY"),
    (errors.LogFailedError(), "UNAVAILABLE", "LOG_FAILED"),
    (errors.LogAwayError("since noon"), "UNAVAILABLE", "LOG_AWAY"),
    (errors.WritesRefusedError("clock"), "UNAVAILABLE", "WRITES_REFUSED"),
    (errors.AckRefusedError("two hosts"), "FAILED_PRECONDITION", "ACK_REFUSED"),
    (errors.PositionNotReachedError("1-2"), "UNAVAILABLE", "POSITION_NOT_REACHED"),
    (errors.NoMemoryError("full"), "RESOURCE_EXHAUSTED", "NO_MEMORY"),
    (errors.OverloadedError(1_250), "RESOURCE_EXHAUSTED", "OVERLOADED"),
    (errors.TombstonesFullError("10"), "RESOURCE_EXHAUSTED", "TOMBSTONES_FULL"),
    (errors.TooLateError("occurred_at", "1", "2"), "FAILED_PRECONDITION", "TOO_LATE"),
    (errors.NoPlaybookError(), "FAILED_PRECONDITION", "NO_PLAYBOOK"),
    (errors.UnknownGenerationError("target", "9", "1"), "NOT_FOUND", "UNKNOWN_GENERATION"),
    (errors.PositionLostError("lost"), "ABORTED", "POSITION_LOST"),
    (errors.DeadlineError("late"), "DEADLINE_EXCEEDED", "DEADLINE"),
    (BusyError("calls", 3), "RESOURCE_EXHAUSTED", "BUSY"),
    (FaultyPlaybookError([]), "INVALID_ARGUMENT", "FAULTY_PLAYBOOK"),
    (CompileTimeError(100), "DEADLINE_EXCEEDED", "COMPILE_TIME"),
    (CompilerGoneError("died"), "UNAVAILABLE", "COMPILER_GONE"),
    (DataError("disk"), "UNAVAILABLE", "DATA"),
]


def detail(status: status_pb2.Status, kind: type) -> object:
    for each in status.details:
        made = kind()
        if each.Unpack(made):
            return made
    return None


@pytest.mark.parametrize(("error", "code", "reason"), CASES)
def test_each_error_has_its_code_and_reason(
    error: errors.NextbestError, code: str, reason: str
) -> None:
    status = status_of(error)
    info = detail(status, error_details_pb2.ErrorInfo)
    assert isinstance(info, error_details_pb2.ErrorInfo)
    assert status.code == code_pb2.Code.Value(code)
    assert (info.reason, info.domain) == (reason, "nextbest")
    assert status.message


def test_every_error_of_the_core_is_mapped() -> None:
    seen = [type(case[0]) for case in CASES]
    found = [errors.NextbestError]
    for each in found:
        found.extend(kind for kind in each.__subclasses__() if kind.__module__ == errors.__name__)
    # One without a reason is no caller's.
    assert {kind for kind in found if kind.status_reason} <= set(seen)


def test_a_field_is_a_violation() -> None:
    status = status_of(errors.UnknownNameError("context.pag", "pag", "page"))
    request = detail(status, error_details_pb2.BadRequest)
    assert isinstance(request, error_details_pb2.BadRequest)
    violation = request.field_violations[0]
    assert (violation.field, violation.description) == ("context.pag", "pag, allowed: page")


@pytest.mark.parametrize(
    "error", [errors.StoreFullError("full"), BusyError("calls", 3), CompilerGoneError("died")]
)
def test_what_a_retry_helps_says_when(error: errors.NextbestError) -> None:
    retry = detail(status_of(error), error_details_pb2.RetryInfo)
    assert isinstance(retry, error_details_pb2.RetryInfo)
    assert retry.retry_delay.ToMilliseconds() > 0


def test_errors_are_counted_as_faults_and_warnings_are_not() -> None:
    """Those that were left out of a playbook's list, too."""
    found = Faults()
    for line in range(1, limits.FAULTS_MAX + 201):
        found.add(Fault("schema.yaml", line, 1, "name", "x", "y"))
    assert len(found.sorted()) == limits.FAULTS_MAX + 1
    for faults, count in (
        (found.sorted(), limits.FAULTS_MAX + 200),
        ((found.sorted()[0], Fault("a.yaml", 1, 1, "a", "b", "c", Severity.WARNING)), 1),
    ):
        error = FaultyPlaybookError(faults)
        info = detail(status_of(error), error_details_pb2.ErrorInfo)
        assert isinstance(info, error_details_pb2.ErrorInfo)
        assert info.metadata["faults"] == str(count)
        assert str(error) == f"the playbook has {count} fault{'s' if count > 1 else ''}"


def test_long_and_foreign_text_fits_the_trailers() -> None:
    text = "\N{SNOWMAN}\ud800\n" * 1_000
    faults = [Fault("s.yaml", n, 1, text, text, text) for n in range(500)]
    for error in (errors.InvalidRequestError(text, text, text), FaultyPlaybookError(faults)):
        status = status_of(error)
        assert status.ByteSize() < 6_000
        assert len(status.message.encode()) <= 200


def test_our_own_fault_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        status = status_of(KeyError("secret"))
    assert status.code == code_pb2.INTERNAL
    assert "secret" not in status.message
    assert "secret" in caplog.text
