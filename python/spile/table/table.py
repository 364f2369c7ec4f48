"""Values by key: live, then final and readable for ever."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping, ValuesView
from typing import TYPE_CHECKING, Any, TypeVar, cast

from spile.table.aggregate import Aggregate
from spile.table.conversions import Convertible
from spile.table.keys import names_of
from spile.table.listing import at_least_zero, describe, listing
from spile.table.snapshot import Snapshot

if TYPE_CHECKING:
    import os

K = TypeVar("K")
V = TypeVar("V")


class Table(Aggregate, Convertible, Mapping[K, V]):
    """Values by key, as a mapping that no size limits.

    While the session runs a read is at most the session's `interval` old; `snapshot`, `take` and the conversions drain
    first. After the session it is final and readable for ever. Keys are scalars for ``by=x`` and tuples for
    ``by=(x, …)``; stacks in them are symbolized when they are looked at. Before the start it is empty.
    """

    __hash__ = None  # type: ignore[assignment]

    def __getitem__(self, key: K) -> V:
        self._refresh(False)
        state = None if self._native is None else self._native.get(self._inner(key))
        if state is None:
            raise KeyError(key)
        return cast(V, self._kind.value(state))

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

    @property
    def overall(self) -> V:
        """One value of all keys' events, without what was taken: the histogram of all, the least of all."""
        return self._read().overall

    def top(self, n: int = 10, *, key: Callable[[V], Any] | None = None) -> list[tuple[K, V]]:
        """The `n` greatest, those first: by number, sum, mean or value; `stats` by their sum, the others by hits.

        `key` says what to compare instead: ``top(5, key=lambda latency: latency.quantile(0.99))``.
        """
        at_least_zero(n)
        if key is not None:
            return self._read().top(n, key=key)
        self._refresh(False)
        rows = [] if self._native is None else self._native.top(n)
        return [(cast(K, part[0] if self.scalar else part), self._kind.value(state)) for part, state in rows]

    def snapshot(self) -> Snapshot[K, V]:
        """Everything that had happened when it was called, as an immutable mapping. Drains first."""
        self._refresh(True)
        return self._snapshot([] if self._native is None else self._native.items())

    def take(self) -> Snapshot[K, V]:
        """Reads and resets, atomically: no event is in two of them or in none, whatever the load. Drains first."""
        return self._snapshot(self._take())

    def flamegraph(self, path: str | os.PathLike[str], *, title: str | None = None, count_name: str = "events") -> None:
        """Draws an SVG; see `Snapshot.flamegraph`."""
        self.snapshot().flamegraph(path, title=title or self._label or None, count_name=count_name)

    def __repr__(self) -> str:
        # A repr drains nothing: a debugger may ask for it at any moment.
        return describe("Table", self._snapshot([] if self._native is None else self._native.items()))

    def __str__(self) -> str:
        return listing(self._read(), self.total if self._kind.has_total else None)

    def _repr_html_(self) -> str:
        return self._read()._repr_html_()

    def _read(self) -> Snapshot[K, V]:
        return self._snapshot(self._rows())

    def _now(self) -> Snapshot[Any, Any]:
        return self.snapshot()

    def _snapshot(self, rows: list[tuple[tuple[Any, ...], Any]]) -> Snapshot[K, V]:
        states = {key[0]: state for key, state in rows} if self.scalar else dict(rows)
        return Snapshot._of(cast("dict[K, Any]", states), self._kind, names_of(self.by or ()), self.sample)

    def _inner(self, key: K) -> tuple[Any, ...]:
        if self.scalar:
            return (key,)
        if not isinstance(key, tuple) or len(key) != len(self.by or ()):
            raise KeyError(key)
        return key
