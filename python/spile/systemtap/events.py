"""A probe's own events: what is recorded of a hit, and what becomes of it.

In: a probe of the spec, one of its targets, the event's id. Out: its schema for the reader, and the lines of its
handler.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from spile.expr.node import ValueNode
from spile.spec import COUNT, ProbeSpec
from spile.systemtap import columns, conditions, control, frames
from spile.systemtap.columns import Column, Sizes
from spile.systemtap.places import Place
from spile.systemtap.refusal import refuse
from spile.systemtap.text import Lines

#: A record has 16 columns. Of an event's, time and CPU are two; of a row's, the count is one.
_MOST_VALUES = 14
_MOST_PARTS = 15


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
    #: ``where=``, if there is one.
    test: str | None

    @classmethod
    def of(cls, spec: ProbeSpec, place: Place, sizes: Sizes, number: int, probe: int, target: int) -> Event:
        """The event of a probe's target. A probe that sends nothing has the columns of its keys alone."""
        taken: dict[ValueNode, Column] = {}
        listed: list[Column] = []
        if spec.capture is None and spec.deliver:
            refuse('capture="*", for which fields a probe has only the kernel knows: name them')
        for named in (spec.capture or ()) if spec.deliver else ():
            made = columns.column(named.name, f"c{number}_{len(listed)}", named.expr, place, sizes, number, "capture")
            taken.setdefault(named.expr, made)
            listed.append(made)
        keys = []
        for index, aggregate in enumerate(spec.aggregates):
            if aggregate.function != COUNT:
                refuse(f"{aggregate.function.kind}() of a probe's values, for it counts alone as yet")
            key = []
            for part, node in enumerate(aggregate.by):
                if node not in taken:
                    name = f"by[{index}][{part}]"
                    taken[node] = columns.column(name, f"c{number}_{len(listed)}", node, place, sizes, number, "key")
                    listed.append(taken[node])
                key.append(taken[node])
            keys.append(tuple(key))
        test = None if spec.condition is None else conditions.test(spec.condition, place)
        return cls(number, probe, target, spec, place, tuple(listed), tuple(keys), test)

    def schema(self) -> dict[str, Any]:
        """For the reader."""
        fields = [*columns.headers(), *self.columns]
        keys = [[fields.index(column) for column in key] for key in self.keys]
        listed = [column.schema() for column in fields]
        return {"id": self.id, "probe": self.probe, "target": self.target, "fields": listed, "keys": keys}

    def counted(self, number: str) -> str:
        """A line that counts a hit under one of the ledger's numbers."""
        return f"{number}_{self.id} <<< 1"

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

    def tested(self) -> Lines:
        """Lines that leave the handler where the condition does not hold."""
        if self.test is None:
            return []
        return [
            f"try {{ holds = {self.test} }} catch {{ {self.met('faulted')}; next }}",
            f"if (!holds) {{ {self.met('filtered')}; next }}",
        ]

    def pieces(self) -> list[frames.Piece]:
        """The record."""
        record = [frames.constant(1, self.id)]
        return record + [frames.piece(column) for column in (*columns.headers(), *self.columns)]

    def check(self) -> None:
        """Refuses what a print, or a row's key, can't hold."""
        if self.spec.deliver:
            if len(self.columns) > _MOST_VALUES:
                refuse(f"{len(self.columns)} values (captures and keys) in an event, where {_MOST_VALUES} are possible")
            frames.check_size(self.pieces())
            return
        for index, key in enumerate(self.keys):
            if len(key) > _MOST_PARTS:
                refuse(f"a table's key of {len(key)} parts, where {_MOST_PARTS} are possible")
            frames.check_size(control.row(self.probe, index, [frames.piece(column) for column in key], "1"))
