"""The text of 2008, verbatim: `Systemtap` and its probes, over a session of their own.

In: the calls that scripts made then. Out: the same events. `Session` is the modern twin, and does all the work.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ._native import Stack
from .session import Session

if TYPE_CHECKING:
    from ._native import Event
    from .probe import Probe
    from .systemtap.options import StapOptions


class SystemtapProbe:
    """A probe with a session of its own: say what to capture, `trace`, read the events.

    Handlers are found as ``on_<name>`` and filled as in 2008: the event's id, then the captures in the order declared,
    unless every parameter is called like a capture.
    """

    def __init__(self, session: Session, probe: Probe[Any]) -> None:
        self._session = session
        self._probe = probe
        # In 2008 every hit was an event, whether it carried something or not.
        probe.captures_events = True

    def captureUtime(self, name: str) -> None:
        """Captures the thread's user time, nanoseconds, as ``event[name]``."""
        from .expr import utime

        self.capture(name, utime)

    def captureBacktrace(self, name: str) -> None:
        """Captures the kernel's stack as ``event[name]``, a `Stack`: frames, and a readable ``str()``."""
        from .expr import kstack

        self.capture(name, kstack)

    def capture(self, name: str, expr: Any) -> None:
        """Captures any expression as ``event[name]``.

        Raises SpecError for a name that is taken, StateError once it is traced.
        """
        self._probe.capture_also(name, expr)

    def trace(self, handlers: Any = None) -> None:
        """Starts tracing. With `handlers` (a module, object or dict) it calls them, and returns after the end.

        Raises what `Session.start` and `Session.run` raise.
        """
        if handlers is None:
            self._session.start()
            return
        self._session._wiring.positional = True
        self._session.run(handlers=handlers)

    def getEvent(self) -> Iterator[Event]:
        """Events as they come; waits for them. Ends on `stop` and on Ctrl-C, after what is queued."""
        return iter(self._session)

    def stop(self) -> None:
        """Ends the trace; `getEvent` ends after what is queued."""
        self._session.stop()

    @property
    def session(self) -> Session:
        """The session behind it, for its losses."""
        return self._session


class Systemtap:
    """The entry of 2008.

    probe = Systemtap.probeFunc("vfs_read")
    probe.captureUtime("utime")
    probe.captureBacktrace("trace")
    probe.trace()
    for event in probe.getEvent():
        print(event["utime"], event["trace"])
    """

    trace = Stack
    """What a captured backtrace is."""

    @staticmethod
    def probeFunc(name: str, *, engine: str = "auto", systemtap: StapOptions | None = None) -> SystemtapProbe:
        """Probes a kernel function's entry. Where the kernel allows that to none, `trace` says why, and what it can.

        With ``engine="systemtap"`` stap does it, as `systemtap` says.
        """
        session = Session(engine=engine, systemtap=systemtap)
        return SystemtapProbe(session, session.function(name))

    @staticmethod
    def probe(text: str, *, engine: str = "auto") -> SystemtapProbe:
        """Probes anything, as the command line spells it: ``"tracepoint:sched:sched_switch"``."""
        session = Session(engine=engine)
        return SystemtapProbe(session, session.probe(text))
