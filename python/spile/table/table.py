"""Counts by key: live, then final and readable for ever."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from typing import TYPE_CHECKING, Any, TypeVar, cast

from spile.table.aggregate import Aggregate
from spile.table.listing import at_least_zero, describe, listing
from spile.table.snapshot import Snapshot

if TYPE_CHECKING:
    import os

K = TypeVar("K")
V = TypeVar("V")

Row = tuple[tuple[Any, ...], int]


class Table(Aggregate, Mapping[K, V]):
    """Counts by key, as a mapping that no size limits.

    While the session runs a read is at most the session's `interval` old; `snapshot` and `take` drain first. After the
    session it is final and readable for ever. Keys are scalars for ``by=x`` and tuples for ``by=(x, …)``; stacks in
    them are symbolized when they are looked at. Before the start it is empty.
    """

    __hash__ = None  # type: ignore[assignment]

    def __getitem__(self, key: K) -> V:
        self._refresh(False)
        value = None if self._native is None else self._native.get(self._inner(key))
        if value is None:
            raise KeyError(key)
        return cast(V, value)

    def __iter__(self) -> Iterator[K]:
        return iter(self._read())

    def __len__(self) -> int:
        self._refresh(False)
        return 0 if self._native is None else len(self._native)

    def items(self) -> ItemsView[K, V]:
        """Keys and values, of one moment."""
        return self._read().items()

    def values(self) -> ValuesView[V]:
        """The values, of one moment."""
        return self._read().values()

    def top(self, n: int = 10) -> list[tuple[K, V]]:
        """The `n` largest, largest first."""
        at_least_zero(n)
        self._refresh(False)
        return self._outer([] if self._native is None else self._native.top(n))

    def snapshot(self) -> Snapshot[K, V]:
        """Everything that had happened when it was called, as an immutable mapping. Drains first."""
        self._refresh(True)
        return Snapshot(self._read(fresh=True))

    def take(self) -> Snapshot[K, V]:
        """Reads and resets, atomically: no event is in two of them or in none, whatever the load. Drains first."""
        self._refresh(True)
        return Snapshot(self._outer([] if self._native is None else self._native.take()))

    def flamegraph(self, path: str | os.PathLike[str], *, title: str | None = None, count_name: str = "events") -> None:
        """Draws an SVG; see `Snapshot.flamegraph`."""
        self.snapshot().flamegraph(path, title=title or self._label or None, count_name=count_name)

    def __repr__(self) -> str:
        return describe("Table", dict(self._outer(self._raw())))

    def __str__(self) -> str:
        return listing(self.top(10), len(self), self.total)

    def _raw(self) -> list[Row]:
        return [] if self._native is None else self._native.items()

    def _read(self, *, fresh: bool = False) -> dict[K, V]:
        if not fresh:
            self._refresh(False)
        return dict(self._outer(self._raw()))

    def _outer(self, rows: list[Row]) -> list[tuple[K, V]]:
        return cast("list[tuple[K, V]]", [(key[0], value) for key, value in rows] if self.scalar else rows)

    def _inner(self, key: K) -> tuple[Any, ...]:
        if self.scalar:
            return (key,)
        if not isinstance(key, tuple) or len(key) != len(self.by or ()):
            raise KeyError(key)
        return key
