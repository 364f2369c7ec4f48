"""The declaring half of a session: a method for each kind of probe, and the names that they are given.

In: a target, what to capture, when. Out: probes, in the order declared, each with a name of its own. Nothing here
touches a kernel or starts anything: `Session` is the running half.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import functions
from . import targets as targeting
from .errors import SpecError
from .near import alternatives
from .probe import E, Fields, Owner, Probe, Where, caller


class Declaring(Owner):
    """What declares probes, and keeps them."""

    def __init__(self) -> None:
        self._probes: list[Probe[Any]] = []
        #: Each probe's name before it was made unique: what `on_…` goes by.
        self._bases: list[str] = []

    def tracepoint(
        self,
        target: str | Sequence[str],
        /,
        *,
        capture: type[E] | Fields | None = None,
        where: Where | None = None,
        name: str | None = None,
    ) -> Probe[E]:
        """A kernel tracepoint, as ``"sched:sched_switch"``; its fields are those of its format: ``arg.prev_pid``.

        A list, or a pattern such as ``"block:*"``, makes a group: one probe with several members.
        `capture` is what an event carries: ``{"name": expression}``, a list of expressions that have a name, ``"*"``
        for all own fields, or an `Event` subclass. `where` is a condition, or a list that must hold together.
        """
        return self._declare("tracepoint", target, capture, where, name)

    def raw_tracepoint(
        self,
        target: str | Sequence[str],
        /,
        *,
        capture: type[E] | Fields | None = None,
        where: Where | None = None,
        name: str | None = None,
    ) -> Probe[E]:
        """A tracepoint's raw arguments, as the kernel passes them, by name or position: ``arg.prev.pid``, ``arg[0]``.

        The target is a name without its category: ``"sched_switch"``. Cheaper than `tracepoint`.
        """
        return self._declare("raw_tracepoint", target, capture, where, name)

    def profile(
        self,
        hz: int,
        *,
        capture: type[E] | Fields | None = None,
        where: Where | None = None,
        name: str | None = None,
    ) -> Probe[E]:
        """A timer on every CPU, `hz` times a second; it has no fields of its own."""
        return self._declare("profile", hz, capture, where, name)

    def probe(
        self,
        text: str,
        /,
        *,
        capture: type[E] | Fields | None = None,
        where: Where | None = None,
        name: str | None = None,
    ) -> Probe[E]:
        """A probe as the command line spells it: ``"tracepoint:sched:sched_switch"``, ``"profile:99"``.

        ``"sched:sched_switch"`` alone is a tracepoint.
        """
        kind, _, rest = text.partition(":")
        if kind in ("function", "function_return"):
            self._must_be_declaring()
            functions.refuse(rest)
        parsed, target = targeting.parse_probe(text)
        return self._declare(parsed, target, capture, where, name)

    def function(
        self, target: str | Sequence[str], /, *, capture: Any = None, where: Any = None, name: str | None = None
    ) -> Probe[Any]:
        """A kernel function's entry. This engine can't probe functions yet: raises Unsupported, naming what it can."""
        self._must_be_declaring()
        functions.refuse(target)

    def function_return(
        self, target: str | Sequence[str], /, *, capture: Any = None, where: Any = None, name: str | None = None
    ) -> Probe[Any]:
        """A kernel function's return. This engine can't probe functions yet: raises Unsupported, naming what it can."""
        self._must_be_declaring()
        functions.refuse(target)

    def __getitem__(self, name: str) -> Probe[Any]:
        """The probe of that name. Raises KeyError, naming the nearest."""
        for probe in self._probes:
            if probe.name == name:
                return probe
        raise KeyError(f"no probe is called {name!r}{alternatives(name, [probe.name for probe in self._probes])}")

    def _declare(self, kind: str, target: Any, capture: Any, where: Any, name: str | None) -> Probe[Any]:
        self._must_be_declaring()
        probe: Probe[Any] = Probe(self, kind, target, capture=capture, where=where, name=name, declared_at=caller())
        self._name(probe, name)
        self._probes.append(probe)
        return probe

    def _name(self, probe: Probe[Any], given: str | None) -> None:
        """Makes a default name unique; refuses a chosen one that is taken."""
        taken = {other.name for other in self._probes}
        base = probe.name
        if base in taken and given is not None:
            raise SpecError(f"two probes are called {given!r}: choose another name=", declared_at=probe.declared_at)
        number = 2
        while probe.name in taken:
            probe.name = f"{base}_{number}"
            number += 1
        self._bases.append(base)
