"""An integer's opposite, or all its bits turned; ``~`` keeps the type's width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from spile.expr.node import Kind, Node, Nodes, ValueNode
from spile.reader import Reader

OPERATORS = ("-", "~")


@dataclass(frozen=True, slots=True)
class Unary(ValueNode):
    """`operator` is one of `OPERATORS`."""

    op: ClassVar[str] = "unary"
    operator: str
    operand: ValueNode

    @property
    def kind(self) -> Kind:
        return Kind.INT

    def children(self) -> tuple[Node, ...]:
        return (self.operand,)

    def to_json(self) -> dict[str, Any]:
        return {"op": self.op, "operator": self.operator, "operand": self.operand.to_json()}

    @classmethod
    def read(cls, reader: Reader, nodes: Nodes) -> Unary:
        parts = reader.members("op", "operator", "operand")
        return cls(parts["operator"].choice(*OPERATORS), nodes.value(parts["operand"]))

    def spell(self) -> str:
        return f"{self.operator}{self.operand.spell_inside()}"
