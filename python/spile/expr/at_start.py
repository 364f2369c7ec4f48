"""A value as it was at the start of a span, or at a function's entry: ``at_start(comm)``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from spile.expr.node import Kind, Node, Nodes, ValueNode
from spile.reader import Reader


@dataclass(frozen=True, slots=True)
class AtStart(ValueNode):
    """`value`, computed there."""

    op: ClassVar[str] = "at_start"
    value: ValueNode

    @property
    def kind(self) -> Kind:
        return self.value.kind

    def children(self) -> tuple[Node, ...]:
        return (self.value,)

    def to_json(self) -> dict[str, Any]:
        return {"op": self.op, "value": self.value.to_json()}

    @classmethod
    def read(cls, reader: Reader, nodes: Nodes) -> AtStart:
        return cls(nodes.value(reader.members("op", "value")["value"]))

    def spell(self) -> str:
        return f"at_start({self.value.spell()})"
