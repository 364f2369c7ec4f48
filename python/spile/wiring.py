"""Who gets a session's events: which handlers, and whether anybody does.

In: the probes as declared, and what scripts give as ``handlers=``. Out: whether each probe sends events, and the plan
of who is called with them. It calls nobody itself: `Running` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import handlers as handling
from . import targets as targeting
from .errors import SpecError
from .probe import Probe
from .span import feeding
from .spec import SessionSpec

if TYPE_CHECKING:
    from .session import Session


class Wiring:
    """What stands between the probes of one session and whoever reads them."""

    def __init__(self, probes: Sequence[Probe[Any]], bases: Sequence[str]) -> None:
        self._probes, self._bases = probes, bases
        #: The handlers that were found by their names.
        self.found = handling.Found()
        #: Whether handlers' parameters are filled in order, as in 2008.
        self.positional = False
        #: Whether events that nobody handles are no mistake, as long as some are read.
        self.may_leave = False
        #: Whether all events are recorded.
        self.records = False
        self._unread: frozenset[int] = frozenset()

    def discover(self, source: Any) -> handling.Found:
        """The handlers in `source`: a module, an object or a dict. Raises SpecError for one that fits no probe."""
        return handling.discover(source, [self._candidate(index) for index in range(len(self._probes))])

    def _candidate(self, index: int) -> handling.Candidate:
        probe = self._probes[index]
        members = targeting.resolved(probe.targets, targeting.native_resolver)
        names = tuple(targeting.default_name([target]) for target in members)
        return handling.Candidate(index, probe.name, self._bases[index], names, probe.declared_at)

    def must_have_readers(self) -> None:
        """For `run`, which gives events to handlers only: nobody would ever read the others."""
        self._unread = self.unhandled()
        fed = feeding(self._probes)
        is_read = len(self._unread) < len(self._probes) or any(probe.aggregates for probe in self._probes)
        if self.records or (self.may_leave and is_read):
            return
        for index in self._unread:
            probe = self._probes[index]
            is_there_for_a_span = id(probe) in fed and not probe.captures_events
            if not probe.aggregates and not is_there_for_a_span:
                raise SpecError(
                    f"nothing handles the events of probe {probe.name!r}: write on_{self._bases[index]}, "
                    "or iterate over the session instead of run()",
                    f"probes[{index}]",
                    probe.declared_at,
                )

    def unhandled(self) -> frozenset[int]:
        """The probes without a handler of any kind."""
        return frozenset(
            index for index, probe in enumerate(self._probes) if not probe.handlers and index not in self.found.indexes
        )

    def delivers(self, index: int) -> bool | None:
        """Whether a probe's events are wanted; None where the probe knows by itself."""
        if index in self.found.indexes:
            return True
        if self.records:
            # A recording has every event, but for those of probes that a span is made of and nothing else.
            probe = self._probes[index]
            is_for_a_span = id(probe) in feeding(self._probes) and not probe.captures_events and not probe.aggregates
            return None if is_for_a_span else True
        return False if index in self._unread else None

    def plan(self, session: Session, events: Sequence[Mapping[str, Any]], spec: SessionSpec) -> handling.Plan:
        """Who is called with which of the engine's `events`."""
        return handling.plan(
            events,
            [probe.handlers for probe in self._probes],
            self.found,
            session,
            names=[probe.name for probe in spec.probes],
            positional=self.positional,
        )
