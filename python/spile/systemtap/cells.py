"""What is accumulated of all hits together, without a key: by the statistics of SystemTap's own, in which no CPU waits.

In: an event. Out: the same lines as a table's. Statistics can't say whether a sum still fits, so a value that takes
more than 32 bits of it goes as a row of its own; what is left needs 2**31 hits between two dumps to be too much.
"""

from __future__ import annotations

from spile.systemtap.events import Event
from spile.systemtap.needs import Needs
from spile.systemtap.tables import Table
from spile.systemtap.text import Lines, block


def table(event: Event, aggregate: int, entries: int, string: int) -> Table:
    """The table of an aggregate, in the form that suits its key."""
    made = Table.of(event, aggregate, entries, string)
    return made if made.indices(event) else Cell(event, aggregate, entries)


class Cell(Table):
    """A table of one row."""

    __slots__ = ()

    @property
    def may_print(self) -> bool:
        """Whether a hit may be sent as a row of its own: where its sum is wanted, and it may be too great."""
        return any(each.comparison is None for each in self.kept) and self.value(self.event).size == 8

    @property
    def explained(self) -> str:
        """How it is kept, for people."""
        more = "; a hit whose value takes more than 32 bits is sent as a row of its own" if self.may_print else ""
        return f"statistics of SystemTap's on each CPU{more}"

    @property
    def _is_turned(self) -> bool:
        """Whether the first bit is turned, so that values without a sign are in the order of signed ones."""
        if not self.kept or self.may_print:
            return False
        value = self.value(self.event)
        return value.is_u64 and not value.small

    def declared(self) -> str:
        """Globals."""
        return f"global cell_{self.name}" + (f", direct_{self.name}" if self.may_print else "")

    def counted(self, event: Event, needs: Needs) -> Lines:
        """Lines that take in a hit of one of the probe's targets, whose value has been computed."""
        value = self.value(event) if self.kept else None
        text = "1" if value is None else f"{value.inside} ^ (1 << 63)" if self._is_turned else value.text
        added = f"cell_{self.name} <<< {text}"
        if value is None or not self.may_print:
            return [added]
        high = f"{value.inside} >> 32"
        test = f"{high} == 0 || {high} == -1" if value.signed else f"{high} == 0"
        return [f"if ({test}) {added}", *block("else", [f"direct_{self.name} <<< 1", *self.sent(event, needs)])]

    def emptied(self, written: Lines) -> Lines:
        """Lines that read the row, which `written` writes, and empty the statistics."""
        turned = " ^ (1 << 63)" if self._is_turned else ""
        read = [f"{each.name} = {each.read(f'cell_{self.name}')}{turned}" for each in self.kept]
        # Nothing but a count can be asked of no values.
        first = f"count = @count(cell_{self.name})"
        if not self.may_print:
            emptied = [*read, f"delete cell_{self.name}", "rows = 1", "sum = count", *written]
            return [first, "if (count == 0) return 0", *emptied]
        return [
            f"rows = @count(direct_{self.name})",
            "sum = rows",
            first,
            *block("if (count)", [*read, *written, "rows++", "sum += count"]),
            "if (rows == 0) return 0",
            f"delete cell_{self.name}",
            f"delete direct_{self.name}",
        ]
