"""Tables that a script keeps in the kernel, for probes that accumulate and send no events.

In: an event with keys and values. Out: lines that take a hit in, and a function that writes the table's rows and
empties it. A hit whose key finds the table full is written as a row of its own, so the user side's table grows past the
kernel's, and nothing is lost. The table is a plain one: of SystemTap's statistics (``<<<``) by key each CPU's part may
be fuller than their sum can be, which then could be neither read nor emptied. Without a key they serve (`cells`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from spile.spec import AggregateFunction
from spile.systemtap import bins, control, frames, integer
from spile.systemtap.columns import Column
from spile.systemtap.events import Event
from spile.systemtap.integer import Int
from spile.systemtap.kept import ITEMS, Kept, kept
from spile.systemtap.needs import Needs
from spile.systemtap.refusal import refuse
from spile.systemtap.text import Lines, block

#: Bytes of the kernel's memory that a table's strings may take.
_MEMORY = 8 << 20
_LEAST = 64
#: Columns of a record, as the reader has them.
_MOST_COLUMNS = 16


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
        table = cls(event, aggregate, entries)
        strings = sum(column.kind not in ("int", "name") for column in table.parts(event))
        if strings:
            entries = min(entries, max(_LEAST, _MEMORY // (strings * string)))
        return cls(event, aggregate, entries)

    @property
    def name(self) -> str:
        """What the script calls it."""
        return f"{self.event.probe}_{self.aggregate}"

    @property
    def function(self) -> AggregateFunction:
        """What is accumulated."""
        return self.event.spec.aggregates[self.aggregate].function

    @property
    def kept(self) -> tuple[Kept, ...]:
        """What is kept under a key beside the hits."""
        return kept(self.function)

    @property
    def is_binned(self) -> bool:
        """Whether a value's bin is part of its key."""
        return self.function.kind in bins.BINNED

    @property
    def may_print(self) -> bool:
        """Whether a hit may be sent as a row of its own."""
        return True

    @property
    def explained(self) -> str:
        """How it is kept, for people."""
        each = "by key and bin" if self.is_binned else "by key and value" if self.function.kind in ITEMS else "by key"
        return f"an array of {self.entries} rows {each}; a hit that finds it full is sent as a row of its own"

    def parts(self, event: Event) -> tuple[Column, ...]:
        """At one of the probe's targets: the columns of the key, and behind them a value that is counted itself."""
        value = event.values[self.aggregate]
        items = () if value is None or self.function.kind not in ITEMS else (value,)
        return event.keys[self.aggregate] + items

    def indices(self, event: Event) -> list[str]:
        """The variables under which a hit is kept."""
        return [column.variable for column in self.parts(event)] + (["bin"] if self.is_binned else [])

    def check(self) -> None:
        """Refuses rows that a print, or the reader's record, can't hold."""
        parts, columns = len(self.event.keys[self.aggregate]), len(self.indices(self.event)) + len(self.kept) + 1
        most = _MOST_COLUMNS - (columns - parts)
        if parts > most:
            refuse(f"a table's key of {parts} parts for {self.function.kind}(), where {most} are possible")
        frames.check_size(self.row(self.event, [each.name for each in self.kept], "1"))

    def declared(self) -> str:
        """Globals. Where there are arrays beside a table, it has the place of a key's numbers: keys are kept once."""
        arrays = ["hits", *(each.name for each in self.kept)] if self.kept else []
        names = [f"table_{self.name}[{self.entries}]", f"size_{self.name}", f"direct_{self.name}"]
        return f"global {', '.join([*names, *(f'{array}_{self.name}[{self.entries}]' for array in arrays)])}"

    def value(self, event: Event) -> Int:
        """What is accumulated, of a number."""
        column = event.values[self.aggregate]
        assert column is not None and column.number is not None, "numbers alone are summed, compared and sorted"
        return column.number

    # A hit ------------------------------------------------------------------------------------------------------------

    def counted(self, event: Event, needs: Needs) -> Lines:
        """Lines that take in a hit of one of the probe's targets, whose key and value have been computed."""
        first: Lines = [f"bin = {bins.number(self.function, self.value(event), needs)}"] if self.is_binned else []
        names = ", ".join(self.indices(event))
        sent = block("else", [f"direct_{self.name}++", *self.sent(event, needs)])
        if self.kept:
            return [*first, f"slot = table_{self.name}[{names}]", *self._slotted(event, names, needs), *sent]
        entry = f"table_{self.name}[{names}]"
        return [
            *first,
            f"if ([{names}] in table_{self.name}) {entry}++",
            f"else if (size_{self.name} < {self.entries}) {{ {entry} = 1; size_{self.name}++ }}",
            *sent,
        ]

    def sent(self, event: Event, needs: Needs) -> Lines:
        """Lines that send a hit as a row of its own."""
        values = [self.value(event).text for _ in self.kept]
        return self.written(self.row(event, values, "1"), needs)

    def _slotted(self, event: Event, names: str, needs: Needs) -> Lines:
        """Lines for a hit whose key has a slot, and for one that gets one: then nothing of before is left in it."""
        value, has_slot = self.value(event), "slot"
        added = [f"hits_{self.name}[slot]++"]
        for each in self.kept:
            entry = replace(value, text=f"{each.name}_{self.name}[slot]")
            if each.comparison is None:
                added.append(f"{entry.text} += {value.text}")
                if value.size == 8:
                    # Of narrower ones a sum of 64 bits takes more hits than there are between two dumps.
                    fits = needs.function("spile_sum_fits" if value.signed else "spile_unsigned_sum_fits")
                    has_slot = f"slot && {fits}({entry.text}, {value.text})"
            else:
                test = integer.compared(each.comparison, value, entry, needs)
                added.append(f"if ({test}) {entry.text} = {value.text}")
        begun = [f"size_{self.name}++", f"slot = size_{self.name}", f"table_{self.name}[{names}] = slot"]
        begun.append(f"hits_{self.name}[slot] = 1")
        begun += [f"{each.name}_{self.name}[slot] = {value.text}" for each in self.kept]
        is_new = (
            f"size_{self.name} < {self.entries}"
            if has_slot == "slot"
            else f"!slot && size_{self.name} < {self.entries}"
        )
        return [*block(f"if ({has_slot})", added), *block(f"else if ({is_new})", begun)]

    # All rows ---------------------------------------------------------------------------------------------------------

    def dumped(self, needs: Needs) -> Lines:
        """A function that writes all rows."""
        row = self.row(self.event, [each.name for each in self.kept], "count")
        dump = control.dump(self.event.probe, self.aggregate, "rows", "sum")
        closing = [
            f"used = {needs.function('spile_room')}(used, {frames.size(dump)})",
            *frames.printed(dump, needs),
            f"{needs.function('spile_even')}(used + {frames.size(dump)})",
        ]
        lines = ["used = 0", *self.emptied(self.written(row, needs)), *closing, "return rows"]
        return block(f"function spile_dump_{self.name}:long ()", lines)

    def emptied(self, written: Lines) -> Lines:
        """Lines that read all rows, each of which `written` writes, and empty the table."""
        indices = self.indices(self.event)
        names = ", ".join(indices)
        listed = names if len(indices) == 1 else f"[{names}]"
        if self.kept:
            read = [f"slot = table_{self.name}[{names}]", f"count = hits_{self.name}[slot]"]
            read += [f"{each.name} = {each.name}_{self.name}[slot]" for each in self.kept]
        else:
            read = [f"count = table_{self.name}[{names}]"]
        return [
            f"rows = direct_{self.name}",
            f"sum = direct_{self.name}",
            *block(
                f"foreach ({listed} in table_{self.name})",
                [*read, *written, "rows++", "sum += count"],
            ),
            "if (rows == 0) return 0",
            f"delete table_{self.name}",
            f"size_{self.name} = 0",
            f"direct_{self.name} = 0",
        ]

    def row(self, event: Event, values: Sequence[str], count: str) -> list[frames.Piece]:
        """A row: the key, what the value adds to it, what is kept of values in these variables, the hits."""
        pieces = [frames.piece(column) for column in self.parts(event)]
        if self.is_binned:
            pieces.append(frames.number(bins.SIZE, "bin"))
        pieces += [frames.number(8, name) for name in values]
        return control.row(event.probe, self.aggregate, pieces, count)

    def written(self, row: Sequence[frames.Piece], needs: Needs) -> Lines:
        """Lines that print a row behind others of the same print."""
        pieces = list(row)
        return [
            *frames.measured(pieces, needs),
            f"used = {needs.function('spile_room')}(used, {frames.size(pieces)})",
            *frames.printed(pieces, needs),
            f"used += {frames.size(pieces)}",
        ]
