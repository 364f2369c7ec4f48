"""A string that begins with a literal: ``startswith(comm, "kworker/")``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from spile.expr.literal import decoded
from spile.expr.node import ConditionNode, Node, Nodes, ValueNode
from spile.reader import Reader


@dataclass(frozen=True, slots=True)
class StartsWith(ConditionNode):
    """`prefix` is at least one byte, and no NUL."""

    op: ClassVar[str] = "starts_with"
    value: ValueNode
    prefix: bytes

    def children(self) -> tuple[Node, ...]:
        return (self.value,)

    def to_json(self) -> dict[str, Any]:
        return {"op": self.op, "value": self.value.to_json(), "prefix": list(self.prefix)}

    @classmethod
    def read(cls, reader: Reader, nodes: Nodes) -> StartsWith:
        parts = reader.members("op", "value", "prefix")
        return cls(nodes.value(parts["value"]), parts["prefix"].bytes())

    def spell(self) -> str:
        return f"startswith({self.value.spell()}, {decoded(self.prefix)!a})"
