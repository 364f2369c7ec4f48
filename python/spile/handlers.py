"""Handlers: found by name, bound by parameter, planned for Rust to call.

In: functions that were registered, or are found as ``on_<probe name>`` in a module, object or dict; the engine's kinds
of event. Out: for each kind the callables and where each argument comes from, as `_native.Dispatcher` takes them.
No event passes through here: what is decided here, once, is what Rust does a million times.

How a parameter is bound:
1. annotated with `Event` (or a subclass), or named ``event``: the event;
2. the name of a capture: the captured value;
3. ``id``, ``probe``, ``time``, ``cpu``: the event's header; ``session``: the session;
4. positional-only parameters and ``*args`` are filled as in 2008: the id, then the captures in the order declared;
5. ``**kwargs`` gets the captures that nothing else took; a parameter with a default that is none of these keeps it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import SpecError
from .near import alternatives

Function = Callable[..., Any]
Argument = int | str | tuple[Any]
Plans = dict[int, list[tuple[Function, list[Argument]]]]

HEADERS = ("id", "probe", "time", "cpu")
END = "on_end_trace_session"
_MOST = 16
"""Arguments that Rust passes; a handler with more gets them by way of the event."""


@dataclass(frozen=True)
class Candidate:
    """What a handler can be meant for: a probe, and its members if it is a group."""

    index: int
    name: str
    base: str
    """The name before it was made unique: two probes of one tracepoint share it."""
    members: tuple[str, ...] = ()
    declared_at: str | None = None


@dataclass
class Found:
    """What a module, object or dict had to offer."""

    probes: dict[int, list[Function]] = field(default_factory=dict)
    members: dict[tuple[int, int], list[Function]] = field(default_factory=dict)
    end: Function | None = None

    @property
    def indexes(self) -> set[int]:
        """The probes that have a handler, or a member that has one."""
        return set(self.probes) | {probe for probe, _ in self.members}


# Finding --------------------------------------------------------------------------------------------------------------


def discover(source: Any, candidates: Sequence[Candidate]) -> Found:
    """Finds the handlers of `source`: a module, an object or a dict.

    Raises SpecError for an ``on_…`` that fits no probe, or more than one.
    """
    found = Found()
    empty = True
    for name, function in _offers(source):
        empty = False
        if name == END:
            found.end = function
            continue
        probe, target = _meant(name, function, candidates)
        if target is None:
            found.probes.setdefault(probe, []).append(function)
        else:
            found.members.setdefault((probe, target), []).append(function)
    if empty and source is not None:
        wanted = " or ".join(f"on_{candidate.base}" for candidate in candidates[:4])
        raise SpecError(
            f"{_title(source)} has no handler; a handler is a function called {wanted or 'on_<probe name>'}"
        )
    return found


def _offers(source: Any) -> Iterator[tuple[str, Function]]:
    if source is None:
        return
    if isinstance(source, type):
        raise SpecError(f"handlers={source.__name__} is a class; pass an object: handlers={source.__name__}()")
    if isinstance(source, Mapping):
        names = [name for name in source if isinstance(name, str)]
        value: Callable[[str], Any] = source.__getitem__
    else:
        # A module's own order is the order of the script; an object's functions are its class's.
        names = list(vars(source)) if inspect.ismodule(source) else dir(source)
        value = lambda name: getattr(source, name)  # noqa: E731
    for name in names:
        if name.startswith("on_") and callable(function := value(name)):
            yield name, function


def _meant(name: str, function: Function, candidates: Sequence[Candidate]) -> tuple[int, int | None]:
    wanted = name.removeprefix("on_")
    exact = [(candidate, None) for candidate in candidates if wanted in (candidate.name, candidate.base)]
    members: list[tuple[Candidate, int | None]] = [
        (candidate, target)
        for candidate in candidates
        if len(candidate.members) > 1 and wanted != candidate.name
        for target, member in enumerate(candidate.members)
        if member == wanted
    ]
    fits = exact + members
    if len(fits) == 1:
        return fits[0][0].index, fits[0][1]
    if not fits:
        known = [word for candidate in candidates for word in (candidate.name, *candidate.members)]
        raise SpecError(f"{name} fits no probe{alternatives(wanted, known, 'on_')}", declared_at=location(function))
    listed = " and ".join(
        f"probe {candidate.name!r}"
        + ("" if target is None else f"'s member {wanted!r}")
        + (f" (declared at {candidate.declared_at})" if candidate.declared_at else "")
        for candidate, target in fits
    )
    raise SpecError(f"{name} fits {listed}: tell them apart by name=", declared_at=location(function))


# Binding --------------------------------------------------------------------------------------------------------------


def bind(
    function: Function, fields: Sequence[str], session: Any, *, probe: str = "", positional: bool = False
) -> tuple[Function, list[Argument]]:
    """The callable for Rust, and where its arguments come from.

    `positional` is 2008's way: when some parameter's name is no capture's, all are filled by position.
    Raises SpecError for a parameter that nothing fits.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return function, ["id", *range(len(fields))]  # a builtin that doesn't say what it takes
    binding = _Binding(function, fields, session, probe)
    parameters = list(signature.parameters.values())
    if positional and not all(binding.knows(parameter) for parameter in parameters):
        parameters = [
            parameter.replace(kind=parameter.POSITIONAL_ONLY)
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
            else parameter
            for parameter in parameters
        ]
    for parameter in parameters:
        binding.add(parameter)
    return binding.done()


