"""One number, for ``by=None``: live, then final and readable for ever."""

from __future__ import annotations

from typing import Generic, TypeVar, cast

from spile.table.aggregate import Aggregate

V = TypeVar("V")


class Cell(Aggregate, Generic[V]):
    """One number: an aggregate without `by`."""

    @property
    def value(self) -> V:
        """The number now, at most the session's `interval` old; what `take` took is not in it."""
        self._refresh(False)
        return self._number()

    def snapshot(self) -> V:
        """The number, of everything that had happened when it was called. Drains first."""
        self._refresh(True)
        return self._number()

    def take(self) -> V:
        """Reads and resets, atomically. Drains first."""
        self._refresh(True)
        rows = [] if self._native is None else self._native.take()
        return cast(V, rows[0][1] if rows else 0)

    def __repr__(self) -> str:
        return f"<Cell: {self._number():,}>"

    def _number(self) -> V:
        return cast(V, (self._native.get(()) or 0) if self._native is not None else 0)
