"""What a session's loops iterate over: events, batches, ticks; each for ``for`` and for ``async for``.

In: a `Running`. Out: its events as the caller's loop asks for them. A loop claims the session when it takes its first
step and lets go when it ends, breaks or is dropped. The asynchronous ones poll between short sleeps of the event loop's
own, so there is no thread that a cancelled task could leave behind.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from .errors import SpecError
from .running import Running

if TYPE_CHECKING:
    from ._native import Batch, Event

T = TypeVar("T")
E = TypeVar("E", bound="Event")

_SHORTEST, _LONGEST = 0.001, 0.02
"""Seconds between two looks of an asynchronous loop; it grows while nothing comes."""


class Loop(Generic[T]):
    """Something to loop over, once, with ``for`` or ``async for``."""

    def __init__(self, running: Running, concluded: Callable[[], None]) -> None:
        self._running = running
        self._concluded = concluded

    def __iter__(self) -> Iterator[T]:
        return self._concluding()

    def __aiter__(self) -> AsyncIterator[T]:
        return _AsyncSteps(self._running, self._steps, self._concluded)

    def _concluding(self) -> Iterator[T]:
        with self._running.consuming():
            for step in self._steps(_block):
                if step is not None:
                    yield step
        self._concluded()

    def _steps(self, wait: Callable[[float], float]) -> Iterator[T | None]:
        """The items; None where there is nothing yet. `wait` gives how long the next look may block."""
        raise NotImplementedError


def _block(seconds: float) -> float:
    return seconds


def _dont_block(seconds: float) -> float:
    return 0.0


class Events(Loop[E]):
    """The events that have no handler, or those of some kinds; handlers are called for the others meanwhile."""

    def __init__(self, running: Running, concluded: Callable[[], None], wanted: frozenset[int] | None) -> None:
        super().__init__(running, concluded)
        self._wanted = wanted

    def _steps(self, wait: Callable[[float], float]) -> Iterator[E | None]:
        for found in self._running.steps(wait):
            if found is None:
                yield None
            else:
                yield from self._running.unhandled(*found, self._wanted)  # type: ignore[misc]


class Batches(Loop["Batch"]):
    """Whole batches, in the order of time."""

    def _steps(self, wait: Callable[[float], float]) -> Iterator[Batch | None]:
        for found in self._running.steps(wait):
            if found is None:
                yield None
            else:
                batch, start = found
                yield batch if start == 0 else batch[start:]  # type: ignore[misc]


class Ticks(Loop[int]):
    """The number of each tick, from 1. The last one comes after the end, so that it sees everything."""

    def __init__(self, running: Running, concluded: Callable[[], None], seconds: float, duration: float | None) -> None:
        super().__init__(running, concluded)
        for name, value in (("seconds", seconds), ("duration", duration)):
            if value is not None and not value > 0:
                raise SpecError(f"{name} is a time in seconds, more than 0; not {value!r}")
        self._seconds, self._duration = seconds, duration

    def _steps(self, wait: Callable[[float], float]) -> Iterator[int | None]:
        running, count = self._running, 0
        begin = time.monotonic()
        deadline = None if self._duration is None else begin + self._duration
        while not running.over:
            due = begin + (count + 1) * self._seconds
            for _ in running.attend(due, deadline, wait):
                yield None
            # A slow body skips the ticks that it missed.
            count = max(count + 1, int((time.monotonic() - begin) / self._seconds))
            if running.ended_by != "stop":
                yield count


class _AsyncSteps(AsyncIterator[T]):
    """The asynchronous side of a loop. Lets go of the session when it is dropped, too."""

    def __init__(
        self,
        running: Running,
        steps: Callable[[Callable[[float], float]], Iterator[T | None]],
        concluded: Callable[[], None],
    ) -> None:
        self._running, self._make, self._concluded = running, steps, concluded
        self._steps: Iterator[T | None] | None = None
        self._done = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        import asyncio

        if self._done:
            raise StopAsyncIteration
        if self._steps is None:
            self._running.claim()
            self._steps = self._make(_dont_block)
        pause = _SHORTEST
        try:
            for step in self._steps:
                if step is not None:
                    return step
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST)
        except BaseException:
            self._close()
            raise
        self._close()
        self._concluded()
        raise StopAsyncIteration

    def _close(self) -> None:
        if self._steps is not None and not self._done:
            self._done = True
            self._steps.close()  # type: ignore[attr-defined]
            self._running.release()

    def __del__(self) -> None:
        self._close()
