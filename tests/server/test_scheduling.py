"""Which of the process's threads give way to the loop's."""

import os
import threading

import pytest

from nextbest.server.scheduling import BEHIND_NICE, NICE_MAX, behind, giving_way

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


def placed(thread: int) -> tuple[int, set[int], int]:
    return (
        os.sched_getscheduler(thread),
        os.sched_getaffinity(thread),
        os.getpriority(os.PRIO_PROCESS, thread),
    )


@needs_policy
def test_all_other_threads_stand_behind_and_keep_off_the_cpus() -> None:
    cpus = os.sched_getaffinity(0)
    if len(cpus) < 2:
        pytest.skip("this machine has one cpu")
    taken = min(cpus)
    go_on = threading.Event()
    ahead, other = (threading.Thread(target=go_on.wait, args=(30,)) for _ in range(2))
    ahead.start()
    other.start()
    assert ahead.native_id
    assert other.native_id
    before = placed(0)
    with behind([ahead.native_id], [taken]):
        assert placed(ahead.native_id) == before
        for thread in (0, other.native_id):
            policy, allowed, nice = placed(thread)
            assert (policy, allowed) == (os.SCHED_BATCH, cpus - {taken})
            assert nice == min(before[2] + BEHIND_NICE, NICE_MAX)
        with giving_way():
            pass
        assert os.sched_getscheduler(0) == os.SCHED_BATCH
    # Only a process that may lower its niceness gets it back.
    assert placed(0)[:2] == before[:2]
    assert placed(other.native_id)[:2] == before[:2]
    go_on.set()


@needs_policy
def test_without_a_lane_nothing_is_placed() -> None:
    before = placed(0)
    with behind([], []):
        assert placed(0) == before
