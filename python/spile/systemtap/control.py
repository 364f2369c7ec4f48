"""Frames in which a script speaks of itself: its numbers, its tables, its end. Out: their pieces."""

from __future__ import annotations

from spile.systemtap.frames import Piece, constant, number

# 1 is for being ready, which a function of the library says.
_LEDGER, _ROW, _DUMP, _END, _SPAN = 2, 3, 4, 5, 7
#: What the ledger has of each event: its hits, and fates of theirs. Those without any are in the script's tables.
NUMBERS = ("hits", "filtered", "delivered", "faulted", "others")


def end() -> list[Piece]:
    """The script has come to its end."""
    return _of(_END)


def ledger(event: int, counted: list[str]) -> list[Piece]:
    """An event's numbers since the start, from variables of these names; those that are not counted are 0."""
    numbers = (number(8, name) if name in counted else constant(8, 0) for name in NUMBERS)
    return [*_of(_LEDGER), constant(1, event), *numbers]


def row(probe: int, aggregate: int, key: list[Piece], count: str) -> list[Piece]:
    """A row of a table, to be added up."""
    last = constant(8, int(count)) if count.isdigit() else number(8, count)
    return [*_of(_ROW), constant(1, probe), constant(1, aggregate), *key, last]


def dump(probe: int, aggregate: int, rows: str, total: str) -> list[Piece]:
    """How many rows were written, and the sum of their counts."""
    return [*_of(_DUMP), constant(1, probe), constant(1, aggregate), number(8, rows), number(8, total)]


def span(probe: int, target: int, numbers: list[str]) -> list[Piece]:
    """What became of the hits of a span's target since the start, from variables; ``"0"`` for what is not counted."""
    written = (constant(8, 0) if name == "0" else number(8, name) for name in numbers)
    return [*_of(_SPAN), constant(1, probe), constant(1, target), *written]


def _of(kind: int) -> list[Piece]:
    return [constant(1, 0), constant(1, kind)]
