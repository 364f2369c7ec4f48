"""An integer equal to one of some literals: ``isin(arg.prev_state, 0, 256)``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from spile.expr.node import GREATEST, LEAST, ConditionNode, Node, Nodes, ValueNode
from spile.reader import Reader


@dataclass(frozen=True, slots=True)
class IsIn(ConditionNode):
    """At least one choice, none twice."""

    op: ClassVar[str] = "is_in"
    value: ValueNode
    choices: tuple[int, ...]

    def children(self) -> tuple[Node, ...]:
        return (self.value,)

    def to_json(self) -> dict[str, Any]:
        return {"op": self.op, "value": self.value.to_json(), "choices": list(self.choices)}

    @classmethod
    def read(cls, reader: Reader, nodes: Nodes) -> IsIn:
        parts = reader.members("op", "value", "choices")
        choices = tuple(choice.integer(LEAST, GREATEST) for choice in parts["choices"])
        return cls(nodes.value(parts["value"]), choices)

    def spell(self) -> str:
        return f"isin({self.value.spell()}, {', '.join(map(str, self.choices))})"
