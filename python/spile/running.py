"""A session that runs: the engine, the command, and the one consumer that lends its thread.

In: a made engine and the reasons to end. Out: batches in the order of time, until the end and what was queued by then.
Handlers are called here and nowhere else, so Python runs only on the thread that reads. `Session` declares; this runs.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakSet

from . import signals
from .command import Command, has_ended
from .errors import StateError
from .handlers import Plan

if TYPE_CHECKING:
    from ._native import Batch, Dispatcher, Event
    from .budget import Steps
    from .engines import Engine

EndedBy = Literal["stop", "duration", "limit", "command", "interrupt", "end", "error"]

SLICE = 0.05
"""Seconds of a wait, between which the reasons to end are looked at."""
_GRACE = 1.0
"""Seconds that a command gets to end by itself after Ctrl-C, which the terminal sent to it too."""


class Running:
    """One run, from its start to its end. Safe to end from any thread."""

    def __init__(
        self,
        engine: Engine,
        command: Command | None,
        pid: int | None,
        interval: float,
        sent: frozenset[int],
        steps_of_budget: Steps,
    ) -> None:
        """`sent` are the kinds of event that reach the script; the others are only counted."""
        self.steps_of_budget = steps_of_budget
        self.engine = engine
        self.command = command
        self.plan = Plan({}, [])
        self.ended_by: EndedBy | None = None
        self._pid = pid
        self._interval = interval
        self._drained_at = time.monotonic()
        self._interrupt: int | None = None
        self.looping = False
        self._forked = False
        self._over = threading.Event()
        self._ending = threading.RLock()
        self._consumer = threading.Lock()
        self._dispatcher: Dispatcher | None = None
        self._pending: tuple[Batch, int] | None = None
        self._sent = sent
        self._listening = 0
        self.descriptors: frozenset[int] = frozenset()

    def start(self) -> None:
        """Attaches, then lets the command go."""
        _alive.add(self)
        try:
            self.engine.start()
            if self.command is not None:
                self.command.release()
        except BaseException:
            self.end("error")
            raise

    # Ending ----------------------------------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether the engine has stopped: tables are final, and what is queued is all that will come."""
        return self._over.is_set()

    def end(self, reason: EndedBy) -> None:
        """Closes the gate, drains, detaches, ends the command. Only the first call acts; the others wait for it."""
        if self._forked:
            return
        with self._ending:
            if self._over.is_set():
                return
            if self.ended_by is None:
                self.ended_by = reason
            try:
                self.engine.stop()
            finally:
                self._over.set()
                _alive.discard(self)
                self.engine.wake()
                self._end_command()

    def look(self, deadline: float | None = None) -> None:
        """Ends the run if there is a reason to."""
        self.check_process()
        if self._over.is_set():
            return
        self.steps_of_budget.tell()
        if self._interrupt is not None:
            self.end("interrupt")
        elif self.command is not None and self.command.poll() is not None:
            self.end("command")
        elif self._pid is not None and has_ended(self._pid):
            self.end("end")
        elif deadline is not None and time.monotonic() >= deadline:
            self.end("duration")
        elif self.engine.ended and self._pending is None:
            self._end_by_itself()

    def _end_by_itself(self) -> None:
        """Nothing can come any more: a replay's end, or a failure, which stopping raises."""
        try:
            self.end("end")
        except Exception:
            self.ended_by = "error"
            raise

    def check_process(self) -> None:
        """Raises StateError in a forked child: the probes are its parent's."""
        if self._forked:
            raise StateError("this session belongs to the process that started it; a forked child declares its own")

    def _end_command(self) -> None:
        if self.command is None or self.command.poll() is not None:
            return
        if self._interrupt is not None:
            import signal

            if self._interrupt == signal.SIGINT:
                self.command.end(grace=_GRACE)
                return
        self.command.end()

    def _interrupted(self, signum: int) -> bool:
        # Called from a signal handler: takes no lock. Outside a loop nobody would look at the flag.
        if not self.looping or self._interrupt is not None or self._over.is_set():
            return False
        self._interrupt = signum
        return True

    # Reading ---------------------------------------------------------------------------------------------------------

    @contextmanager
    def consuming(self) -> Iterator[None]:
        """For the one consumer, which listens to signals meanwhile. Raises StateError when there is one already."""
        self.claim()
        try:
            yield
        finally:
            self.release()

    def claim(self) -> None:
        """Becomes the one consumer, until `release`."""
        from ._native import Dispatcher

        self.check_process()
        if not self._consumer.acquire(blocking=False):
            raise StateError("this session is being read already; one loop at a time (run, iteration, every or wait)")
        self._dispatcher = Dispatcher(self.plan.calls)
        self.looping = True
        self.listen()

    def release(self) -> None:
        """Lets the next consumer in."""
        self.looping = False
        # The plan may hold the session; kept, it would keep the session alive for ever.
        self._dispatcher = None
        self._consumer.release()
        self.unlisten()

    def listen(self) -> None:
        """Lets Ctrl-C and SIGTERM end the run in order, until as many calls of `unlisten`."""
        self._listening += 1
        signals.listen(self)

    def unlisten(self) -> None:
        """The opposite of `listen`."""
        self._listening -= 1
        if not self._listening:
            signals.unlisten(self)

    def steps(
        self, wait: Callable[[float], float], deadline: float | None = None, *, until: float | None = None
    ) -> Iterator[tuple[Batch, int] | None]:
        """Batches, each with the index to begin at, until the end and the last that was queued.

        None where nothing came for as long as `wait` allowed, and after each batch for one that can't block: an
        asynchronous loop lets others run then. At `deadline` the run ends; at `until` only this loop does.
        """
        while True:
            self.look(deadline)
            found = self.next_batch(wait(_wait(deadline, until)))
            if found is not None:
                yield found
            elif self._exhausted():
                return
            yield None
            now = time.monotonic()
            if until is not None and now >= until and not self._over.is_set() and (deadline is None or now < deadline):
                return

    def next_batch(self, timeout: float) -> tuple[Batch, int] | None:
        """What an interrupted loop left over, else the next batch, if one comes in time."""
        if self._pending is not None:
            found, self._pending = self._pending, None
            return found
        batch = self.engine.next_batch(timeout)
        return None if batch is None else (batch, 0)

    def keep(self, batch: Batch, position: int) -> None:
        """Keeps the rest of a batch for the next loop."""
        if position < len(batch):
            self._pending = batch, position

    def _exhausted(self) -> bool:
        if not self.engine.ended or self._pending is not None:
            return False
        self.end("end")
        return True

    def unhandled(self, batch: Batch, position: int, wanted: frozenset[int] | None) -> Iterator[Event]:
        """The events without a handler, or those of some kinds; handlers are called for the others meanwhile."""
        handled = self.plan.handled
        everything = not handled and wanted is None
        count = len(batch)
        try:
            self._call_batch_handlers(batch, position)
            while position < count:
                event = batch[position]
                position += 1
                if everything or (wanted is None and event.id not in handled) or (wanted and event.id in wanted):
                    yield event
                elif event.id in self.plan.calls:
                    self._dispatch(batch, position - 1, 1)
        finally:
            self.keep(batch, position)

    def serve(self, batch: Batch, start: int, limit: int | None = None) -> int:
        """Calls the handlers of a batch's events, for at most `limit` events that have one; gives their number."""
        count = self._serve_events(batch, start, limit)
        self._call_batch_handlers(batch, start, None if limit is None else start + limit)
        return count

    def _serve_events(self, batch: Batch, start: int, limit: int | None) -> int:
        handled = self.plan.handled
        if limit is None or handled >= self._sent:
            return self._dispatch(batch, start, limit) - start
        count = 0
        for position in range(start, len(batch)):
            if count >= limit:
                break
            if batch[position].id in handled:
                count += 1
                self._dispatch(batch, position, 1)
        return count

    def _dispatch(self, batch: Batch, start: int, limit: int | None) -> int:
        assert self._dispatcher is not None
        try:
            return self._dispatcher.dispatch(batch, start, limit)
        except BaseException as error:
            self.end(reason_of(error))
            raise

    def _call_batch_handlers(self, batch: Batch, start: int, stop: int | None = None) -> None:
        if not self.plan.batches:
            return
        whole = start == 0 and (stop is None or stop >= len(batch))
        try:
            for ids, function in self.plan.batches:
                if whole and ids >= self._sent:
                    function(batch)
                elif events := [event for event in batch[start:stop] if event.id in ids]:
                    function(events)
        except BaseException as error:
            self.end(reason_of(error))
            raise

    def attend(self, until: float | None, deadline: float | None, wait: Callable[[float], float]) -> Iterator[None]:
        """Calls handlers until a moment or the end; without handlers it leaves the events in the queue.

        Of a replay it passes over them: it would wait for ever for somebody to read them.
        """
        if self.plan.handled or getattr(self.engine, "replays", False):
            for found in self.steps(wait, deadline, until=until):
                if found is None:
                    yield
                else:
                    self.serve(*found)
            return
        while True:
            self.look(deadline)
            if self._over.is_set() or (until is not None and time.monotonic() >= until):
                return
            self._over.wait(wait(_wait(deadline, until)))
            yield

    def refresh(self, now: bool) -> None:
        """Drains into the tables: at once, or if the last time is longer ago than the interval."""
        self.check_process()
        if self._over.is_set():
            return
        if now or time.monotonic() - self._drained_at >= self._interval:
            self.engine.drain()
            self._drained_at = time.monotonic()


