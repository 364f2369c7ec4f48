"""Probe handlers: everything that happens at one hit. In: events, tables, spans. Out: the lines of a ``probe``.

A span's end comes before its start, and both before the probe's own event. One firing makes one print; where it may
hold several frames, their number gives it a length that the transport doesn't trip over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spile.expr.node import ValueNode
from spile.systemtap import frames, quoting
from spile.systemtap.events import Event
from spile.systemtap.needs import Needs
from spile.systemtap.places import TIME
from spile.systemtap.spans import Span, Spot
from spile.systemtap.tables import Table
from spile.systemtap.text import Lines, block, height


@dataclass(frozen=True, slots=True)
class End:
    """A span that ends at a probe."""

    span: Span
    key: ValueNode
    spot: Spot
    #: What it makes of a hit of this probe.
    event: Event


@dataclass(frozen=True, slots=True)
class Start:
    """A span that starts at a probe."""

    span: Span
    key: ValueNode
    spot: Spot


@dataclass(frozen=True, slots=True)
class Handler:
    """One target of one probe, and all that happens there."""

    event: Event
    ends: list[End]
    starts: list[Start]

    def lines(self, tables: Sequence[Table], unseen: str, needs: Needs) -> tuple[Lines, list[tuple[int, int]]]:
        """The probe, and from its top down how many lines are about which of the session's probes.

        `unseen` is a condition under which the session does not see the hit.
        """
        own = self.event.probe
        is_shared = sum(_prints(event, tables) for event in [*(end.event for end in self.ends), self.event]) > 1
        spots = [end.spot for end in self.ends] + [start.spot for start in self.starts]
        parts: list[tuple[int, Lines]] = [(own, self.event.tested(spots))]
        for end in self.ends:
            then = _recorded(end.event, tables, is_shared, needs)
            parts.append((end.span.index, end.span.ended(end.key, self.event.place, end.spot, then)))
        for start in self.starts:
            parts.append((start.span.index, start.span.started(start.key, self.event.place, start.spot)))
        parts.append((own, _recorded(self.event, tables, is_shared, needs)))
        body: list[str | Lines] = [line for _, part in parts for line in part]
        first: list[str | Lines] = [f"if ({unseen}) next"] if unseen else []
        if _mentions(body, TIME):
            first.append(f"{TIME} = ktime_get_ns()")
        if is_shared or _mentions(body, "used"):
            first.append("used = 0")
            body.append(f"{needs.function('spile_even')}(used)")
        target = self.event.spec.targets[self.event.target]
        remark = f"# {quoting.remark(self.event.spec.name)}: {quoting.remark(target.spelling)}, event {self.event.id}"
        lines = [remark, *block(f"probe {self.event.place.point()}", [*first, *body])]
        return lines, [(2 + height(first), own), *((height(part), probe) for probe, part in parts)]


def _prints(event: Event, tables: Sequence[Table]) -> int:
    """Frames that a hit may print."""
    return 1 if event.spec.deliver else sum(table.may_print for table in _of(event, tables))


def _of(event: Event, tables: Sequence[Table]) -> list[Table]:
    return [table for table in tables if table.event.probe == event.probe]


def _recorded(event: Event, tables: Sequence[Table], is_shared: bool, needs: Needs) -> Lines:
    """Lines that compute an event's columns, and print or count them."""
    done = _sent(event, is_shared, needs) if event.spec.deliver else _counted(event, tables, needs)
    values = [f"{column.variable} = {column.text}" for column in event.columns]
    if event.spec.span is not None and event.test is not None:
        filtered = [f"else {event.met('filtered')}"]
        tried: Lines = [*block(f"if ({event.test})", [*values, "is_whole = 1"]), *filtered]
    elif values:
        tried = [*values, "is_whole = 1"]
    else:
        return done
    return [
        "is_whole = 0",
        *block("try", tried),
        f"catch {{ {event.met('faulted')} }}",
        *block("if (is_whole)", done),
    ]


def _sent(event: Event, is_shared: bool, needs: Needs) -> Lines:
    pieces = event.pieces()
    lines = frames.measured(pieces, needs)
    if is_shared:
        lines.append(f"used = {needs.function('spile_room')}(used, {frames.size(pieces)})")
    lines += frames.printed(pieces, needs)
    if is_shared:
        lines.append(f"used += {frames.size(pieces)}")
    return [*lines, event.met("delivered")]


def _counted(event: Event, tables: Sequence[Table], needs: Needs) -> Lines:
    return [*(line for table in _of(event, tables) for line in table.counted(event, needs)), event.met("counted")]


def _mentions(lines: Lines, word: str) -> bool:
    return any(word in line if isinstance(line, str) else _mentions(line, word) for line in lines)
