"""What a script keeps of values, by aggregate. In: its function. Out: the names of what is kept, and how each is.

The other side of it is `rust/core/src/aggregate/tallied.rs`.
"""

from __future__ import annotations

from dataclasses import dataclass

from spile.spec import AggregateFunction


@dataclass(frozen=True, slots=True)
class Kept:
    """A number that is kept under a key beside the hits."""

    #: A local variable, and an array.
    name: str
    #: What reads it of SystemTap's statistics.
    operator: str
    #: When a new value takes an old one's place; None where they are added up.
    comparison: str | None = None

    def read(self, statistics: str) -> str:
        """Its text, of statistics."""
        return f"{self.operator}({statistics})"


_TOTAL, _LEAST, _GREATEST = Kept("total", "@sum"), Kept("least", "@min", "<"), Kept("greatest", "@max", ">")
_KEPT: dict[str, tuple[Kept, ...]] = {
    "sum": (_TOTAL,),
    "avg": (_TOTAL,),
    "min": (_LEAST,),
    "max": (_GREATEST,),
    "stats": (_TOTAL, _LEAST, _GREATEST),
}
#: Those that count by the value itself. What the user side makes of them is its own affair.
ITEMS = frozenset({"top", "distinct"})


def kept(function: AggregateFunction) -> tuple[Kept, ...]:
    """In the order of a row."""
    return _KEPT.get(function.kind, ())
