"""Tables that a script keeps in the kernel, for probes that count and send no events.

In: an event with keys. Out: lines that count a hit, and a function that writes the table's rows and empties it. A hit
whose key finds the table full is written as a row of its own, so the user side's table grows past the kernel's, and
nothing is lost. The table is a plain one: of SystemTap's statistics (``<<<``) each CPU's part may be fuller than their
sum can be, which then could be neither read nor emptied.
"""

from __future__ import annotations

from dataclasses import dataclass

from spile.systemtap import control, frames
from spile.systemtap.columns import Column
from spile.systemtap.events import Event
from spile.systemtap.needs import Needs
from spile.systemtap.text import Lines, block

#: Bytes of the kernel's memory that a table's strings may take.
_MEMORY = 8 << 20
_LEAST = 64


@dataclass(frozen=True, slots=True)
class Table:
    """One aggregate of one probe, whatever its targets."""

    event: Event
    aggregate: int
    #: Rows that the kernel's table holds at most.
    entries: int

    @classmethod
    def of(cls, event: Event, aggregate: int, entries: int, string: int) -> Table:
        """The table, smaller than wanted where strings, of so many bytes each, would take much memory."""
        strings = sum(column.kind not in ("int", "name") for column in event.keys[aggregate])
        if strings:
            entries = min(entries, max(_LEAST, _MEMORY // (strings * string)))
        return cls(event, aggregate, entries)

    @property
    def name(self) -> str:
        """What the script calls it."""
        return f"{self.event.probe}_{self.aggregate}"

    @property
    def key(self) -> tuple[Column, ...]:
        """The key's columns."""
        return self.event.keys[self.aggregate]

    def declared(self) -> str:
        """Globals."""
        if not self.key:
            return f"global cell_{self.name}"
        return f"global table_{self.name}[{self.entries}], size_{self.name}, direct_{self.name}"

    def counted(self, event: Event, needs: Needs) -> Lines:
        """Lines that count a hit of one of the probe's targets, whose key has been computed."""
        if not self.key:
            return [f"cell_{self.name} <<< 1"]
        key = event.keys[self.aggregate]
        entry = f"table_{self.name}[{_variables(key)}]"
        row = control.row(event.probe, self.aggregate, _pieces(key), "1")
        return [
            f"if ([{_variables(key)}] in table_{self.name}) {entry}++",
            f"else if (size_{self.name} < {self.entries}) {{ {entry} = 1; size_{self.name}++ }}",
            *block("else", [f"direct_{self.name}++", *self._written(row, needs)]),
        ]

    def dumped(self, needs: Needs) -> Lines:
        """A function that writes all rows."""
        row = control.row(self.event.probe, self.aggregate, _pieces(self.key), "count")
        dump = control.dump(self.event.probe, self.aggregate, "rows", "sum")
        closing = [
            f"used = {needs.function('spile_room')}(used, {frames.size(dump)})",
            *frames.printed(dump, needs),
            f"{needs.function('spile_even')}(used + {frames.size(dump)})",
        ]
        if not self.key:
            body: list[str | Lines] = [
                "used = 0",
                f"count = @count(cell_{self.name})",
                f"delete cell_{self.name}",
                "if (count == 0) return 0",
                "rows = 1",
                "sum = count",
                *self._written(row, needs),
                *closing,
            ]
        else:
            names = _variables(self.key)
            listed = names if len(self.key) == 1 else f"[{names}]"
            each = [
                f"count = table_{self.name}[{names}]",
                *self._written(row, needs),
                "rows++",
                "sum += count",
            ]
            body = [
                "used = 0",
                f"rows = direct_{self.name}",
                f"sum = direct_{self.name}",
                *block(f"foreach ({listed} in table_{self.name})", each),
                "if (rows == 0) return 0",
                f"delete table_{self.name}",
                f"size_{self.name} = 0",
                f"direct_{self.name} = 0",
                *closing,
            ]
        return block(f"function spile_dump_{self.name}:long ()", [*body, "return rows"])

    def _written(self, row: list[frames.Piece], needs: Needs) -> list[str]:
        return [
            *frames.measured(row, needs),
            f"used = {needs.function('spile_room')}(used, {frames.size(row)})",
            *frames.printed(row, needs),
            f"used += {frames.size(row)}",
        ]


def _variables(key: tuple[Column, ...]) -> str:
    return ", ".join(column.variable for column in key)


def _pieces(key: tuple[Column, ...]) -> list[frames.Piece]:
    return [frames.piece(column) for column in key]
