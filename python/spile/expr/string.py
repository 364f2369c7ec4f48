"""The NUL-terminated string behind a pointer: ``string(arg.filename)``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from spile.expr.node import Kind, Node, Nodes, ValueNode
from spile.reader import Reader

DEFAULT_LIMIT = 4096
MAX_LIMIT = 16_384


@dataclass(frozen=True, slots=True)
class String(ValueNode):
    """At most `limit` bytes of it, the NUL included."""

    op: ClassVar[str] = "string"
    pointer: ValueNode
    limit: int = DEFAULT_LIMIT

    @property
    def kind(self) -> Kind:
        return Kind.STRING

    def children(self) -> tuple[Node, ...]:
        return (self.pointer,)

    def to_json(self) -> dict[str, Any]:
        return {"op": self.op, "pointer": self.pointer.to_json(), "limit": self.limit}

    @classmethod
    def read(cls, reader: Reader, nodes: Nodes) -> String:
        parts = reader.members("op", "pointer", "limit")
        return cls(nodes.value(parts["pointer"]), parts["limit"].integer(1, MAX_LIMIT))

    def spell(self) -> str:
        limit = "" if self.limit == DEFAULT_LIMIT else f", {self.limit}"
        return f"string({self.pointer.spell()}{limit})"
