"""A field of the probe's own: ``arg.prev_pid``, ``arg[0]``, ``arg.file["from"]``."""

from __future__ import annotations

from dataclasses import dataclass
from keyword import iskeyword
from typing import Any, ClassVar

from spile.expr.node import Kind, Nodes, ValueNode
from spile.reader import Reader

MAX_INDEX = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Field(ValueNode):
    """`path` leads from the argument inwards: members by name, elements and arguments by position."""

    op: ClassVar[str] = "field"
    path: tuple[str | int, ...]

    @property
    def kind(self) -> Kind:
        return Kind.FIELD

    def to_json(self) -> dict[str, Any]:
        return {"op": self.op, "path": list(self.path)}

    @classmethod
    def read(cls, reader: Reader, nodes: Nodes) -> Field:
        path = reader.members("op", "path")["path"]
        steps = tuple(step.text() if isinstance(step.value, str) else step.integer(0, MAX_INDEX) for step in path)
        return cls(steps) if steps else path.refuse("a field's path has at least one step")

    def spell(self) -> str:
        return "arg" + "".join(map(_spell_step, self.path))


def _spell_step(step: str | int) -> str:
    is_attribute = isinstance(step, str) and step.isidentifier() and step.isascii() and not iskeyword(step)
    if is_attribute and not (step.startswith("__") and step.endswith("__")):  # type: ignore[union-attr]
        return f".{step}"
    return f"[{step!r}]"
