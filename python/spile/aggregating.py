"""What is accumulated on a probe, by which key: the methods that declare it.

In: expressions, and the place at which they are computed. Out: what the engine is told, and the table or the cell that
the session connects to the engine's own. Nothing here knows targets, or touches a kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from spile.errors import SpecError
from spile.expr import operand
from spile.expr.node import ValueNode
from spile.expr.wrapper import Expr
from spile.places import Place
from spile.spec import COUNT, AggregateSpec

if TYPE_CHECKING:
    from spile.table import Cell, Table

K = TypeVar("K")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")


class Aggregating:
    """The half of a probe that says what is accumulated over its hits."""

    name: str
    declared_at: str | None
    aggregates: list[Table[Any, Any] | Cell[Any]]
    _accumulated: list[AggregateSpec]
    _place: Place

    @overload
    def count(self, *, by: None = None) -> Cell[int]: ...
    @overload
    def count(self, *, by: Expr[K]) -> Table[K, int]: ...
    @overload
    def count(self, *, by: tuple[Expr[A]]) -> Table[tuple[A], int]: ...
    @overload
    def count(self, *, by: tuple[Expr[A], Expr[B]]) -> Table[tuple[A, B], int]: ...
    @overload
    def count(self, *, by: tuple[Expr[A], Expr[B], Expr[C]]) -> Table[tuple[A, B, C], int]: ...
    @overload
    def count(self, *, by: tuple[Expr[A], Expr[B], Expr[C], Expr[D]]) -> Table[tuple[A, B, C, D], int]: ...
    @overload
    def count(self, *, by: tuple[Expr[Any], ...]) -> Table[tuple[Any, ...], int]: ...
    def count(self, *, by: Any = None) -> Table[Any, int] | Cell[int]:
        """Counts the hits, in all or by a key, outside of Python.

        ``by=None`` gives a `Cell`; ``by=comm`` a `Table` whose keys are the values; ``by=(comm, kstack)`` one whose
        keys are tuples, ``by=(comm,)`` 1-tuples. A hit whose key can't be read is not counted, and the ledger says so.

        Raises SpecError for a key that is no capture, StateError once the session has started.
        """
        from spile.table import Cell, Table

        self._must_be_declaring()
        nodes = self._key(by)
        made: Table[Any, int] | Cell[int]
        if by is None:
            made = Cell(COUNT, None, label=self.name)
        else:
            scalar = not isinstance(by, tuple)
            made = Table(COUNT, (by,) if scalar else by, scalar=scalar, label=self.name)
        self.aggregates.append(made)
        self._accumulated.append(AggregateSpec(COUNT, nodes))
        return made

    def _key(self, by: Any) -> tuple[ValueNode, ...]:
        try:
            if by is None:
                return ()
            if isinstance(by, list):
                raise SpecError(f"a key of several parts is a tuple: by=({', '.join(map(repr, by))},)", "by")
            if isinstance(by, tuple) and not by:
                raise SpecError("by=() is no key: leave by out to count all hits", "by")
            nodes = []
            for index, part in enumerate(by if isinstance(by, tuple) else (by,)):
                path = f"by[{index}]" if isinstance(by, tuple) else "by"
                try:
                    nodes.append(operand.value(part, "by="))
                except SpecError as error:
                    raise SpecError(error.message, path) from None
                self._place.check(nodes[-1], path)
            return tuple(nodes)
        except SpecError as error:
            raise self._located(error) from None

    def _must_be_declaring(self) -> None:
        """Raises StateError once the session has started."""
        raise NotImplementedError

    def _located(self, error: SpecError) -> SpecError:
        return SpecError(error.message, error.path, error.declared_at or self.declared_at)
