"""A deterministic event loop: one seed decides the order of everything, and time is simulated.

Callbacks belong to processes, which can be paused, killed and killed after so many callbacks.
No thread runs and nothing sleeps; two runs of one seed take the same steps, and `digest` shows it.
"""

from __future__ import annotations

import asyncio
import contextvars
import select
from collections.abc import Callable, Coroutine
from heapq import heappop, heappush
from random import Random
from typing import Any

# A run that takes more steps than this goes round in circles.
STEPS_MAX = 300_000


class Process:
    """What runs, stops and dies as one: a node, a client, a server."""

    __slots__ = (
        "alive",
        "fuse",
        "held",
        "index",
        "name",
        "on_fuse",
        "paused",
        "reads",
        "steps",
        "tasks",
    )

    def __init__(self, name: str, index: int) -> None:
        self.name = name
        self.index = index
        self.alive = True
        self.paused = False
        # Whether it waits for descriptors.
        self.reads = False
        self.steps = 0
        # The process dies after its callback of this number; 0 for never.
        self.fuse = 0
        self.on_fuse: Callable[[], None] | None = None
        # What became ready while it was paused.
        self.held: list[Handle] = []
        self.tasks: list[Task] = []

    def __repr__(self) -> str:
        return self.name


class Handle:
    """A callback to be run; what asyncio calls Handle and TimerHandle."""

    __slots__ = ("args", "callback", "context", "process", "when_")

    def __init__(
        self,
        callback: Callable[..., object] | None,
        args: tuple[Any, ...],
        context: contextvars.Context | None,
        process: Process,
        when: float,
    ) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.process = process
        self.when_ = when

    def cancel(self) -> None:
        self.callback = None
        self.args = ()

    def cancelled(self) -> bool:
        return self.callback is None

    def when(self) -> float:
        return self.when_


class Task(asyncio.Task[Any]):
    """A task whose hash is its number: sets of tasks have the same order in every run."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class Future(asyncio.Future[Any]):
    """A future whose hash is its number, likewise."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class DeadlockError(AssertionError):
    """Nothing is left to do, and what was waited for has not happened."""


