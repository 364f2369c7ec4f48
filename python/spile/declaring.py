"""The declaring half of a session: a method for each kind of probe, and the names that they are given.

In: a target, what to capture, when. Out: probes, in the order declared, each with a name of its own. Nothing here
touches a kernel or starts anything: `Session` is the running half.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from . import targets as targeting
from .errors import SpecError
from .expr import task
from .expr.wrapper import Expr
from .near import alternatives
from .probe import E, Fields, Owner, Probe, Where, caller
from .span import Pairing, feeding
from .spec import ProbeSpec

if TYPE_CHECKING:
    from .span import Sides


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
        sample: int = 1,
    ) -> Probe[E]:
        """A kernel tracepoint, as ``"sched:sched_switch"``; its fields are those of its format: ``arg.prev_pid``.

        A list, or a pattern such as ``"block:*"``, makes a group: one probe with several members. ``"*"`` is every
        tracepoint there is but the category `syscalls`, whose events `raw_syscalls` has (`Session.explain` says so).
        `capture` is what an event carries: ``{"name": expression}``, a list of expressions that have a name, ``"*"``
        for all own fields, or an `Event` subclass. `where` is a condition, or a list that must hold together. With
        ``sample=100`` each CPU takes one of 100 hits that pass it, exactly; the others walk no stack and read nothing,
        the ledger counts them as `unsampled`, and what is counted stands for 100 times as much (`Snapshot.scaled`).
        """
        return self._declare("tracepoint", target, capture, where, name, sample)

    def raw_tracepoint(
        self,
        target: str | Sequence[str],
        /,
        *,
        capture: type[E] | Fields | None = None,
        where: Where | None = None,
        name: str | None = None,
        sample: int = 1,
    ) -> Probe[E]:
        """A tracepoint's raw arguments, as the kernel passes them, by name or position: ``arg.prev.pid``, ``arg[0]``.

        The target is a name without its category: ``"sched_switch"``; ``"*"`` is every one that the kernel's types
        know, those without a category included. Cheaper than `tracepoint`.
        """
        return self._declare("raw_tracepoint", target, capture, where, name, sample)

    def profile(
        self,
        hz: int,
        *,
        capture: type[E] | Fields | None = None,
        where: Where | None = None,
        name: str | None = None,
        sample: int = 1,
    ) -> Probe[E]:
        """A timer on every CPU, `hz` times a second; it has no fields of its own."""
        return self._declare("profile", hz, capture, where, name, sample)

    def probe(
        self,
        text: str,
        /,
        *,
        capture: type[E] | Fields | None = None,
        where: Where | None = None,
        name: str | None = None,
        sample: int = 1,
    ) -> Probe[E]:
        """A probe as the command line spells it: ``"tracepoint:sched:sched_switch"``, ``"function:vfs_read"``,
        ``"profile:99"``.

        ``"sched:sched_switch"`` alone is a tracepoint.
        """
        kind, target = targeting.parse_probe(text)
        return self._declare(kind, target, capture, where, name, sample)

    def function(
        self,
        target: str | Sequence[str],
        /,
        *,
        capture: type[E] | Fields | None = None,
        where: Where | None = None,
        name: str | None = None,
        sample: int = 1,
        attach: str = "auto",
    ) -> Probe[E]:
        """A kernel function's entry, as ``"vfs_read"``; its fields are the arguments: ``arg.count``, ``arg[0]``.

        `attach` is how: ``"auto"`` for the best that the kernel offers, or ``"fentry"``, ``"kprobe_multi"``,
        ``"kprobe"``. What a function returns is known to `function_return`.
        """
        return self._declare("function", target, capture, where, name, sample, attach)

    def function_return(
        self,
        target: str | Sequence[str],
        /,
        *,
        capture: type[E] | Fields | None = None,
        where: Where | None = None,
        name: str | None = None,
        sample: int = 1,
        attach: str = "auto",
    ) -> Probe[E]:
        """A kernel function's return, as ``"vfs_read"``: it knows `ret`, `error` and `elapsed`.

        The arguments (``arg.count``) are those at the entry, and ``at_start(x)`` is what `x` was there. It is called
        ``vfs_read_return`` unless `name` says otherwise. `attach` is as for `function`.
        """
        return self._declare("function_return", target, capture, where, name, sample, attach)

    def span(
        self,
        start: Sides,
        end: Sides,
        *,
        key: Expr[Any] = task,
        restart: bool = True,
        max_open: int = 65536,
        capture: type[E] | Fields | None = None,
        where: Where | None = None,
        name: str | None = None,
        sample: int = 1,
    ) -> Probe[E]:
        """What lies between two probes of this session: it fires at `end`, and knows `elapsed`.

        `start` and `end` are a probe, ``(probe, its key)``, or a list of these. A span ends at the first end whose key
        equals that of its start; `key` is that of probes that are given without one, by default the task. Probes that
        only feed a span need neither a capture nor a handler; their ``where=`` holds for it too. A second start begins
        anew, or is left out with ``restart=False``; at most `max_open` starts are open at once.

        ``arg`` is the end's, ``at_start(x)`` is what `x` was at the start, and `where` is tested at the end. So is
        `sample`, of which the probes that it pairs have none.
        """
        self._must_be_declaring()
        place = caller()
        try:
            pairing = Pairing.of(self, start, end, key, restart, max_open)
        except SpecError as error:
            raise SpecError(error.message, error.path, place) from None
        return self._declare("span", pairing, capture, where, name, sample)

    def __getitem__(self, name: str) -> Probe[Any]:
        """The probe of that name. Raises KeyError, naming the nearest."""
        for probe in self._probes:
            if probe.name == name:
                return probe
        raise KeyError(f"no probe is called {name!r}{alternatives(name, [probe.name for probe in self._probes])}")

    def _declare(
        self, kind: str, target: Any, capture: Any, where: Any, name: str | None, sample: int, attach: str = "auto"
    ) -> Probe[Any]:
        self._must_be_declaring()
        probe: Probe[Any] = Probe(
            self,
            kind,
            target,
            capture=capture,
            where=where,
            name=name,
            sample=sample,
            declared_at=caller(),
            attach=attach,
        )
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

    def _described(self, delivers: Callable[[int], bool | None]) -> tuple[ProbeSpec, ...]:
        """Every probe for the engine. `delivers` says of a probe whether its events are wanted, or None.

        Raises SpecError for a probe that does nothing, ProbeNotFound for a pattern that nothing matches.
        """
        indexes = {id(probe): index for index, probe in enumerate(self._probes)}
        fed = feeding(self._probes)
        return tuple(
            probe._spec(deliver=delivers(index), feeds=id(probe) in fed, indexes=indexes)
            for index, probe in enumerate(self._probes)
        )
