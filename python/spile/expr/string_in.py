"""A string equal to one of some literals: ``comm == "cc1"``, ``isin(comm, "cc1", "as")``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from spile.expr.literal import decoded
from spile.expr.node import ConditionNode, Node, Nodes, ValueNode
from spile.reader import Reader


@dataclass(frozen=True, slots=True)
class StringIn(ConditionNode):
    """At least one choice, none twice; each is bytes without a NUL."""

    op: ClassVar[str] = "string_in"
    value: ValueNode
    choices: tuple[bytes, ...]

    @property
    def atomic(self) -> bool:  # type: ignore[override]
        return len(self.choices) != 1

    def children(self) -> tuple[Node, ...]:
        return (self.value,)

    def to_json(self) -> dict[str, Any]:
        return {"op": self.op, "value": self.value.to_json(), "choices": [list(choice) for choice in self.choices]}

    @classmethod
    def read(cls, reader: Reader, nodes: Nodes) -> StringIn:
        parts = reader.members("op", "value", "choices")
        return cls(nodes.value(parts["value"]), tuple(choice.bytes() for choice in parts["choices"]))

    def spell(self) -> str:
        words = [ascii(decoded(choice)) for choice in self.choices]
        if len(words) == 1:
            return f"{self.value.spell_inside()} == {words[0]}"
        return f"isin({', '.join([self.value.spell(), *words])})"