class Loop(asyncio.AbstractEventLoop):
    """The loop; `shuffled` picks among ready callbacks at random, else oldest first."""

    def __init__(self, seed: int | str, *, shuffled: bool = True, start: float = 1000.0) -> None:
        self.random = Random(seed)
        self.now = start
        self.digest = 0
        self.steps = 0
        self.shuffled = shuffled
        self.closed = False
        self.errors: list[dict[str, Any]] = []
        # Called with each note while the run is traced.
        self.trace: Callable[[str], None] | None = None
        self.processes: list[Process] = []
        self.outside = self.process("world")
        self.current = self.outside
        self._ready: list[Handle] = []
        self._timers: list[tuple[float, int, Handle]] = []
        self._number = 0
        self._readers: dict[int, Handle] = {}
        self._poll: select.epoll | None = None
        # Whether a process with descriptors has run since they were looked at.
        self._stirred = False
        self._stopping = False
        self._tasks = 0

    # Processes.

    def process(self, name: str) -> Process:
        made = Process(name, len(self.processes))
        self.processes.append(made)
        return made

    def kill(self, process: Process) -> None:
        """Nothing of the process ever runs again, no `finally` either, until the loop closes."""
        process.alive = False
        process.held.clear()
        for fd in [fd for fd, handle in self._readers.items() if handle.process is process]:
            self.remove_reader(fd)
        self.note("kill", process.name)

    def pause(self, process: Process) -> None:
        process.paused = True
        self.note("pause", process.name)

    def resume(self, process: Process) -> None:
        process.paused = False
        self._stirred = True
        self._ready.extend(process.held)
        process.held.clear()
        self.note("resume", process.name)

    def start(self, process: Process, work: Coroutine[Any, Any, Any]) -> Task:
        """Run a coroutine as the process."""
        before, self.current = self.current, process
        try:
            return self.create_task(work)
        finally:
            self.current = before

    # Notes: the readable trace, part of what a replay must repeat.

    def note(self, *parts: object) -> None:
        if self.trace is not None:
            words = " ".join(str(part) for part in parts)
            self.trace(f"{self.now - 1000.0:10.6f} {self.current.name:<9} {words}")

    # What asyncio asks of a loop.

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self.closed

    def is_closed(self) -> bool:
        return self.closed

    def call_soon(
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Handle:
        handle = Handle(callback, args, context, self.current, self.now)
        if not self.closed:
            self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Handle:
        handle = Handle(callback, args, context, self.current, self.now + delay)
        if not self.closed:
            self._number += 1
            heappush(self._timers, (handle.when_, self._number, handle))
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Handle:
        handle = Handle(callback, args, context, self.current, when)
        if not self.closed:
            self._number += 1
            heappush(self._timers, (when, self._number, handle))
        return handle

    def call_for(
        self, process: Process, when: float, callback: Callable[..., object], *args: Any
    ) -> Handle:
        """Run a callback as another process: what reaches it from outside."""
        handle = Handle(callback, args, None, process, when)
        if not self.closed:
            self._number += 1
            heappush(self._timers, (when, self._number, handle))
        return handle

    def create_future(self) -> Future:
        future = Future(loop=self)
        self._tasks += 1
        future.number = self._tasks
        return future

    def create_task(
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
    ) -> Task:
        task = Task.__new__(Task)
        self._tasks += 1
        task.number = self._tasks
        Task.__init__(task, coro, loop=self, name=name or f"t{self._tasks}", context=context)
        self.current.tasks.append(task)
        return task

    def run_in_executor(
        self, _executor: object, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """What a thread would do is done whole, after a while; its end is seen a while later."""
        future = self.create_future()
        self.call_later(self.random.random() * 0.004, self._execute, future, func, args)
        return future

    def _execute(
        self, future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]
    ) -> None:
        set_outcome: Callable[[Any], None]
        try:
            outcome = func(*args)
            set_outcome = future.set_result
        except Exception as error:
            outcome = error
            set_outcome = future.set_exception

        def finish() -> None:
            if not future.done():
                set_outcome(outcome)

        self.call_later(self.random.random() * 0.002, finish)

    def add_reader(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:
        if self._poll is None:
            self._poll = select.epoll()
        if fd in self._readers:
            self._poll.unregister(fd)
        self._poll.register(fd, select.EPOLLIN)
        self.current.reads = self._stirred = True
        self._readers[fd] = Handle(callback, args, None, self.current, 0.0)

    def remove_reader(self, fd: Any) -> bool:
        if self._readers.pop(fd, None) is None or self._poll is None:
            return False
        self._poll.unregister(fd)
        return True

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self.closed:
            return
        context["process"] = self.current.name
        self.errors.append(context)
        self.note("error", context.get("message"), repr(context.get("exception")))

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)

    def stop(self) -> None:
        self._stopping = True

    async def shutdown_asyncgens(self) -> None:
        pass

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        pass

    # Running.

    def run_until_complete(self, future: Any) -> Any:
        """Run until it is done; raises DeadlockError when nothing is left to run before."""
        if asyncio.iscoroutine(future):
            future = self.create_task(future)
        future.add_done_callback(self._stop_at)
        self.run_forever()
        if not future.done():
            raise DeadlockError(f"after {self.steps} steps nothing is left to do")
        return future.result()

    def _stop_at(self, _future: object) -> None:
        self._stopping = True

    def run_forever(self) -> None:
        self._stopping = False
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        # The one of asyncio asks for the process's id each time: a system call.
        plain = asyncio.get_running_loop
        asyncio.get_running_loop = asyncio.events.get_running_loop = lambda: self
        try:
            while not self._stopping and (self._ready or self._advance()):
                self._run_ready()
        finally:
            asyncio.get_running_loop = asyncio.events.get_running_loop = plain
            asyncio._set_running_loop(before)
            self.current = self.outside

    def _run_ready(self) -> None:
        """Run what is ready, and what it makes ready, one by one in the seed's order."""
        ready, random, shuffled = self._ready, self.random.random, self.shuffled
        while ready and not self._stopping:
            count = len(ready)
            pick = int(random() * count) if shuffled and count > 1 else 0
            handle = ready.pop(pick)
            callback = handle.callback
            if callback is None:
                continue
            process = handle.process
            if not process.alive:
                continue
            if process.paused:
                process.held.append(handle)
                continue
            self.current = process
            if process.reads:
                self._stirred = True
            self.digest = hash((self.digest, self.now, process.index, pick))
            process.steps += 1
            try:
                if handle.context is None:
                    callback(*handle.args)
                else:
                    handle.context.run(callback, *handle.args)
            except Exception as error:
                self.call_exception_handler({"message": "callback", "exception": error})
            if process.steps == process.fuse:
                self._burn(process)
            self.steps += 1
            if self.steps > STEPS_MAX:
                raise DeadlockError(f"{STEPS_MAX} steps and no end")

    def _burn(self, process: Process) -> None:
        self.current = self.outside
        self.kill(process)
        if process.on_fuse is not None:
            process.on_fuse()

    def _advance(self) -> bool:
        """Make ready what is due next; False when nothing is."""
        if self._stirred and self._poll_readers():
            return True
        timers, ready = self._timers, self._ready
        while timers:
            when, _number, handle = heappop(timers)
            if handle.callback is None or not handle.process.alive:
                continue
            if when > self.now:
                self.now = when
            ready.append(handle)
            while timers and timers[0][0] <= self.now:
                ready.append(heappop(timers)[2])
            return True
        return False

    def _poll_readers(self) -> bool:
        found = self._poll.poll(0) if self._poll is not None else []
        if not found:
            self._stirred = False
            return False
        fds = {fd for fd, _ in found}
        # In the order of registration: numbers of descriptors differ from run to run.
        before = len(self._ready)
        for fd, handle in self._readers.items():
            if fd in fds and not handle.process.paused:
                made = Handle(handle.callback, handle.args, None, handle.process, self.now)
                self._ready.append(made)
        # A paused process reads later.
        self._stirred = len(self._ready) > before
        return self._stirred

    def close(self) -> None:
        """Close every coroutine that was left; their `finally` blocks can start nothing more."""
        if self.closed:
            return
        self.closed = True
        self._ready.clear()
        self._timers.clear()
        if self._poll is not None:
            self._poll.close()
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            for process in self.processes:
                for task in process.tasks:
                    abandon(task)
                process.tasks.clear()
        finally:
            asyncio._set_running_loop(before)


def abandon(task: Task) -> None:
    """End a task that will never be stepped again, without a word."""
    if task.done():
        # Marks an exception as seen.
        if not task.cancelled():
            task.exception()
        return
    task._log_destroy_pending = False
    try:
        task.get_coro().close()  # type: ignore[union-attr]
    except (Exception, asyncio.CancelledError, RuntimeError):
        # Code under test that is cut off in the middle may complain; nobody listens any more.
        return
