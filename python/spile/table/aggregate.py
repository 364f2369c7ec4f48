"""What tables and cells share: the declaration, and later the native table behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from spile.aggregates import kind_of
from spile.aggregates.units import spelled, unit_of
from spile.expr import operand
from spile.spec import COUNT, AggregateFunction

if TYPE_CHECKING:
    from spile._native import NativeTable


class Aggregate:
    """What `Table` and `Cell` share."""

    def __init__(
        self,
        function: AggregateFunction = COUNT,
        by: tuple[Any, ...] | None = None,
        *,
        scalar: bool = False,
        label: str = "",
        value: Any = None,
        sample: int = 1,
    ) -> None:
        self.function = function
        """What is accumulated."""
        self.by = by
        """The expressions of the key; None for a single cell."""
        self.scalar = scalar
        """Whether keys are bare values (``by=x``) instead of tuples (``by=(x,)``)."""
        self.of = value
        """The expression whose values are accumulated; None for a count."""
        self.sample = sample
        """How many hits one that is counted stands for: its probe's ``sample=``. Values are as they were counted."""
        node = operand.node_of(value)
        self.unit = None if node is None else unit_of(node)
        """What these values are measured in, as far as that is known."""
        self._kind = kind_of(function, self.unit)
        self._label = label
        self._native: NativeTable | None = None
        self._refresh: Callable[[bool], None] = _nothing
        #: What a total has beside what is there: of counts the native table knows it, of sums nobody else does.
        self._taken = 0

    def with_unit(self, unit: str) -> Self:
        """Says what the values are measured in, if their expression doesn't: ``hist(arg.count).with_unit("bytes")``.

        ``"ns"``, ``"us"``, ``"ms"``, ``"s"`` and ``"bytes"`` are scaled for people, others stand behind the number.
        """
        self.unit = spelled(unit)
        self._kind = kind_of(self.function, self.unit)
        return self

    def _bind(self, native: NativeTable, refresh: Callable[[bool], None]) -> None:
        """Connects to a started engine; `refresh(now)` drains it, unless a drain within the interval is good enough."""
        self._native, self._refresh = native, refresh

    @property
    def hits(self) -> int:
        """Events that are in it, since the start, those taken included."""
        self._refresh(False)
        return self._native.total if self._native is not None else 0

    @property
    def total(self) -> int:
        """Of a count the events, of a sum the sum, since the start and with what was taken.

        Raises AttributeError for every other aggregate, and names what there is instead.
        """
        if self.function == COUNT:
            return self.hits
        now: int = self._kind.total(state for _, state in self._rows())
        return self._taken + now

    @property
    def faulted(self) -> int:
        """Events that are not in it because a part of their key, or their value, could not be read."""
        return self._native.faulted if self._native is not None else 0

    def _rows(self) -> list[tuple[tuple[Any, ...], Any]]:
        """Keys and states, of one moment."""
        self._refresh(False)
        return [] if self._native is None else self._native.items()

    def _take(self) -> list[tuple[tuple[Any, ...], Any]]:
        self._refresh(True)
        rows = [] if self._native is None else self._native.take()
        if self.function.kind == "sum":
            self._taken += self._kind.total(state for _, state in rows)
        return rows


def _nothing(now: bool) -> None:
    """There is no engine to drain."""
