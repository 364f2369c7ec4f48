"""A SystemTap script for a session. In: its spec. Out: the script, its events' schemas, and what `stap` must be told.

Nothing is run or looked up, so any machine can make a script for any other. Equal specs give equal scripts, so that
SystemTap's cache of compiled modules finds them again; what differs from run to run (the tracer's process, the followed
one) is told on the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from spile.errors import Unsupported
from spile.expr.field import Field
from spile.spec import Function, NamedExpr, ProbeSpec, Profile, SessionSpec, SpanSide, SpanSpec, Target, Tracepoint
from spile.systemtap import cells, control, frames, quoting
from spile.systemtap.columns import Sizes
from spile.systemtap.events import Event
from spile.systemtap.filters import Filter
from spile.systemtap.frames import Piece
from spile.systemtap.handlers import End, Handler, Start
from spile.systemtap.needs import Needs
from spile.systemtap.places import Place
from spile.systemtap.refusal import refuse
from spile.systemtap.spans import FATES as SPAN_FATES
from spile.systemtap.spans import EndPlace, Saved, Span, Spot
from spile.systemtap.tables import Table
from spile.systemtap.text import Lines, block, height, joined

#: The most that one byte can name, 0 being what the script says of itself.
_MOST_EVENTS = 255
_LIMITS = {
    # Statements that one hit may run: SystemTap's own limit, 1000, is less than emptying a table takes.
    "MAXACTION": 1_000_000,
    # A session goes on where hits are skipped: SystemTap says at its end how many they were.
    "MAXSKIPPED": 1_000_000_000,
    # Times 10 µs that a hit waits for another CPU that is emptying a table, before SystemTap skips it.
    "MAXTRYLOCK": 5000,
    # Otherwise a session ends, and loses what its tables hold, where probes take half of a CPU's time.
    "STP_NO_OVERLOAD": 1,
}
_DEFAULT_ENTRIES = 4096
#: The names of what a target is called with, as the kernel's own description of its types has them.
Arguments: TypeAlias = Callable[[Target], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Script:
    """A script, and what goes with it."""

    text: str
    #: JSON: what the decoder must know of each event.
    schemas: str
    #: Macros for `stap`, ``-D`` each.
    definitions: tuple[tuple[str, int], ...]
    #: Megabytes of buffer for each CPU (``-s``).
    buffer: int
    #: The global that takes the process id of the tracer (``-G``), or None where it is traced too.
    tracer: str | None
    #: The process to follow (``-x``), or None.
    target: int | None
    #: Lines that are about a probe of the session: the first, the last, which probe and where it is declared.
    places: tuple[tuple[int, int, str], ...] = ()
    #: Programs whose user stacks are walked; none where none is asked for.
    unwind: tuple[str, ...] = ()
    #: Of each aggregate: where it is kept, and why.
    kept: tuple[str, ...] = ()

    def declared(self, line: int) -> str | None:
        """Which of the session's probes a line is about, if it is about one."""
        return next((place for first, last, place in self.places if first <= line <= last), None)

    @property
    def arguments(self) -> list[str]:
        """Options for `stap`, the tracer's process left out."""
        listed = [f"-D{name}={value}" for name, value in self.definitions]
        listed += ["-s", str(self.buffer)]
        return listed if self.target is None else [*listed, "-x", str(self.target)]


def generate(
    spec: SessionSpec,
    *,
    interval: float = 1.0,
    debuginfo: bool = True,
    entries: int = _DEFAULT_ENTRIES,
    arguments: Arguments | None = None,
    programs: Sequence[str] | None = None,
) -> Script:
    """The script for a spec.

    Every `interval` seconds it empties its tables and tells its numbers. With `debuginfo` functions are found by the
    kernel's debugging information, which names their arguments; without it by their symbols. A table has at most
    `entries` rows in the kernel. `arguments` knows what ``capture="*"`` stands for. User stacks are those of
    `programs`; with None they are refused. Raises Unsupported for what SystemTap has no words for, all of it together,
    and SpecError for names and literals that can't be written.
    """
    return _Generator(spec, interval, debuginfo, entries, arguments, programs).script()


def _one_of_several(pieces: list[Piece], room: str, needs: Needs) -> Lines:
    """Lines that print a frame behind others of the same print."""
    return [
        f"used = {room}(used, {frames.size(pieces)})",
        *frames.printed(pieces, needs),
        f"used += {frames.size(pieces)}",
    ]


def _tables(event: Event, entries: int, needs: Needs) -> list[Table]:
    """The tables of an event's probe: none where its events are sent, for those carry what is accumulated."""
    count = 0 if event.spec.deliver else len(event.spec.aggregates)
    return [cells.table(event, aggregate, entries, needs.string) for aggregate in range(count)]