class _Binding:
    """One function's parameters, taken one by one."""

    def __init__(self, function: Function, fields: Sequence[str], session: Any, probe: str) -> None:
        self.function, self.session, self.probe = function, session, probe
        self.fields = list(fields)
        self.index = {name: index for index, name in enumerate(fields)}
        self.annotations = _annotations(function)
        self.filling: list[Argument] = ["id", *range(len(fields))]
        self.arguments: list[Argument] = []
        self.keywords: dict[str, Argument] = {}

    def knows(self, parameter: inspect.Parameter) -> bool:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            return True
        return self.named(parameter) is not None or parameter.default is not parameter.empty

    def named(self, parameter: inspect.Parameter) -> Argument | None:
        name = parameter.name
        if name == "event" or _is_event(self.annotations.get(name, parameter.annotation)):
            return "event"
        if name in self.index:
            return self.index[name]
        if name in HEADERS:
            return name
        return (self.session,) if name == "session" else None

    def add(self, parameter: inspect.Parameter) -> None:
        if parameter.kind is parameter.POSITIONAL_ONLY:
            self.fill(parameter)
        elif parameter.kind is parameter.VAR_POSITIONAL:
            self.arguments += self.filling
            self.filling = []
        elif parameter.kind is parameter.VAR_KEYWORD:
            taken = {argument for argument in (*self.arguments, *self.keywords.values()) if isinstance(argument, int)}
            self.keywords |= {name: index for name, index in self.index.items() if index not in taken}
        else:
            self.name(parameter)

    def fill(self, parameter: inspect.Parameter) -> None:
        if self.filling:
            self.arguments.append(self.filling.pop(0))
        elif parameter.default is parameter.empty:
            raise self.error(
                f"{_title(self.function)} takes more than the id and the {len(self.fields)} captures of "
                f"probe {self.probe!r}: {', '.join(['id', *self.fields])}"
            )

    def name(self, parameter: inspect.Parameter) -> None:
        argument = self.named(parameter)
        if argument is None:
            if parameter.default is parameter.empty:
                raise self.error(
                    f"parameter {parameter.name!r} of {_title(self.function)} is not captured by probe "
                    f"{self.probe!r}{alternatives(parameter.name, self.fields)}; capture it, or take 'event'"
                )
            if parameter.kind is parameter.KEYWORD_ONLY:
                return
            argument = (parameter.default,)
        elif argument in self.filling:
            self.filling.remove(argument)
        if parameter.kind is parameter.KEYWORD_ONLY:
            self.keywords[parameter.name] = argument
        else:
            self.arguments.append(argument)

    def error(self, message: str) -> SpecError:
        return SpecError(message, declared_at=location(self.function))

    def done(self) -> tuple[Function, list[Argument]]:
        sources = [*self.arguments, *self.keywords.values()]
        if len(sources) > _MOST:
            return _from_event(self.function, self.arguments, self.keywords, self.fields), ["event"]
        if not self.keywords:
            return self.function, sources
        function, count, names = self.function, len(self.arguments), list(self.keywords)

        def with_keywords(*values: Any) -> Any:
            return function(*values[:count], **dict(zip(names, values[count:], strict=True)))

        return with_keywords, sources


