"""An integer literal of at most 64 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from spile.expr.node import GREATEST, LEAST, Kind, Nodes, ValueNode
from spile.reader import Reader


@dataclass(frozen=True, slots=True)
class Integer(ValueNode):
    """`value` lies within -2^63 … 2^64 - 1."""

    op: ClassVar[str] = "int"
    value: int

    @property
    def kind(self) -> Kind:
        return Kind.INT

    def to_json(self) -> dict[str, Any]:
        return {"op": self.op, "value": self.value}

    @classmethod
    def read(cls, reader: Reader, nodes: Nodes) -> Integer:
        return cls(reader.members("op", "value")["value"].integer(LEAST, GREATEST))

    def spell(self) -> str:
        return str(self.value)

    def spell_inside(self) -> str:
        return str(self.value) if self.value >= 0 else f"({self.value})"
