"""What every node of an expression is: frozen, hashable, compared by structure, written as JSON and as Python.

In: children and literals that have been checked already (the operators and the text both do that). Out: the JSON that
the Rust side reads. Each kind of node is one file beside this one, and all have the same shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, Protocol

from spile.errors import SpecError
from spile.reader import Reader

#: A tree deeper than this would hit the limit of the JSON reader, where a node takes up to two levels.
MAX_DEPTH = 48
#: The least and the greatest integer that 64 bits hold, signed or unsigned.
LEAST, GREATEST = -(1 << 63), (1 << 64) - 1


class Kind(Enum):
    """What a value is, as far as it is known before the kernel is asked."""

    INT = "an integer"
    STRING = "a string"
    STACK = "a stack"
    #: A field of the probe's own: only the kernel knows.
    FIELD = "a field"


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a tree."""

    op: ClassVar[str]
    #: Whether it reads the same with an operator beside it.
    atomic: ClassVar[bool] = True
    depth: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        depth = 1 + max((child.depth for child in self.children()), default=0)
        if depth > MAX_DEPTH:
            raise SpecError(
                f"an expression is nested more than {MAX_DEPTH} levels deep: "
                "combine conditions in one list, and use isin() for many values"
            )
        object.__setattr__(self, "depth", depth)

    def children(self) -> tuple[Node, ...]:
        """The nodes right below."""
        return ()

    def walk(self) -> Iterator[Node]:
        """This node and all below."""
        yield self
        for child in self.children():
            yield from child.walk()

    def to_json(self) -> dict[str, Any]:
        """The form that crosses into Rust."""
        raise NotImplementedError

    def spell(self) -> str:
        """Python that makes it."""
        raise NotImplementedError

    def spell_inside(self) -> str:
        """Python that makes it, fit to stand beside an operator."""
        return self.spell() if self.atomic else f"({self.spell()})"


@dataclass(frozen=True, slots=True)
class ValueNode(Node):
    """A node with a value."""

    @property
    def kind(self) -> Kind:
        """What the value is."""
        raise NotImplementedError

    @classmethod
    def read(cls, reader: Reader, nodes: Nodes) -> ValueNode:
        """From JSON."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class ConditionNode(Node):
    """A node that holds or doesn't."""

    @classmethod
    def read(cls, reader: Reader, nodes: Nodes) -> ConditionNode:
        """From JSON."""
        raise NotImplementedError


class Nodes(Protocol):
    """Reads nodes of every kind; `spile.expr.read` is the one that there is."""

    def value(self, reader: Reader, /) -> ValueNode: ...
    def condition(self, reader: Reader, /) -> ConditionNode: ...