def _from_event(
    function: Function, arguments: list[Argument], keywords: dict[str, Argument], fields: Sequence[str]
) -> Function:
    """The slow way, for more arguments than Rust passes."""

    def value(event: Any, source: Argument) -> Any:
        if isinstance(source, tuple):
            return source[0]
        if isinstance(source, int):
            return event[fields[source]]
        return event if source == "event" else getattr(event, source)

    def with_event(event: Any) -> Any:
        return function(
            *[value(event, source) for source in arguments],
            **{name: value(event, source) for name, source in keywords.items()},
        )

    return with_event


def check_batch_handler(function: Function) -> None:
    """Raises SpecError for a function that can't be called with a batch alone."""
    try:
        inspect.signature(function).bind(None)
    except ValueError:
        return
    except TypeError:
        raise SpecError(
            f"{_title(function)} handles batches: it takes one argument, the batch", declared_at=location(function)
        ) from None


def end(function: Function, session: Any, error: BaseException | None) -> None:
    """Calls the end handler; where another exception is on its way, that one goes first."""
    try:
        call_end(function, session)
    except Exception as raised:
        if error is None:
            raise
        error.add_note(f"on_end_trace_session raised, too: {raised!r}")


def call_end(function: Function, session: Any) -> None:
    """Calls ``on_end_trace_session``, which takes nothing or the session."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        parameters = ()  # type: ignore[assignment]
    plain = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if plain:
        function(session)
    elif any(p.kind is p.KEYWORD_ONLY and p.name == "session" for p in parameters):
        function(session=session)
    else:
        function()


# Planning -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What happens to the events of a running session."""

    calls: Plans
    batches: list[tuple[frozenset[int], Function]]
    """The kinds of event that a batch handler is for, and the handler; in the order of registration."""

    @property
    def handled(self) -> frozenset[int]:
        """The kinds of event that have a handler of either sort."""
        return frozenset(self.calls).union(*(ids for ids, _ in self.batches))


def plan(
    events: Sequence[Mapping[str, Any]],
    registered: Sequence[Sequence[tuple[str, Function]]],
    found: Found,
    session: Any,
    *,
    names: Sequence[str],
    positional: bool = False,
) -> Plan:
    """Plans the calls for each kind of event.

    `registered` holds each probe's (kind, function), by probe; a member's own handler beats its group's.
    """
    calls: Plans = {}
    batches: dict[tuple[int, int], tuple[set[int], Function]] = {}
    for event in events:
        probe, number = event["probe"], event["id"]
        fields = [name for name, *_ in event["fields"]]
        functions = found.members.get((probe, event["target"]))
        if functions is None:
            functions = [function for kind, function in registered[probe] if kind == "event"]
            functions += found.probes.get(probe, [])
        if functions:
            calls[number] = [
                bind(function, fields, session, probe=names[probe], positional=positional) for function in functions
            ]
        for position, (kind, function) in enumerate(registered[probe]):
            if kind == "batch":
                check_batch_handler(function)
                batches.setdefault((probe, position), (set(), function))[0].add(number)
    return Plan(calls, [(frozenset(ids), function) for ids, function in batches.values()])


# Words ----------------------------------------------------------------------------------------------------------------


def location(function: Function) -> str | None:
    """``file:line`` of a function, where it has one."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else None


def _title(thing: Any) -> str:
    name = getattr(thing, "__name__", None)
    return str(name) if name else f"handlers={type(thing).__name__}(…)"


def _annotations(function: Function) -> Mapping[str, Any]:
    """The annotations as objects where they can be resolved, else as they were written."""
    target = function if hasattr(function, "__annotations__") else getattr(function, "__call__", function)  # noqa: B004
    try:
        return inspect.get_annotations(target, eval_str=True)
    except Exception:
        return getattr(target, "__annotations__", {})


def _subclasses(base: type[Any]) -> Iterator[type[Any]]:
    for each in base.__subclasses__():
        yield each
        yield from _subclasses(each)


def _is_event(annotation: Any) -> bool:
    from ._native import Event

    if isinstance(annotation, str):
        # A class of the function's own scope can't be resolved from here, but is known by its name.
        return annotation.rpartition(".")[2] in {"Event", *(each.__name__ for each in _subclasses(Event))}
    return isinstance(annotation, type) and issubclass(annotation, Event)
