"""Probe handlers: everything that happens at one hit. In: events, tables. Out: the lines of a ``probe``.

One firing makes one print, and a print that holds several frames gets a length that the transport doesn't trip over.
"""

from __future__ import annotations

from spile.systemtap import frames, quoting
from spile.systemtap.events import Event
from spile.systemtap.needs import Needs
from spile.systemtap.places import TIME
from spile.systemtap.tables import Table
from spile.systemtap.text import Lines, block


def handler(event: Event, tables: list[Table], seen: str, needs: Needs) -> Lines:
    """A probe and its handler; `seen` is a condition under which the session does not see the hit."""
    body: list[str | Lines] = [f"if ({seen}) next"] if seen else []
    body.append(event.counted("hits"))
    rest = [*event.tested(), *event.computed()]
    rest += _sent(event, needs) if event.spec.deliver else _counted(event, tables, needs)
    if _mentions(rest, TIME):
        body.append(f"{TIME} = ktime_get_ns()")
    target = event.spec.targets[event.target]
    remark = f"# {quoting.remark(event.spec.name)}: {quoting.remark(target.spelling)}, event {event.id}"
    return [remark, *block(f"probe {event.place.point()}", [*body, *rest])]


def _sent(event: Event, needs: Needs) -> list[str | Lines]:
    pieces = event.pieces()
    return [*frames.measured(pieces, needs), *frames.printed(pieces, needs), event.counted("delivered")]


def _counted(event: Event, tables: list[Table], needs: Needs) -> list[str | Lines]:
    lines: list[str | Lines] = [line for table in tables for line in table.counted(event, needs)]
    if any(table.key for table in tables):
        # Rows that found no room in a table are the only thing that such a probe prints.
        return ["used = 0", *lines, f"{needs.function('spile_even')}(used)"]
    return lines


def _mentions(lines: Lines, word: str) -> bool:
    return any(word in line if isinstance(line, str) else _mentions(line, word) for line in lines)
