"""One value, for ``by=None``: live, then final and readable for ever."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast

from spile.table import markup
from spile.table.aggregate import Aggregate
from spile.table.listing import stands_for

V = TypeVar("V")


class Cell(Aggregate, Generic[V]):
    """One value: an aggregate without `by`."""

    @property
    def value(self) -> V:
        """The value now, at most the session's `interval` old; what `take` took is not in it."""
        self._refresh(False)
        return self._value()

    def snapshot(self) -> V:
        """The value, of everything that had happened when it was called. Drains first."""
        self._refresh(True)
        return self._value()

    def take(self) -> V:
        """Reads and resets, atomically. Drains first."""
        rows = self._take()
        return cast(V, self._kind.value(rows[0][1] if rows else self._kind.nothing()))

    def scaled(self) -> V:
        """The value as it would be, about, if every hit had been taken: see `Snapshot.scaled`. Drains first."""
        self._refresh(True)
        return cast(V, self._kind.value(self._kind.scaled(self._state(), self.sample)))

    def __repr__(self) -> str:
        return f"<Cell: {self._kind.summary(self._state())}{stands_for(self.sample, ', ')}>"

    def __str__(self) -> str:
        state = self._state()
        shown = str(self._kind.value(state)) if self._kind.is_block else self._kind.summary(state)
        return shown + stands_for(self.sample, "\n")

    def _repr_html_(self) -> str:
        return markup.value(self._kind, self._state(), self.sample)

    def _state(self) -> Any:
        state = self._native.get(()) if self._native is not None else None
        return self._kind.nothing() if state is None else state

    def _value(self) -> V:
        return cast(V, self._kind.value(self._state()))
