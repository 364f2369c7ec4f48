"""A probe's own events: what is recorded of a hit, and what becomes of it.

In: a probe of the spec, one of its targets, the event's id. Out: its schema for the reader, and the lines of its
handler.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spile.expr.node import ValueNode
from spile.spec import ProbeSpec
from spile.systemtap import columns, conditions, frames
from spile.systemtap.columns import Column, Sizes
from spile.systemtap.places import Place
from spile.systemtap.refusal import refuse
from spile.systemtap.text import Lines

if TYPE_CHECKING:
    from spile.systemtap.spans import Spot

#: A record has 16 columns. Of an event's, time and CPU are two.
_MOST_VALUES = 14


@dataclass(frozen=True, slots=True)
class Event:
    """One kind of record."""

    id: int
    probe: int
    target: int
    spec: ProbeSpec
    place: Place
    columns: tuple[Column, ...]
    #: For each aggregate, the columns of its key.
    keys: tuple[tuple[Column, ...], ...]
    #: For each, the column of what is accumulated; None for a count.
    values: tuple[Column | None, ...]
    #: ``where=``, if there is one.
    test: str | None

    @classmethod
    def of(cls, spec: ProbeSpec, place: Place, sizes: Sizes, number: int, probe: int, target: int) -> Event:
        """The event of a probe's target. A probe that sends nothing has the columns of its aggregates alone."""
        taken: dict[ValueNode, Column] = {}
        listed: list[Column] = []
        for named in (spec.capture or ()) if spec.deliver else ():
            made = columns.column(named.name, f"c{number}_{len(listed)}", named.expr, place, sizes, number, "capture")
            taken.setdefault(named.expr, made)
            listed.append(made)

        def take(name: str, node: ValueNode) -> Column:
            if node not in taken:
                taken[node] = columns.column(name, f"c{number}_{len(listed)}", node, place, sizes, number, "key")
                listed.append(taken[node])
            return taken[node]

        keys, values = [], []
        for index, aggregate in enumerate(spec.aggregates):
            keys.append(tuple(take(f"by[{index}][{part}]", node) for part, node in enumerate(aggregate.by)))
            values.append(None if aggregate.value is None else take(f"value[{index}]", aggregate.value))
        test = None if spec.condition is None else conditions.test(spec.condition, place)
        return cls(number, probe, target, spec, place, tuple(listed), tuple(keys), tuple(values), test)

    def schema(self) -> dict[str, Any]:
        """For the reader."""
        fields = [*columns.headers(), *self.columns]
        keys = [[fields.index(column) for column in key] for key in self.keys]
        values = [None if column is None else fields.index(column) for column in self.values]
        listed = [column.schema() for column in fields]
        place = {"id": self.id, "probe": self.probe, "target": self.target}
        return {**place, "fields": listed, "keys": keys, "values": values}

    @property
    def fates(self) -> list[str]:
        """What may become of a hit, each a global that counts.

        A hit is counted once, where its fate is known, so that no lock is held before.
        """
        fates = ["delivered"] if self.spec.deliver else ["counted"]
        if self.test is not None:
            fates.append("filtered")
        if self.test is not None or self.columns:
            fates.append("faulted")
        return fates

    def met(self, fate: str) -> str:
        """A line that counts a hit."""
        return f"{fate}_{self.id} <<< 1"

    def tested(self, spots: Sequence[Spot] = ()) -> Lines:
        """Lines that leave the handler where the condition does not hold, for the spans that meet here too."""
        if self.test is None:
            return []
        faulted, filtered = (
            "; ".join([self.met(fate), *(spot.met(fate) for spot in spots)]) for fate in ("faulted", "filtered")
        )
        return [
            f"try {{ holds = {self.test} }} catch {{ {faulted}; next }}",
            f"if (!holds) {{ {filtered}; next }}",
        ]

    def pieces(self) -> list[frames.Piece]:
        """The record."""
        record = [frames.constant(1, self.id)]
        return record + [frames.piece(column) for column in (*columns.headers(), *self.columns)]

    def check(self) -> None:
        """Refuses what a record, or a print of it, can't hold. (What a table's rows can't, the table refuses.)"""
        if len(self.columns) > _MOST_VALUES:
            refuse(f"{len(self.columns)} values (captures and keys) in an event, where {_MOST_VALUES} are possible")
        if self.spec.deliver:
            frames.check_size(self.pieces())
