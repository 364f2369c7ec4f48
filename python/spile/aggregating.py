"""What is accumulated on a probe, by which key: the methods that declare it.

In: expressions, and the place at which they are computed. Out: what the engine is told, and the table or the cell that
the session connects to the engine's own. Nothing here knows targets, or touches a kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from spile.errors import SpecError
from spile.expr import literal, operand
from spile.expr.node import Kind, ValueNode
from spile.expr.shown import form_of
from spile.expr.wrapper import Expr
from spile.places import Place
from spile.shown import Form, ShownTable
from spile.spec import COUNT, AggregateFunction, AggregateSpec

if TYPE_CHECKING:
    from spile._native import NativeTable
    from spile.aggregates import Average, Distinct, Histogram, Quantiles, Stats, Top
    from spile.table import Cell, Table

K = TypeVar("K")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")

#: What takes values that are no numbers.
_OF_ANYTHING = ("top", "distinct")
#: Steps of a linear histogram, and values of a list, at most.
_MOST_STEPS, _MOST_VALUES = 65_536, 65_536
_GREATEST_BOUND = (1 << 63) - 1


class Aggregating:
    """The half of a probe that says what is accumulated over its hits."""

    name: str
    declared_at: str | None
    sample: int
    aggregates: list[Table[Any, Any] | Cell[Any]]
    _accumulated: list[AggregateSpec]
    #: For each of them how the parts of its key are shown, and how its value is.
    _forms: list[tuple[tuple[Form | None, ...], Form | None]]
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
    def count(self, *, by: Any = None) -> Any:
        """Counts the hits, in all or by a key, outside of Python.

        ``by=None`` gives a `Cell`; ``by=comm`` a `Table` whose keys are the values; ``by=(comm, kstack)`` one whose
        keys are tuples, ``by=(comm,)`` 1-tuples. A hit whose key can't be read is not counted, and the ledger says so.

        Raises SpecError for a key that is no capture, StateError once the session has started.
        """
        return self._accumulate(COUNT, None, by)

    @overload
    def sum(self, value: Expr[int], *, by: None = None) -> Cell[int]: ...
    @overload
    def sum(self, value: Expr[int], *, by: Expr[K]) -> Table[K, int]: ...
    @overload
    def sum(self, value: Expr[int], *, by: tuple[Expr[A]]) -> Table[tuple[A], int]: ...
    @overload
    def sum(self, value: Expr[int], *, by: tuple[Expr[A], Expr[B]]) -> Table[tuple[A, B], int]: ...
    @overload
    def sum(self, value: Expr[int], *, by: tuple[Expr[A], Expr[B], Expr[C]]) -> Table[tuple[A, B, C], int]: ...
    @overload
    def sum(
        self, value: Expr[int], *, by: tuple[Expr[A], Expr[B], Expr[C], Expr[D]]
    ) -> Table[tuple[A, B, C, D], int]: ...
    @overload
    def sum(self, value: Expr[int], *, by: tuple[Expr[Any], ...]) -> Table[tuple[Any, ...], int]: ...
    def sum(self, value: Expr[int], *, by: Any = None) -> Any:
        """Adds up an integer: ``sum(arg.count, by=comm)``, ``sum(elapsed)`` in nanoseconds. A sum has 128 bits.

        `by` is that of `count`; so are the errors, and SpecError for a value that is no number.
        """
        return self._accumulate(AggregateFunction("sum"), value, by)

    @overload
    def min(self, value: Expr[int], *, by: None = None) -> Cell[int | None]: ...
    @overload
    def min(self, value: Expr[int], *, by: Expr[K]) -> Table[K, int]: ...
    @overload
    def min(self, value: Expr[int], *, by: tuple[Expr[A]]) -> Table[tuple[A], int]: ...
    @overload
    def min(self, value: Expr[int], *, by: tuple[Expr[A], Expr[B]]) -> Table[tuple[A, B], int]: ...
    @overload
    def min(self, value: Expr[int], *, by: tuple[Expr[A], Expr[B], Expr[C]]) -> Table[tuple[A, B, C], int]: ...
    @overload
    def min(
        self, value: Expr[int], *, by: tuple[Expr[A], Expr[B], Expr[C], Expr[D]]
    ) -> Table[tuple[A, B, C, D], int]: ...
    @overload
    def min(self, value: Expr[int], *, by: tuple[Expr[Any], ...]) -> Table[tuple[Any, ...], int]: ...
    def min(self, value: Expr[int], *, by: Any = None) -> Any:
        """The least value of an integer, in its own unit; see `sum`."""
        return self._accumulate(AggregateFunction("min"), value, by)

    @overload
    def max(self, value: Expr[int], *, by: None = None) -> Cell[int | None]: ...
    @overload
    def max(self, value: Expr[int], *, by: Expr[K]) -> Table[K, int]: ...
    @overload
    def max(self, value: Expr[int], *, by: tuple[Expr[A]]) -> Table[tuple[A], int]: ...
    @overload
    def max(self, value: Expr[int], *, by: tuple[Expr[A], Expr[B]]) -> Table[tuple[A, B], int]: ...
    @overload
    def max(self, value: Expr[int], *, by: tuple[Expr[A], Expr[B], Expr[C]]) -> Table[tuple[A, B, C], int]: ...
    @overload
    def max(
        self, value: Expr[int], *, by: tuple[Expr[A], Expr[B], Expr[C], Expr[D]]
    ) -> Table[tuple[A, B, C, D], int]: ...
    @overload
    def max(self, value: Expr[int], *, by: tuple[Expr[Any], ...]) -> Table[tuple[Any, ...], int]: ...
    def max(self, value: Expr[int], *, by: Any = None) -> Any:
        """The greatest value of an integer, in its own unit; see `sum`."""
        return self._accumulate(AggregateFunction("max"), value, by)

    @overload
    def avg(self, value: Expr[int], *, by: None = None) -> Cell[Average]: ...
    @overload
    def avg(self, value: Expr[int], *, by: Expr[K]) -> Table[K, Average]: ...
    @overload
    def avg(self, value: Expr[int], *, by: tuple[Expr[A]]) -> Table[tuple[A], Average]: ...
    @overload
    def avg(self, value: Expr[int], *, by: tuple[Expr[A], Expr[B]]) -> Table[tuple[A, B], Average]: ...
    @overload
    def avg(self, value: Expr[int], *, by: tuple[Expr[A], Expr[B], Expr[C]]) -> Table[tuple[A, B, C], Average]: ...
    @overload
    def avg(
        self, value: Expr[int], *, by: tuple[Expr[A], Expr[B], Expr[C], Expr[D]]
    ) -> Table[tuple[A, B, C, D], Average]: ...
    @overload
    def avg(self, value: Expr[int], *, by: tuple[Expr[Any], ...]) -> Table[tuple[Any, ...], Average]: ...
    def avg(self, value: Expr[int], *, by: Any = None) -> Any:
        """The mean of an integer, from its sum and the number of hits; see `sum`."""
        return self._accumulate(AggregateFunction("avg"), value, by)

    @overload
    def stats(self, value: Expr[int], *, by: None = None) -> Cell[Stats]: ...
    @overload
    def stats(self, value: Expr[int], *, by: Expr[K]) -> Table[K, Stats]: ...
    @overload
    def stats(self, value: Expr[int], *, by: tuple[Expr[A]]) -> Table[tuple[A], Stats]: ...
    @overload
    def stats(self, value: Expr[int], *, by: tuple[Expr[A], Expr[B]]) -> Table[tuple[A, B], Stats]: ...
    @overload
    def stats(self, value: Expr[int], *, by: tuple[Expr[A], Expr[B], Expr[C]]) -> Table[tuple[A, B, C], Stats]: ...
    @overload
    def stats(
        self, value: Expr[int], *, by: tuple[Expr[A], Expr[B], Expr[C], Expr[D]]
    ) -> Table[tuple[A, B, C, D], Stats]: ...
    @overload
    def stats(self, value: Expr[int], *, by: tuple[Expr[Any], ...]) -> Table[tuple[Any, ...], Stats]: ...
    def stats(self, value: Expr[int], *, by: Any = None) -> Any:
        """The number of hits, and an integer's sum, least and greatest value; see `sum`."""
        return self._accumulate(AggregateFunction("stats"), value, by)

    @overload
    def hist(self, value: Expr[int], *, by: None = None) -> Cell[Histogram]: ...
    @overload
    def hist(self, value: Expr[int], *, by: Expr[K]) -> Table[K, Histogram]: ...
    @overload
    def hist(self, value: Expr[int], *, by: tuple[Expr[A]]) -> Table[tuple[A], Histogram]: ...
    @overload
    def hist(self, value: Expr[int], *, by: tuple[Expr[A], Expr[B]]) -> Table[tuple[A, B], Histogram]: ...
    @overload
    def hist(self, value: Expr[int], *, by: tuple[Expr[A], Expr[B], Expr[C]]) -> Table[tuple[A, B, C], Histogram]: ...
    @overload
    def hist(
        self, value: Expr[int], *, by: tuple[Expr[A], Expr[B], Expr[C], Expr[D]]
    ) -> Table[tuple[A, B, C, D], Histogram]: ...
    @overload
    def hist(self, value: Expr[int], *, by: tuple[Expr[Any], ...]) -> Table[tuple[Any, ...], Histogram]: ...
    def hist(self, value: Expr[int], *, by: Any = None) -> Any:
        """A histogram of an integer by powers of two: ``hist(elapsed // us, by=comm)`` has microseconds.

        Negative values have bins of their own. `by` and the errors are those of `sum`.
        """
        return self._accumulate(AggregateFunction("hist"), value, by)

    @overload
    def lhist(self, value: Expr[int], low: int, high: int, step: int, *, by: None = None) -> Cell[Histogram]: ...
    @overload
    def lhist(self, value: Expr[int], low: int, high: int, step: int, *, by: Expr[K]) -> Table[K, Histogram]: ...
    @overload
    def lhist(
        self, value: Expr[int], low: int, high: int, step: int, *, by: tuple[Expr[A]]
    ) -> Table[tuple[A], Histogram]: ...
    @overload
    def lhist(
        self, value: Expr[int], low: int, high: int, step: int, *, by: tuple[Expr[A], Expr[B]]
    ) -> Table[tuple[A, B], Histogram]: ...
    @overload
    def lhist(
        self, value: Expr[int], low: int, high: int, step: int, *, by: tuple[Expr[A], Expr[B], Expr[C]]
    ) -> Table[tuple[A, B, C], Histogram]: ...
    @overload
    def lhist(
        self, value: Expr[int], low: int, high: int, step: int, *, by: tuple[Expr[A], Expr[B], Expr[C], Expr[D]]
    ) -> Table[tuple[A, B, C, D], Histogram]: ...
    @overload
    def lhist(
        self, value: Expr[int], low: int, high: int, step: int, *, by: tuple[Expr[Any], ...]
    ) -> Table[tuple[Any, ...], Histogram]: ...
    def lhist(self, value: Expr[int], low: int, high: int, step: int, *, by: Any = None) -> Any:
        """A histogram of an integer by equal steps: ``lhist(arg.count, 0, 4096, 256)`` has 16, and one at each end.

        `low` is where the first step begins, `high` where the last one ends. Raises SpecError if that is no whole
        number of steps, or more than 65,536. `by` and the other errors are those of `sum`.
        """
        return self._accumulate(self._linear(low, high, step), value, by)

    @overload
    def quantiles(self, value: Expr[int], *, by: None = None) -> Cell[Quantiles]: ...
    @overload
    def quantiles(self, value: Expr[int], *, by: Expr[K]) -> Table[K, Quantiles]: ...
    @overload
    def quantiles(self, value: Expr[int], *, by: tuple[Expr[A]]) -> Table[tuple[A], Quantiles]: ...
    @overload
    def quantiles(self, value: Expr[int], *, by: tuple[Expr[A], Expr[B]]) -> Table[tuple[A, B], Quantiles]: ...
    @overload
    def quantiles(
        self, value: Expr[int], *, by: tuple[Expr[A], Expr[B], Expr[C]]
    ) -> Table[tuple[A, B, C], Quantiles]: ...
    @overload
    def quantiles(
        self, value: Expr[int], *, by: tuple[Expr[A], Expr[B], Expr[C], Expr[D]]
    ) -> Table[tuple[A, B, C, D], Quantiles]: ...
    @overload
    def quantiles(self, value: Expr[int], *, by: tuple[Expr[Any], ...]) -> Table[tuple[Any, ...], Quantiles]: ...
    def quantiles(self, value: Expr[int], *, by: Any = None) -> Any:
        """The distribution of an integer, from which any quantile follows: ``quantiles(elapsed, by=comm)``.

        A quantile is at most 1/128 of itself off: values are counted by their size, in bins of that width. `by` and the
        errors are those of `sum`.
        """
        return self._accumulate(AggregateFunction("quantiles"), value, by)

    @overload
    def top(self, value: Expr[Any], *, size: int = 10, by: None = None) -> Cell[Top]: ...
    @overload
    def top(self, value: Expr[Any], *, size: int = 10, by: Expr[K]) -> Table[K, Top]: ...
    @overload
    def top(self, value: Expr[Any], *, size: int = 10, by: tuple[Expr[A]]) -> Table[tuple[A], Top]: ...
    @overload
    def top(self, value: Expr[Any], *, size: int = 10, by: tuple[Expr[A], Expr[B]]) -> Table[tuple[A, B], Top]: ...
    @overload
    def top(
        self, value: Expr[Any], *, size: int = 10, by: tuple[Expr[A], Expr[B], Expr[C]]
    ) -> Table[tuple[A, B, C], Top]: ...
    @overload
    def top(
        self, value: Expr[Any], *, size: int = 10, by: tuple[Expr[A], Expr[B], Expr[C], Expr[D]]
    ) -> Table[tuple[A, B, C, D], Top]: ...
    @overload
    def top(self, value: Expr[Any], *, size: int = 10, by: tuple[Expr[Any], ...]) -> Table[tuple[Any, ...], Top]: ...
    def top(self, value: Expr[Any], *, size: int = 10, by: Any = None) -> Any:
        """The `size` most frequent values of a capture of any type: ``top(string(arg.filename), by=comm)``.

        Memory is bounded, however many values there are, and each count comes with what it may be too great by: at
        most all hits divided by 8 times `size` (or by 256, if that is more), and nothing as long as there are fewer
        different values than twice that. Raises SpecError for a size that is not 1 to 65,536; `by` and the other errors
        are those of `count`.
        """
        return self._accumulate(self._list(size), value, by)

    @overload
    def distinct(self, value: Expr[Any], *, by: None = None) -> Cell[Distinct]: ...
    @overload
    def distinct(self, value: Expr[Any], *, by: Expr[K]) -> Table[K, Distinct]: ...
    @overload
    def distinct(self, value: Expr[Any], *, by: tuple[Expr[A]]) -> Table[tuple[A], Distinct]: ...
    @overload
    def distinct(self, value: Expr[Any], *, by: tuple[Expr[A], Expr[B]]) -> Table[tuple[A, B], Distinct]: ...
    @overload
    def distinct(
        self, value: Expr[Any], *, by: tuple[Expr[A], Expr[B], Expr[C]]
    ) -> Table[tuple[A, B, C], Distinct]: ...
    @overload
    def distinct(
        self, value: Expr[Any], *, by: tuple[Expr[A], Expr[B], Expr[C], Expr[D]]
    ) -> Table[tuple[A, B, C, D], Distinct]: ...
    @overload
    def distinct(self, value: Expr[Any], *, by: tuple[Expr[Any], ...]) -> Table[tuple[Any, ...], Distinct]: ...
    def distinct(self, value: Expr[Any], *, by: Any = None) -> Any:
        """How many different values a capture of any type has: ``distinct(arg.sector, by=comm)``, estimated.

        The standard error is 1.6 %, whatever the number: 4 KB for each key, at most. `by` and the errors are those of
        `count`.
        """
        return self._accumulate(AggregateFunction("distinct"), value, by)

    def _accumulate(self, function: AggregateFunction, value: Any, by: Any) -> Any:
        from spile.table import Cell, Table

        self._must_be_declaring()
        nodes = self._key(by)
        of = None if function == COUNT else self._value(function.kind, value)
        made: Table[Any, Any] | Cell[Any]
        if by is None:
            made = Cell(function, None, label=self.name, value=value, sample=self.sample)
        else:
            scalar = not isinstance(by, tuple)
            key = (by,) if scalar else by
            made = Table(function, key, scalar=scalar, label=self.name, value=value, sample=self.sample)
        self.aggregates.append(made)
        self._accumulated.append(AggregateSpec(function, nodes, of))
        parts = by if isinstance(by, tuple) else () if by is None else (by,)
        self._forms.append((tuple(map(form_of, parts)), form_of(value) if function.kind == "top" else None))
        return made

    def _shown(self, number: int, native: NativeTable) -> NativeTable:
        """A table whose keys, and a list's values, are shown as they were asked for."""
        forms, item = self._forms[number]
        if item is None and not any(forms):
            return native
        return cast("NativeTable", ShownTable(native, forms, item))

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
                nodes.append(self._node(part, "by=", path))
            return tuple(nodes)
        except SpecError as error:
            raise self._located(error) from None

    def _value(self, kind: str, value: Any) -> ValueNode:
        try:
            node = self._node(value, f"{kind}()", "value")
            if kind not in _OF_ANYTHING and node.kind in (Kind.STRING, Kind.STACK):
                raise SpecError(
                    f"{kind}() takes a number, and {node.spell()} is {node.kind.value}: "
                    "top(), distinct() and by= take it",
                    "value",
                )
            return node
        except SpecError as error:
            raise self._located(error) from None

    def _node(self, given: Any, what: str, path: str) -> ValueNode:
        try:
            node = operand.value(given, what)
        except SpecError as error:
            raise SpecError(error.message, path) from None
        self._place.check(node, path)
        return node

    def _linear(self, low: Any, high: Any, step: Any) -> AggregateFunction:
        bounds = {"low": low, "high": high, "step": step}
        low, high, step = (self._integer("lhist", name, value) for name, value in bounds.items())
        if step < 1 or high <= low or (high - low) % step:
            message = f"from {low} to {high} there is no whole number of steps of {step}, at least one"
            raise self._located(SpecError(message, "step"))
        if (high - low) // step > _MOST_STEPS:
            message = f"{(high - low) // step:,} bins: a linear histogram has at most {_MOST_STEPS:,}"
            raise self._located(SpecError(message, "step"))
        return AggregateFunction("lhist", (("low", low), ("high", high), ("step", step)))

    def _list(self, size: Any) -> AggregateFunction:
        size = self._integer("top", "size", size)
        if not 1 <= size <= _MOST_VALUES:
            message = f"size={size}: 1 to {_MOST_VALUES:,} of the most frequent values are kept"
            raise self._located(SpecError(message, "size"))
        return AggregateFunction("top", (("size", size),))

    def _integer(self, kind: str, name: str, value: Any) -> int:
        if not literal.is_integer(value):
            raise self._located(SpecError(f"{name}={value!r}: {kind}() takes a whole number", name))
        try:
            number = literal.integer(value)
        except SpecError as error:
            raise self._located(SpecError(error.message, name)) from None
        if name in ("low", "high") and number > _GREATEST_BOUND:
            raise self._located(SpecError(f"{name}={number}: {kind}()'s bounds are at most 2**63 - 1", name))
        return number

    def _must_be_declaring(self) -> None:
        """Raises StateError once the session has started."""
        raise NotImplementedError

    def _located(self, error: SpecError) -> SpecError:
        return SpecError(error.message, error.path, error.declared_at or self.declared_at)