def reason_of(error: BaseException | None) -> EndedBy:
    """Why a run ends that an exception leaves."""
    if error is None:
        return "stop"
    return "interrupt" if isinstance(error, KeyboardInterrupt | SystemExit) else "error"


def _wait(*moments: float | None) -> float:
    now = time.monotonic()
    return max(0.0, min([SLICE, *(moment - now for moment in moments if moment is not None)]))


# Processes ------------------------------------------------------------------------------------------------------------

_alive: WeakSet[Running] = WeakSet()
_dead: list[Any] = []


@contextmanager
def noting_descriptors() -> Iterator[set[int]]:
    """Notes which of the process's descriptors an engine opened, for a forked child to close."""
    opened: set[int] = set()
    before = _descriptors()
    yield opened
    opened |= _descriptors() - before


def _descriptors() -> set[int]:
    with os.scandir("/proc/self/fd") as entries:
        return {int(entry.name) for entry in entries if _is_ours(entry.path)}


def _is_ours(path: str) -> bool:
    """Whether a descriptor is one of those that an engine opens."""
    try:
        link = os.readlink(path)  # noqa: PTH115 (pathlib takes longer to import than all of this)
    except OSError:
        return False
    return link.startswith("anon_inode:") and ("bpf" in link or "perf_event" in link)


def _after_fork_in_child() -> None:
    for running in list(_alive):
        running._forked = True
        _abandon(running.engine)
        for descriptor in running.descriptors:
            # The number may be somebody else's by now.
            if _is_ours(f"/proc/self/fd/{descriptor}"):
                os.close(descriptor)
    _alive.clear()


def _abandon(engine: Any) -> None:
    """Sees to it that a forked child never destroys the engine: the thread that it would wait for is the parent's."""
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine))


def _at_exit() -> None:
    for running in list(_alive):
        running.end("stop")


def _register() -> None:
    import atexit

    os.register_at_fork(after_in_child=_after_fork_in_child)
    atexit.register(_at_exit)


_register()
