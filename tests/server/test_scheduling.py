"""Which of the process's threads give way to the loop's."""

import os
import threading

import pytest

from nextbest.server.scheduling import giving_way

needs_policy = pytest.mark.skipif(
    not hasattr(os, "SCHED_BATCH"), reason="this system has no SCHED_BATCH"
)


def policy_of_a_new_thread() -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(os.sched_getscheduler(0)))
    thread.start()
    thread.join()
    return found[0]


@needs_policy
def test_threads_started_within_give_way_and_the_loop_does_not() -> None:
    before = os.sched_getscheduler(0)
    with giving_way():
        assert policy_of_a_new_thread() == os.SCHED_BATCH
    assert os.sched_getscheduler(0) == before == os.SCHED_OTHER
    assert policy_of_a_new_thread() == os.SCHED_OTHER


@needs_policy
def test_the_policy_is_given_back_after_an_error() -> None:
    with pytest.raises(ValueError, match="no address"), giving_way():
        raise ValueError("no address")
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
