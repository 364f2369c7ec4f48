"""The stack of return addresses, the kernel's or the process's: ``kstack``, ``ustack[:8]``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from spile.expr.node import Kind, Nodes, ValueNode
from spile.reader import Reader

NAMES = {"kernel": "kstack", "user": "ustack"}
#: The most frames that a kernel gives by default (`kernel.perf_event_max_stack`).
MAX_STACK_DEPTH = 127


@dataclass(frozen=True, slots=True)
class StackTrace(ValueNode):
    """The `frames` innermost (None: as many as the session keeps) of `space`, which is ``"kernel"`` or ``"user"``."""

    op: ClassVar[str] = "stack"
    space: str
    frames: int | None = None

    @property
    def kind(self) -> Kind:
        return Kind.STACK

    def to_json(self) -> dict[str, Any]:
        return {"op": self.op, "space": self.space, "depth": self.frames}

    @classmethod
    def read(cls, reader: Reader, nodes: Nodes) -> StackTrace:
        parts = reader.members("op", "space", optional=("depth",))
        depth = parts["depth"]
        return cls(parts["space"].choice(*NAMES), None if depth.absent else depth.integer(1, MAX_STACK_DEPTH))

    def spell(self) -> str:
        limit = "" if self.frames is None else f"[:{self.frames}]"
        return NAMES[self.space] + limit
