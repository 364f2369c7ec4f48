"""A session: the one orchestrator, where the road of a description and the road of an event meet.

In: declarations of probes (`Declaring` takes them). Out: a spec for the engine, once; then events, tables and losses,
until the end. A session lives once: declared, running, stopped. `Running` holds the second state.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, Self

from . import engines
from . import handlers as handling
from .arguments import check_limits, check_target
from .budget import Steps, checked_share
from .command import Arguments, Command, check_pid
from .errors import LossWarning, SpecError, StateError
from .loops import Batches, Events, Ticks
from .losses import Losses
from .probe import Probe
from .recording import Recordable
from .reporting import warn
from .running import EndedBy, Running, noting_descriptors, reason_of
from .spec import Limits, SessionSpec, TargetFilter
from .targets import left_out as left_out_of
from .wiring import Wiring

if TYPE_CHECKING:
    from types import TracebackType

    from ._native import Event
    from .engines import Engine
    from .systemtap.options import StapOptions
    from .systemtap.script import Script


class Session(Recordable):
    """Probes that run together.

    Declare probes, then start: ``with session: …``, ``session.run()`` or ``session.start()``. A session runs once.

        session = spile.Session()
        switches = session.tracepoint("sched:sched_switch").count(by=spile.kstack)
        session.run(duration=5)
        print(switches.top(5))

    `command` (a list, or a string that is split as a shell would) is started with the session and traced with its
    children from birth; its end ends the session, and what ends the session ends it. `pid` traces a running process,
    and its children with ``follow=True``; its end ends the session. `cgroup` is a cgroup's path or id (of cgroup2):
    exactly that one, not those below it.
    ``system_wide=True`` runs a command without tracing it alone. The tracer's own process is kept out, unless
    `pid` is its own, or ``exclude_self=False`` asks to have it counted like any other.

    `buffer` is the kernel's, in bytes for each CPU (a power of two); `queue` is that of events that wait to be read, in
    bytes, and `on_full` says what a script that reads too slowly gets: ``"drop"`` counts what a full queue has no room
    for; ``"sample"`` keeps one event of 2, 4, 8 … from half of the queue on, and counts the others apart; ``"block"``
    reads nothing until there is room, and the kernel, which can't wait, counts what its `buffer` has no room for.
    `interval`, in seconds, is how old a table may be when it is read while the session runs. `stack_depth` is the most
    frames kept of a stack, up to 127. `tables`, in bytes, is the kernel's memory for aggregates; what finds no room
    there is counted over the event stream, with 0 all is. `transport` is by which rings records travel on the embedded
    engine: ``"auto"`` is the cheapest that there is for each kind of record, ``"mapped"`` and ``"ringbuf"`` ask for one
    kind. `max_overhead` is the share of all CPUs' time that tracing may take, such as 0.03: beyond it stacks are left
    empty, then events are sampled, then they are only counted, and each step is told. `systemtap` says how
    ``engine="systemtap"`` runs stap, by a `spile.systemtap.StapOptions`.

    Raises SpecError for contradictory or absurd arguments, Unsupported for an engine that isn't there.
    """

    def __init__(
        self,
        *,
        engine: str = "auto",
        command: Arguments | None = None,
        pid: int | None = None,
        follow: bool = True,
        cgroup: str | os.PathLike[str] | int | None = None,
        system_wide: bool = False,
        exclude_self: bool = True,
        buffer: int = 4 << 20,
        queue: int = 64 << 20,
        on_full: str = "drop",
        interval: float = 1.0,
        stack_depth: int = 127,
        transport: str = "auto",
        tables: int = 32 << 20,
        max_overhead: float | None = None,
        systemtap: StapOptions | None = None,
    ) -> None:
        super().__init__()
        self._running: Running | None = None
        self._starting = threading.Lock()
        self._wiring = Wiring(self._probes, self._bases)
        self._entered = False
        self._concluded = False
        self._spec: SessionSpec | None = None
        check_target(command, pid, cgroup, system_wide)
        check_limits(on_full, interval, transport)
        self._transport = transport
        self._choice = engines.Choice(engine, interval, systemtap)
        self._choice.check_target(command, pid, cgroup)
        self._command = None if command is None else Command(command)
        self._pid, self._follow, self._cgroup, self._system_wide = pid, bool(follow), cgroup, bool(system_wide)
        self._exclude_self = bool(exclude_self)
        self._buffer, self._queue, self._interval, self._stack_depth = buffer, queue, interval, stack_depth
        self._tables, self._on_full, self._max_overhead = tables, on_full, checked_share(max_overhead)

    # Life -------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Verifies, compiles, attaches everything, then lets the events in; a Rust thread drains from now on.

        Raises StateError when it was started before, SpecError, ProbeNotFound, FieldNotFound, Unsupported,
        PrivilegeError or EngineError when something can't be had (all probes' errors together), OSError when the
        command can't be executed. After an error nothing is attached, and the session can be corrected and started.
        """
        with self._starting:
            if self._running is not None:
                raise StateError(f"this session is {self._state}; a session runs once: make a new one")
            if not self._probes:
                raise SpecError(
                    'a session needs a probe: declare one, such as session.tracepoint("sched:sched_switch")'
                )
            command = self._command
            if self._pid is not None:
                check_pid(self._pid)
            try:
                spec = self._resolve(command.spawn() if command is not None else None)
                with noting_descriptors() as descriptors:
                    engine = self._engine(spec)
                    events = engine.events()
                    sent = frozenset(event["id"] for event in events if self._is_read(event["probe"], spec))
                    running = Running(
                        engine, command, self._pid, self._interval, sent, Steps(engine, self._max_overhead)
                    )
                    running.plan = self._wiring.plan(self, events, spec)
                    self._bind_tables(running)
                    if self._destination is not None:
                        self._destination.begin(engine, self._wiring.unhandled())
                    running.start()
                running.descriptors = frozenset(descriptors)
            except BaseException:
                if command is not None:
                    command.end()
                raise
            self._spec, self._running = spec, running

    def stop(self) -> None:
        """Closes the gate, drains and detaches; loops end after what is queued. From any thread, or a handler.

        Does nothing to a session that has not been started, or has stopped.
        """
        running = self._running
        if running is None:
            return
        running.end("stop")
        if not self._entered and not running.looping:
            self._conclude()

    def wait(self, seconds: float | None = None) -> bool:
        """Waits for the end, at most so many seconds, and calls handlers meanwhile. Says whether it is over."""
        running = self._started("wait for")
        until = None if seconds is None else time.monotonic() + seconds
        with running.consuming():
            for _ in running.attend(until, None, lambda longest: longest):
                pass
        return running.over

    def running(self) -> bool:
        """Whether it has been started, and nothing has ended it yet."""
        if self._running is None:
            return False
        self._running.look()
        return not self._running.over

    def __enter__(self) -> Self:
        self.start()
        self._started("enter").listen()
        self._entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._finish(reason_of(error))

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._finish(reason_of(error))

    def __del__(self) -> None:
        running = getattr(self, "_running", None)
        if running is not None and not running.over:
            warnings.warn(
                f"{self!r} was dropped while it ran; stop() it, or use it in 'with'", ResourceWarning, 2, self
            )
            running.end("stop")

    # Reading ----------------------------------------------------------------------------------------------------------

    def run(self, *, handlers: Any = None, duration: float | None = None, limit: int | None = None) -> None:
        """Starts (unless it runs), calls handlers until the end, stops.

        `handlers` is a module, an object or a dict with functions called ``on_<probe name>``, beside those that were
        registered; its ``on_end_trace_session``, with no parameter or the session, is called once, after the last
        event. `duration` is in seconds; `limit` counts the events that were handled. Ends as well on `stop`, at the
        command's end, on Ctrl-C and SIGTERM (in the main thread; a second Ctrl-C raises KeyboardInterrupt).
        A handler's exception ends the session and propagates, after ``on_end_trace_session``.

        Losses are reported as a LossWarning. Raises what `start` raises, SpecError for a handler that fits no probe.
        """
        if duration is not None and not duration > 0:
            raise SpecError(f"duration is a time in seconds, more than 0; not {duration!r}")
        if limit is not None and limit < 1:
            raise SpecError(f"limit is a number of events, at least 1; not {limit!r}")
        found = self._adopt(handlers)
        if self._running is None:
            self._wiring.must_have_readers()
            self.start()
        running = self._started("run")
        error: BaseException | None = None
        try:
            with running.consuming():
                self._serve(running, duration, limit)
        except BaseException as raised:
            error = raised
            raise
        finally:
            running.end(reason_of(error))
            if found.end is not None:
                handling.end(found.end, self, error)
            if not self._entered:
                self._conclude()

    def _serve(self, running: Running, duration: float | None, limit: int | None) -> None:
        deadline = None if duration is None else time.monotonic() + duration
        for step in running.steps(lambda longest: longest, deadline):
            if step is None:
                continue
            count = running.serve(*step, limit)
            if limit is not None:
                limit -= count
                if limit <= 0:
                    running.end("limit")
                    return

    def __iter__(self) -> Iterator[Event]:
        """The events that have no handler, in the order of time, until the end; handlers are called meanwhile."""
        return iter(self._events())

    def __aiter__(self) -> AsyncIterator[Event]:
        """As ``for``, for ``async for``. Cancelling it leaves no thread behind."""
        return aiter(self._events())

    def batches(self) -> Batches:
        """Batches of events in the order of time, for ``for`` and ``async for``; not for a session with handlers."""
        running = self._started("iterate over")
        self._must_be_read_here()
        if running.plan.handled:
            raise StateError("batches() gives every event, but some probes have handlers; use on_batch for the others")
        return Batches(running, self._concluded_loop)

    def every(self, seconds: float, *, duration: float | None = None) -> Ticks:
        """Ticks, for ``for`` and ``async for``: 1, 2, 3 … each so many seconds, handlers being called in between.

        The last tick comes after the end (unless that was `stop`), so that what is taken from tables at each tick adds
        up to their totals. `duration` ends the session. Ticks that a slow body missed are skipped.
        """
        return Ticks(self._started("iterate over"), self._concluded_loop, seconds, duration)

    def fileno(self) -> int:
        """A descriptor for event loops: readable while events wait, or when nothing can come any more.

        It is to be waited for (`select`, `poll`), not read: `batches` and the other loops take what waits, and it is
        readable again for the next. Raises StateError before the start.
        """
        return self._started("wait for").engine.fileno()

    def _events(self) -> Events[Event]:
        running = self._started("iterate over")
        running.check_process()
        self._must_be_read_here()
        return Events(running, self._concluded_loop, None)

    def _events_of(self, probe: Probe[Any]) -> Events[Any]:
        """The events of one probe."""
        running = self._started("iterate over")
        running.check_process()
        index = next(index for index, other in enumerate(self._probes) if other is probe)
        wanted = frozenset(event["id"] for event in running.engine.events() if event["probe"] == index)
        if wanted & running.plan.handled:
            raise StateError(f"probe {probe.name!r} has a handler, which gets its events; iterate, or handle")
        assert self._spec is not None
        self._must_be_read_here(probe.name)
        if not self._spec.probes[index].deliver:
            raise StateError(f"probe {probe.name!r} sends no events: it only counts; say what to send by capture=")
        return Events[Any](running, self._concluded_loop, wanted)

    # Looking ----------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Verifies, resolves, compiles and loads, but attaches nothing. Raises what `start` would."""
        if self._running is None:
            if self._pid is not None:
                check_pid(self._pid)
            if self._command is not None:
                self._command.look_up()
            spec = self._resolve(os.getpid() if self._command is not None else None)
            self._wiring.plan(self, self._engine(spec).events(), spec)

    def explain(self, *, code: bool = False) -> str:
        """What the engine makes of the description: how each probe is attached, what an event of it holds, where each
        aggregate is kept, in how much memory, and why not in the kernel. Before that, what a pattern left out and why.

        With `code`, each program too, in its intermediate form and as bytecode; after the session's end it is gone.
        """
        left_out = {reason for probe in self._probes if (reason := left_out_of(probe.targets))}
        if self._running is not None:
            text = self._running.engine.explain(code)
        else:
            text = self._engine(self._resolve(os.getpid() if self._command is not None else None)).explain(code)
        return "\n".join([*sorted(left_out), text])

    def script(self) -> str:
        """The SystemTap script of this description, whichever engine runs it; no kernel is touched for exact names.

        Raises Unsupported for what SystemTap has no words for.
        """
        return self._script().text

    def command_line(self) -> list[str]:
        """How ``engine="systemtap"`` runs that script, which stap reads on its standard input."""
        from .systemtap.engine import command

        return list(command(self._script(), self._choice.options).arguments)

    def _script(self) -> Script:
        from .systemtap.engine import made

        spec = self._spec or self._resolve(os.getpid() if self._command is not None else None)
        return made(spec, self._choice.options, self._interval, self._command)

    @property
    def spec(self) -> SessionSpec:
        """The description as it crosses into the engine; of a running session, as it did. Touches no kernel for exact
        names; patterns are looked up."""
        return self._spec or self._resolve(None)

    @property
    def losses(self) -> Losses:
        """What happened to every hit of every probe; final once the session is over."""
        if self._running is None or self._spec is None:
            return Losses(names=[probe.name for probe in self._probes])
        self._running.check_process()
        return Losses(
            self._running.engine.losses(),
            [probe.name for probe in self._spec.probes],
            targets=[self._spec.rows(probe) for probe in self._spec.probes],
            lost_children=self._running.engine.lost_children,
            samples=[probe.sample for probe in self._spec.probes],
            unkeyed=[sum(aggregate.faulted for aggregate in probe.aggregates) for probe in self._probes],
            buffer=self._buffer,
            queue=self._queue,
            beyond=self._running.engine.beyond(),
            steps=self._running.steps_of_budget(),
        )

    @property
    def ended_by(self) -> EndedBy | None:
        """What ended it: ``stop duration limit command interrupt end``, or ``error`` for an exception; None before."""
        return None if self._running is None else self._running.ended_by

    @property
    def returncode(self) -> int | None:
        """The command's exit status, or the negated signal that killed it; None without one, or before its end."""
        return None if self._command is None else self._command.poll()

    def __repr__(self) -> str:
        return f"<Session, {self._state}: {', '.join(probe.name for probe in self._probes) or 'no probe'}>"

    # Inside -----------------------------------------------------------------------------------------------------------

    def _must_be_declaring(self) -> None:
        """Raises StateError once the session has started."""
        if self._running is not None:
            raise StateError(f"this session is {self._state}: declare probes, handlers and tables before it starts")

    @property
    def _state(self) -> str:
        if self._running is None:
            return "declared"
        return "stopped" if self._running.over else "running"

    def _started(self, verb: str) -> Running:
        if self._running is None:
            raise StateError(
                f"this session has not been started, so there is nothing to {verb}: "
                "write 'with session:' around the loop, or call session.start() or session.run()"
            )
        return self._running

    def _adopt(self, source: Any) -> handling.Found:
        """Finds the handlers of `source`."""
        if source is None:
            return self._wiring.found
        found = self._wiring.discover(source)
        if self._running is None:
            self._wiring.found = found
            return found
        if found.indexes:
            assert self._spec is not None
            spec = self._spec
            silent = [spec.probes[index].name for index in found.indexes if not self._is_read(index, spec)]
            if silent:
                raise StateError(f"probe {silent[0]!r} sends no events: give run() its handlers before the start")
            self._wiring.found = found
            self._running.plan = self._wiring.plan(self, self._running.engine.events(), self._spec)
        return found

    def _bind_tables(self, running: Running) -> None:
        for index, probe in enumerate(self._probes):
            for number, aggregate in enumerate(probe.aggregates):
                aggregate._bind(probe._shown(number, running.engine.table(index, number)), running.refresh)

    def _concluded_loop(self) -> None:
        """A loop has come to its end; without 'with', nobody else will report losses."""
        if not self._entered:
            self._conclude()

    def _finish(self, reason: EndedBy) -> None:
        if self._running is not None:
            try:
                self._running.end(reason)
            finally:
                self._running.unlisten()
                self._entered = False
            self._conclude()

    def _conclude(self) -> None:
        """Reports losses, once."""
        if self._concluded:
            return
        self._concluded = True
        if self._running is not None:
            self._running.steps_of_budget.tell()
        text = self.losses.explain()
        if text:
            warn(text, LossWarning)

    def _resolve(self, command_pid: int | None) -> SessionSpec:
        """The whole description."""
        cgroup = None
        if self._cgroup is not None:
            from .cgroups import cgroup_id

            cgroup = cgroup_id(self._cgroup)
        traced = None if self._system_wide else command_pid or self._pid
        target = TargetFilter(traced, self._follow, cgroup, self._exclude_self and self._pid != os.getpid())
        limits = Limits(
            buffer=self._buffer,
            queue=self._queue,
            stack_depth=self._stack_depth,
            # What is recorded are events, so nothing is counted without sending one.
            tables=0 if self._wiring.records else self._tables,
            transport=self._transport,
            on_full=self._on_full,
            max_overhead=self._max_overhead,
        )
        return SessionSpec(probes=self._described(self._wiring.delivers), target=target, limits=limits)

    def _engine(self, spec: SessionSpec) -> Engine:
        return self._choice.make(spec, [probe.event_class for probe in self._probes], self._command)
