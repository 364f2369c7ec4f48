"""Conditions of conditions: all of them, any of them, not this. `And` and `Or` hold no terms of their own kind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from spile.expr.node import ConditionNode, Node, Nodes
from spile.reader import Reader


@dataclass(frozen=True, slots=True)
class _Chain(ConditionNode):
    atomic: ClassVar[bool] = False
    sign: ClassVar[str]
    terms: tuple[ConditionNode, ...]

    @classmethod
    def of(cls, terms: Iterable[ConditionNode]) -> Self:
        """Joins terms; a term of the same kind gives its own."""
        return cls(tuple(part for term in terms for part in (term.terms if isinstance(term, cls) else (term,))))

    def children(self) -> tuple[Node, ...]:
        return self.terms

    def to_json(self) -> dict[str, Any]:
        return {"op": self.op, "terms": [term.to_json() for term in self.terms]}

    @classmethod
    def read(cls, reader: Reader, nodes: Nodes) -> Self:
        return cls(tuple(nodes.condition(term) for term in reader.members("op", "terms")["terms"]))

    def spell(self) -> str:
        return f" {self.sign} ".join(term.spell_inside() for term in self.terms)


@dataclass(frozen=True, slots=True)
class And(_Chain):
    """All of them."""

    op: ClassVar[str] = "and"
    sign: ClassVar[str] = "&"


@dataclass(frozen=True, slots=True)
class Or(_Chain):
    """Any of them."""

    op: ClassVar[str] = "or"
    sign: ClassVar[str] = "|"


@dataclass(frozen=True, slots=True)
class Not(ConditionNode):
    """Not this. Where a read faults, neither the condition nor its opposite holds."""

    op: ClassVar[str] = "not"
    term: ConditionNode

    def children(self) -> tuple[Node, ...]:
        return (self.term,)

    def to_json(self) -> dict[str, Any]:
        return {"op": self.op, "term": self.term.to_json()}

    @classmethod
    def read(cls, reader: Reader, nodes: Nodes) -> Not:
        return cls(nodes.condition(reader.members("op", "term")["term"]))

    def spell(self) -> str:
        return f"~{self.term.spell_inside()}"
