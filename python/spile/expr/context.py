"""A fact about the moment at which a probe fires: who runs, where, since when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from spile.expr.node import Kind, Nodes, ValueNode
from spile.reader import Reader

STRINGS = ("comm", "probe_name")
NUMBERS = ("pid", "tid", "ppid", "uid", "gid", "cgroup", "cpu", "timestamp", "utime", "stime", "task")
#: What only returns and spans have.
OUTCOMES = ("ret", "error", "elapsed")


@dataclass(frozen=True, slots=True)
class Context(ValueNode):
    """`name` is one of `STRINGS`, `NUMBERS` and `OUTCOMES`."""

    op: ClassVar[str] = "context"
    name: str

    @property
    def kind(self) -> Kind:
        # An error has a number and a name, like a field that is an enumeration.
        return Kind.STRING if self.name in STRINGS else Kind.FIELD if self.name == "error" else Kind.INT

    def to_json(self) -> dict[str, Any]:
        return {"op": self.op, "name": self.name}

    @classmethod
    def read(cls, reader: Reader, nodes: Nodes) -> Context:
        return cls(reader.members("op", "name")["name"].choice(*NUMBERS, *STRINGS, *OUTCOMES))

    def spell(self) -> str:
        return self.name
