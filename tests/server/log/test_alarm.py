"""Alarms, on a loop whose time is simulated."""

import asyncio
from collections.abc import Awaitable, Callable

from nextbest.server.log.alarm import Alarm
from tests.faults.simulator.loop import Loop

Story = Callable[[Alarm, Loop], Awaitable[None]]


def rings(story: Story) -> list[float]:
    """When an alarm rang, in seconds from the story's start."""
    loop = Loop(1, shuffled=False)
    begin_s, seen = loop.time(), list[float]()
    alarm = Alarm(lambda: seen.append(round(loop.time() - begin_s, 3)))

    async def told() -> None:
        await story(alarm, loop)

    loop.run_until_complete(told())
    loop.close()
    return seen


def test_it_rings_once_when_the_time_is_up() -> None:
    async def story(alarm: Alarm, loop: Loop) -> None:
        alarm.set(loop.time() + 0.08)
        await asyncio.sleep(1)

    assert rings(story) == [0.08]


def test_it_rings_for_the_last_time_that_was_set() -> None:
    async def story(alarm: Alarm, loop: Loop) -> None:
        for _ in range(10):
            alarm.set(loop.time() + 0.08)
            await asyncio.sleep(0.03)
            alarm.stop()
        alarm.set(loop.time() + 0.08)
        await asyncio.sleep(1)

    assert rings(story) == [0.38]


def test_it_can_be_set_for_an_earlier_time() -> None:
    async def story(alarm: Alarm, loop: Loop) -> None:
        alarm.set(loop.time() + 5)
        alarm.stop()
        alarm.set(loop.time() + 0.08)
        await asyncio.sleep(10)

    assert rings(story) == [0.08]


def test_it_is_quiet_when_stopped_or_closed() -> None:
    async def story(alarm: Alarm, loop: Loop) -> None:
        alarm.set(loop.time() + 0.08)
        alarm.stop()
        await asyncio.sleep(1)
        alarm.set(loop.time() + 0.08)
        alarm.close()
        await asyncio.sleep(1)

    assert rings(story) == []


def test_it_can_be_set_anew_when_it_rings() -> None:
    loop = Loop(1, shuffled=False)
    begin_s, seen = loop.time(), list[float]()

    def ring() -> None:
        seen.append(round(loop.time() - begin_s, 3))
        if len(seen) < 3:
            alarm.set(loop.time() + 0.08)

    async def told() -> None:
        alarm.set(loop.time() + 0.08)
        await asyncio.sleep(1)

    alarm = Alarm(ring)
    loop.run_until_complete(told())
    loop.close()
    assert seen == [0.08, 0.16, 0.24]
