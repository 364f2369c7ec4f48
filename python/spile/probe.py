"""A probe: what it is attached to, what it captures, when it fires, who handles it.

In: a declaration, by a session's method and by what follows on the probe itself. Out: a `ProbeSpec` for the engine, and
the handlers and tables that the session connects. What can be told without a kernel is refused here, with the line of
the script that declared it; whether targets and fields exist is told when the session starts or is checked.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from spile import capture as capturing
from spile import targets as targeting
from spile.aggregating import Aggregating
from spile.arguments import checked_sample
from spile.errors import SpecError
from spile.expr import operand
from spile.expr.logic import And
from spile.expr.node import ConditionNode
from spile.expr.wrapper import Condition, Expr
from spile.near import alternatives
from spile.places import Place
from spile.span import Pairing
from spile.spec import ATTACH, AggregateSpec, Function, NamedExpr, ProbeSpec, Profile, Target

if TYPE_CHECKING:
    from types import FrameType

    import typing_extensions

    from spile._native import Batch, Event
    from spile.loops import Events
    from spile.table import Cell, Table

    #: The class of a probe's events: that of ``capture=``, else `Event`.
    E = typing_extensions.TypeVar("E", bound=Event, default=Event)
else:
    E = TypeVar("E")

#: What ``capture=`` takes beside an `Event` subclass.
Fields = Mapping[str, Expr[Any]] | Sequence[Expr[Any]] | Literal["*"]
#: What ``where=`` takes: one condition, or several that must hold together.
Where = Condition | Sequence[Condition]

E_co = TypeVar("E_co", bound="Event", covariant=True)
Handler = TypeVar("Handler", bound=Callable[..., Any])
BatchHandler = TypeVar("BatchHandler", bound="Callable[[Batch], Any]")

_PACKAGE = __file__.removesuffix("probe.py")
_COMMANDS = _PACKAGE + "cli" + os.sep


class Owner(Protocol):
    """What a probe needs of its session."""

    def _must_be_declaring(self) -> None:
        """Raises StateError once the session has started."""

    def _events_of(self, probe: Probe[Any], /) -> Events[Any]:
        """The events of one probe. Raises StateError before the start."""


class Probe(Aggregating, Generic[E_co]):
    """A probe of a session, or a group of them that share everything.

    Made by a session's methods (`Session.tracepoint` and so on). `name` is the target's last part unless ``name=`` says
    otherwise; a group is called after its first target. Events are sent only with ``capture=`` or a handler; what is
    counted is counted without them.
    """

    def __init__(
        self,
        session: Owner | None,
        kind: str,
        target: Any,
        *,
        capture: type[E_co] | Fields | None = None,
        where: Where | None = None,
        name: str | None = None,
        sample: int = 1,
        declared_at: str | None = None,
        attach: str = "auto",
    ) -> None:
        self.declared_at = declared_at or caller()
        """The script's file and line: ``script.py:12``."""
        self.session = session
        self.kind = kind
        """``"tracepoint"``, ``"function"`` and so on, or ``"span"``."""
        self.handlers: list[tuple[str, Callable[..., Any]]] = []
        """What was registered, in order: ``"event"`` or ``"batch"``, and the function."""
        self.aggregates: list[Table[Any, Any] | Cell[Any]] = []
        """What is accumulated, in order."""
        self._accumulated: list[AggregateSpec] = []
        self._forms = []
        self.event_class: type[Any] | None = None
        """The `Event` subclass that was given as ``capture=``."""
        try:
            self.pairing: Pairing | None = target if isinstance(target, Pairing) else None
            """What a span pairs."""
            self.targets: tuple[Target, ...] = () if self.pairing else targeting.targets_of(kind, target)
            self.attach = self._checked_attach(attach)
            self.sample = checked_sample(sample)
            """How many hits, of those that pass ``where=``, an event or a count stands for: one of them is taken."""
            self._place = self.pairing.place if self.pairing else Place(self.targets)
            base = targeting.default_name(self.targets) if self.targets else kind
            self.name = base if name is None else _checked_name(name)
            self.captures_events = capture is not None
            """Whether events are wanted without a handler. An empty ``capture=`` counts: events have headers."""
            self.capture: capturing.Captured = []
            """Names and expressions in the order declared, or ``"*"``."""
            if capture is not None:
                self.capture, self.event_class = capturing.collect(capture)
            self._check_capture()
            self.condition = _condition(where)
            """The condition's node, or None."""
            if self.condition is not None:
                self._place.check(self.condition, "where")
        except SpecError as error:
            raise self._located(error) from None

    # Handlers.

    def on_event(self, function: Handler) -> Handler:
        """Registers `function` for each event, as a decorator; gives it back unchanged.

        Parameters are bound by name: captured names, ``event``, ``id``, ``probe``, ``time``, ``cpu``, ``session``.
        Several handlers run in the order registered. Raises StateError once the session has started.
        """
        self._handle("event", function)
        return function

    def on_batch(self, function: BatchHandler) -> BatchHandler:
        """Registers `function` for batches of this probe's events, as a decorator; gives it back unchanged.

        Raises StateError once the session has started.
        """
        self._handle("batch", function)
        return function

    def _handle(self, kind: str, function: Any) -> None:
        self._must_be_declaring()
        # An expression is callable too, for the sake of its message.
        if operand.node_of(function) is not None or not callable(function):
            raise self._located(SpecError(f"on_{kind} takes a function, not {operand.described(function)}"))
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise self._located(
                SpecError(
                    f"on_{kind} takes a plain function, and {function.__name__} is async: say `async for` instead"
                )
            )
        self.handlers.append((kind, function))

    # Reading.

    def __iter__(self) -> Iterator[E_co]:
        """The probe's events, of a session that has started. Raises StateError before that, and beside a reader."""
        return iter(self._events())

    def __aiter__(self) -> AsyncIterator[E_co]:
        """As ``for``, for ``async for``."""
        return aiter(self._events())

    def _events(self) -> Events[Any]:
        if self.session is None:
            raise self._located(SpecError("this probe belongs to no session"))
        return self.session._events_of(self)

    def __repr__(self) -> str:
        sampled = f", 1 of {self.sample:,}" if self.sample > 1 else ""
        if self.pairing is not None:
            ways = [", ".join(probe.name for probe, _ in side) for side in (self.pairing.start, self.pairing.end)]
            return f"<Probe {self.name}: from {' to '.join(ways)}{sampled}>"
        spellings = ", ".join(target.spelling for target in self.targets)
        return f"<Probe {self.name}: {spellings}{sampled}>"

    # The road to the kernel.

    def capture_also(self, name: str, expr: Expr[Any]) -> None:
        """Adds one capture. Raises SpecError for a name that is taken, StateError once the session has started."""
        self._must_be_declaring()
        path = f"capture[{name!r}]"
        try:
            named, _ = capturing.collect({name: expr})
            if isinstance(self.capture, str) or isinstance(named, str):
                raise SpecError("'*' captures every field already", "capture")
            if name in dict(self.capture):
                raise SpecError(f"{name!r} is captured already: choose another name", path)
            self._place.check(operand.value(expr, "capture="), path)
        except SpecError as error:
            raise self._located(error) from None
        self.capture = [*self.capture, *named]
        self.captures_events = True

    def _spec(
        self,
        resolve: targeting.Resolver = targeting.native_resolver,
        *,
        deliver: bool | None = None,
        feeds: bool = False,
        indexes: Mapping[int, int] | None = None,
    ) -> ProbeSpec:
        """What the engine is told.

        `resolve` finds what patterns stand for. `deliver` overrides whether events are wanted, for a session that found
        handlers by their names; `feeds` says whether a span is made of it, and `indexes` where, by `id`, the probes of
        a span stand. Raises SpecError for a probe that does nothing, ProbeNotFound for a pattern that nothing matches.
        """
        if deliver is None:
            deliver = self.captures_events or bool(self.handlers)
        if not deliver and not self.aggregates and not feeds:
            raise self._located(
                SpecError(
                    f"the probe {self.name} does nothing: give it capture=, a handler, something to count(), or a span"
                )
            )
        return ProbeSpec(
            name=self.name,
            targets=targeting.resolved(self.targets, resolve),
            capture=None if isinstance(self.capture, str) else self._named_exprs(),
            condition=self.condition,
            sample=self.sample,
            aggregates=tuple(self._accumulated),
            deliver=deliver,
            declared_at=self.declared_at,
            span=None if self.pairing is None else self.pairing.spec(indexes or {}),
            attach=self.attach,
        )

    def _named_exprs(self) -> tuple[NamedExpr, ...]:
        assert not isinstance(self.capture, str)
        return tuple(NamedExpr(name, operand.value(expr, "capture=")) for name, expr in self.capture)

    # Checks.

    def _must_be_declaring(self) -> None:
        if self.session is not None:
            self.session._must_be_declaring()

    def _check_capture(self) -> None:
        if isinstance(self.capture, str):
            if any(isinstance(target, Profile) for target in self._place.targets):
                raise SpecError(
                    "a timer has no fields of its own: capture comm, pid or kstack instead of '*'", "capture"
                )
            return
        for name, expr in self.capture:
            self._place.check(operand.value(expr, "capture="), f"capture[{name!r}]")

    def _checked_attach(self, attach: Any) -> str:
        if attach not in ATTACH:
            near = alternatives(attach, ATTACH) if isinstance(attach, str) else f"; there is {', '.join(ATTACH)}"
            raise SpecError(f"attach={attach!r} is no way to attach{near}", "attach")
        if attach != "auto" and not all(isinstance(target, Function) for target in self.targets):
            raise SpecError(f"attach= is for functions, and {self.targets[0].spelling} is none: leave it out", "attach")
        return str(attach)


def caller() -> str | None:
    """File and line of the innermost code outside of this package: where a script declared something.

    None where it was the command line.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        if frame.f_code.co_filename.startswith(_COMMANDS):
            return None
        frame = frame.f_back
    return None if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _condition(where: Any) -> ConditionNode | None:
    if where is None:
        return None
    if not isinstance(where, list | tuple):
        return _term(where, "where")
    terms = [_term(term, f"where[{index}]") for index, term in enumerate(where)]
    if not terms:
        return None
    return terms[0] if len(terms) == 1 else And.of(terms)


def _term(where: Any, path: str) -> ConditionNode:
    try:
        return operand.condition(where, "where=")
    except SpecError as error:
        raise SpecError(error.message, path) from None


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not name.isidentifier():
        raise SpecError(f"name={name!r}: a probe's name is an identifier, so that on_<name> can handle it", "name")
    return str(name)
