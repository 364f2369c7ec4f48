"""Two integers compared, mathematically where their signs are mixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from spile.expr.node import ConditionNode, Node, Nodes, ValueNode
from spile.reader import Reader

OPERATORS = ("==", "!=", "<", "<=", ">", ">=")


@dataclass(frozen=True, slots=True)
class Compare(ConditionNode):
    """`operator` is one of `OPERATORS`."""

    op: ClassVar[str] = "compare"
    atomic: ClassVar[bool] = False
    operator: str
    left: ValueNode
    right: ValueNode

    def children(self) -> tuple[Node, ...]:
        return (self.left, self.right)

    def to_json(self) -> dict[str, Any]:
        return {
            "op": self.op,
            "operator": self.operator,
            "left": self.left.to_json(),
            "right": self.right.to_json(),
        }

    @classmethod
    def read(cls, reader: Reader, nodes: Nodes) -> Compare:
        parts = reader.members("op", "operator", "left", "right")
        operator = parts["operator"].choice(*OPERATORS)
        return cls(operator, nodes.value(parts["left"]), nodes.value(parts["right"]))

    def spell(self) -> str:
        return f"{self.left.spell_inside()} {self.operator} {self.right.spell_inside()}"