class _Generator:
    def __init__(
        self,
        spec: SessionSpec,
        interval: float,
        debuginfo: bool,
        entries: int,
        arguments: Arguments | None,
        programs: Sequence[str] | None,
    ) -> None:
        self.spec = spec
        self.arguments = arguments
        self.milliseconds = max(10, round(interval * 1000))
        self.debuginfo = debuginfo
        self.needs = Needs()
        self.filter = Filter(spec.target, debuginfo)
        self.programs = programs
        self.sizes = Sizes(spec.limits.stack_depth, unwinds_users=programs is not None)
        #: One of each kind of record.
        self.records: list[Event] = []
        self.spans: list[Span] = []
        self.spots: list[Spot] = []
        self.handlers: list[Handler] = []
        self._lower()
        self.tables = list(self._tables(entries))

    def _lower(self) -> None:
        """All expressions, so that what they need is known; all that is refused, at once."""
        refused: list[str] = []
        if self.spec.limits.max_overhead is not None:
            refused.append(
                "the SystemTap engine can't: max_overhead=, for its probes have nothing that tells them what to leave "
                "out while they run; engine='bpf' can"
            )
        for index, probe in enumerate(self.spec.probes):
            try:
                if probe.sample > 1:
                    refuse(
                        f"sample={probe.sample}: its probes have no number of one CPU's alone, and hits that waited "
                        "for another CPU's would be skipped, and the sample would not be exact"
                    )
                if probe.span is None:
                    self._probe(index, probe)
                else:
                    self._span(index, probe, probe.span)
            except Unsupported as error:
                refused.append(f"probe {quoting.remark(probe.name)}: {error.message}")
        # A reader gives the rows of each table a number behind those of the events.
        count = len(self.records) + sum(len(probe.aggregates) for probe in self.spec.probes if not probe.deliver)
        if count > _MOST_EVENTS:
            refused.append(
                f"the SystemTap engine can't: {count} targets and aggregates, for their numbers end at {_MOST_EVENTS}"
            )
        if refused:
            raise Unsupported("\n".join(refused), errors=tuple(refused))

    def _probe(self, index: int, probe: ProbeSpec) -> None:
        for at, target in enumerate(probe.targets):
            place = Place(target, self.debuginfo, self.needs)
            place.point()
            if isinstance(target, Function) and probe.attach not in ("auto", "kprobe"):
                refuse(f"attach={probe.attach!a}, for it has kprobes alone")
            named = self._named(probe, target)
            event = self._event(named, place, index, at)
            self.handlers.append(Handler(event, [], []))

    def _event(self, probe: ProbeSpec, place: Place, index: int, at: int) -> Event:
        """One more kind of record, of a probe's target."""
        event = Event.of(probe, place, self.sizes, len(self.records) + 1, index, at)
        event.check()
        for table in _tables(event, _DEFAULT_ENTRIES, self.needs):
            table.check()
        self.records.append(event)
        return event

    def _named(self, probe: ProbeSpec, target: Target) -> ProbeSpec:
        """The probe as it is at one of its targets: everything there is there, by name."""
        if probe.capture is not None or not probe.deliver or isinstance(target, Profile):
            return probe if probe.capture is not None else replace(probe, capture=())
        if isinstance(target, Tracepoint):
            refuse(
                f'capture="*" of {target.spelling}, for SystemTap sees what it is called with and not what it records',
                f"raw_tracepoint({target.name!a}) has that, and engine='bpf' can",
            )
        if self.arguments is None:
            refuse('capture="*" for a kernel that is not this one, whose names nobody here knows: name them')
        if isinstance(target, Function) and not self.debuginfo:
            refuse('capture="*" without the kernel\'s debugging information, where arguments have no names')
        names = self.arguments(target)
        return replace(probe, capture=tuple(NamedExpr(name, Field((name,))) for name in names))

    def _span(self, index: int, probe: ProbeSpec, spec: SpanSpec) -> None:
        span = Span(index, spec, Saved(), self.needs)
        starts = [(side, handler) for side in spec.start for handler in self._handlers_of(side)]
        ends = [(side, handler) for side in spec.end for handler in self._handlers_of(side)]
        if not starts or not ends:
            refuse("a span whose starts or ends are refused themselves")
        for at, (side, handler) in enumerate(ends):
            end, origin = handler.event.place, starts[0][1].event.place
            place = EndPlace(end.target, self.debuginfo, self.needs, origin=origin, saved_nodes=span.saved, span=index)
            named = self._named(probe, end.target)
            event = self._event(named, place, index, at)
            spot = Spot.end(index, at, is_filtered=handler.event.test is not None)
            handler.ends.append(End(span, side.key, spot, event))
            self.spots.append(spot)
        for at, (side, handler) in enumerate(starts, len(ends)):
            is_filtered = handler.event.test is not None
            spot = Spot.start(index, at, restart=spec.restart, is_filtered=is_filtered)
            # Looked at now, for what can't be computed there is refused, and what it needs counts.
            span.started(side.key, handler.event.place, spot)
            handler.starts.append(Start(span, side.key, spot))
            self.spots.append(spot)
        self.spans.append(span)

    def _handlers_of(self, side: SpanSide) -> list[Handler]:
        return [handler for handler in self.handlers if handler.event.probe == side.probe]

    def _tables(self, entries: int) -> Iterator[Table]:
        for index in range(len(self.spec.probes)):
            first = next(event for event in self.records if event.probe == index)
            yield from _tables(first, entries, self.needs)

    def script(self) -> Script:
        # What the functions are is known once all else is made.
        handlers = [made.lines(self.tables, self.filter.unseen, self.needs) for made in self.handlers]
        own = ["", *self._ledger(), *self._dumps(), *self._lifetime()]
        lines: list[str | Lines] = [
            *self._head(),
            *self._globals(),
            *(line for function in self.needs.functions() for line in ("", *function.split("\n"))),
            *self.filter.probes(),
        ]
        places: list[tuple[int, int, str]] = []
        for made, owners in handlers:
            lines.append("")
            first = height(lines) + 1
            for count, index in owners:
                places.append((first, first + count - 1, self._place(index)))
                first += count
            lines += made
        lines += own
        definitions = {**self.needs.definitions(), **_LIMITS}
        return Script(
            text=joined(lines),
            schemas=self._schemas(),
            definitions=tuple(sorted(definitions.items())),
            buffer=max(1, self.spec.limits.buffer >> 20),
            tracer=self.filter.tracer,
            target=self.spec.target.pid,
            places=tuple(places),
            unwind=tuple(self.programs or ()) if self.needs.walks_users else (),
            kept=tuple(self._kept()),
        )

    def _kept(self) -> Iterator[str]:
        """In the words of the embedded engine."""
        tables = {(table.event.probe, table.aggregate): table for table in self.tables}
        for index, probe in enumerate(self.spec.probes):
            for aggregate, spec in enumerate(probe.aggregates):
                table = tables.get((index, aggregate))
                where = "counted over the event stream: the probe sends its events"
                if table is not None:
                    where = f"kept in the kernel: {table.explained}"
                yield f"probe {quoting.remark(probe.name)}, aggregate {aggregate}, {spec.function.kind}(), is {where}"

    def _place(self, index: int) -> str:
        """Which probe it is, in the words of the embedded engine's errors."""
        probe = self.spec.probes[index]
        at = f", declared at {probe.declared_at}" if probe.declared_at else ""
        return f"probe {probe.name}{at}"

    def _schemas(self) -> str:
        import json

        return json.dumps([event.schema() for event in self.records], separators=(",", ":"))

    def _head(self) -> list[str]:
        return [
            "# Written by spile; to be read by a decoder that knows the events' schemas.",
            "# Each print is one frame: u16 magic, u16 length, a record, u32 check, padding.",
            "# A record begins with the event's number, 1 byte; 0 is for what the script says of itself.",
        ]

    def _globals(self) -> list[str]:
        lines = ["", *self.filter.declared()]
        lines += [f"global {', '.join(f'{fate}_{event.id}' for fate in event.fates)}" for event in self.records]
        lines += [line for span in self.spans for line in span.declared()]
        lines += [spot.declared() for spot in self.spots]
        return [*lines, "global is_ready", *(table.declared() for table in self.tables)]

    def _ledger(self) -> Lines:
        """What became of the hits, all numbers since the start."""
        room, even = self.needs.function("spile_room"), self.needs.function("spile_even")
        lines: list[str | Lines] = ["used = 0"]
        for event in self.records:
            lines += [f"{fate} = @count({fate}_{event.id})" for fate in event.fates]
            lines.append(f"hits = {' + '.join(event.fates)}")
            lines += _one_of_several(control.ledger(event.id, ["hits", *event.fates]), room, self.needs)
        for spot in self.spots:
            lines += [f"{fate} = @count({spot.name(fate)})" for fate in spot.fates]
            numbers = [fate if fate in spot.fates else "0" for fate in SPAN_FATES]
            lines += _one_of_several(control.span(spot.span, spot.index, numbers), room, self.needs)
        lines.append(f"{even}(used)")
        return ["# What became of the hits, since the start.", *block("function spile_tell_numbers ()", lines)]

    def _dumps(self) -> Lines:
        lines: list[str | Lines] = []
        for table in self.tables:
            lines += ["", *table.dumped(self.needs)]
            lines += ["", f"probe timer.ms({self.milliseconds}), end(1) {{ spile_dump_{table.name}() }}"]
        return lines

    def _lifetime(self) -> Lines:
        ready = self.needs.function("spile_ready")
        end = frames.printed(control.end(), self.needs)
        return [
            "",
            f"probe timer.ms({self.milliseconds}), end(2) {{ spile_tell_numbers() }}",
            "",
            "# A timer runs once all probes are attached.",
            *block("probe timer.ms(20)", ["if (is_ready) next", "is_ready = 1", f"{ready}()"]),
            "",
            *block("probe end(3)", end),
        ]
